"""Says which of the named modules cannot be imported, and which of the named functions `os` has. Arguments: modules, `--`, functions."""

import importlib
import io
import os
import sys
import warnings

split = sys.argv.index("--")
warnings.simplefilter("ignore")
failed = {}
real = sys.stdout, sys.stderr
for name in sys.argv[1:split]:
    sys.stdout = sys.stderr = io.StringIO()
    try:
        importlib.import_module(name)
    except BaseException as error:
        failed[name] = f"{type(error).__name__}: {error}"
    finally:
        sys.stdout, sys.stderr = real
result = {
    "failed": failed,
    "has": [name for name in sys.argv[split + 1 :] if hasattr(os, name)],
    "all": sorted(name for name in sys.stdlib_module_names if not name.startswith("_")),
}
