"""Runs one module of CPython's own tests inside the sandbox and leaves a verdict for each test that did not simply pass.

Arguments: the module, then patterns of tests that must not be begun, as they would end the interpreter.
`result = {"ran": N, "skipped": N, "bad": {test: [kind, why]}, "left_out": [test]}`
"""

import fnmatch
import importlib
import io
import os
import sys
import unittest
import warnings

module, *left_out_patterns = sys.argv[1:]
sys.path.insert(0, "/work")
os.chdir("/tmp")
warnings.simplefilter("ignore")

from test import support  # noqa: E402

# Modules whose classes cannot be run without what their `test_main` does first.
MAINS = {"test_decimal", "test_xml_etree"}

# Nothing that needs the network, much time, much memory or large files.
support.use_resources = []
support.verbose = 0
# The package of asyncio's tests asks for sockets as a whole; those chosen here need an event loop only.
if module.startswith("test_asyncio."):
    support.has_socket_support = True
    from asyncio import unix_events

    def _no_watcher(self):
        raise NotImplementedError

    # 3.11's helpers tidy up what 3.14 has no more, and know platforms that never had it.
    unix_events._UnixDefaultEventLoopPolicy.get_child_watcher = _no_watcher


def name_of(test):
    """A short name that stays the same from run to run."""
    return test.id().removeprefix("test.").removeprefix(module + ".")


class Verdicts(unittest.TestResult):
    """Keeps, for each test, the worst that was said of it."""

    def __init__(self):
        super().__init__()
        self.bad = {}
        self.skips = 0

    def startTest(self, test):
        super().startTest(test)
        # Where the interpreter is stopped, the last line says by which test.
        os.write(2, f"{name_of(test)}\n".encode())

    def note(self, test, kind, why):
        if name_of(test) not in self.bad:
            self.bad[name_of(test)] = [kind, why[:200]]

    def addSuccess(self, test):
        pass

    def addError(self, test, error):
        self.note(test, "error", f"{error[0].__name__}: {error[1]}")

    def addFailure(self, test, error):
        self.note(test, "fail", f"{error[0].__name__}: {error[1]}")

    def addSubTest(self, test, subtest, error):
        if error is not None:
            kind = "fail" if issubclass(error[0], test.failureException) else "error"
            self.note(test, kind, f"{error[0].__name__}: {error[1]} {subtest.id()[-60:]}")

    def addSkip(self, test, reason):
        self.skips += 1

    def addExpectedFailure(self, test, error):
        pass

    def addUnexpectedSuccess(self, test):
        self.note(test, "unexpected success", "")


def flat(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from flat(test)
        else:
            yield test


loader = unittest.TestLoader()
verdicts = Verdicts()
left_out = []


def run(suite):
    chosen = unittest.TestSuite()
    for test in flat(suite):
        if any(fnmatch.fnmatchcase(name_of(test), pattern) for pattern in left_out_patterns):
            left_out.append(name_of(test))
        else:
            chosen.addTest(test)
    chosen.run(verdicts)


def run_classes(*classes):
    """Stands for what `test_main` would run its classes with."""
    for one in classes:
        run(one if isinstance(one, unittest.TestSuite) else loader.loadTestsFromTestCase(one))


def run_module():
    tests = importlib.import_module("test." + module)
    if module in MAINS and hasattr(tests, "test_main"):
        for place in (support, tests):
            place.run_unittest = run_classes
            place.run_doctest = lambda *_, **__: None
        tests.test_main()
    else:
        run(loader.loadTestsFromName("test." + module))


real, sys.stdout = sys.stdout, io.StringIO()
try:
    run_module()
except unittest.SkipTest as skip:
    loader.errors.append(f"skipped as a whole: {skip}")
finally:
    sys.stdout = real
result = {
    "ran": verdicts.testsRun - verdicts.skips,
    "skipped": verdicts.skips,
    "bad": verdicts.bad,
    "left_out": left_out,
    "load_errors": [text.strip().splitlines()[-1] for text in loader.errors],
}
