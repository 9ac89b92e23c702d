"""Writing where only reading is allowed: the given files, the standard library, the folders themselves. `/work/given` holds `given`."""

import hashlib
import json
import os
import pathlib
import shutil
import sqlite3
import tempfile
import zipfile

from _attempts import attempt, leave, must

LIBRARY = "/python/json/__init__.py"
READ_ONLY = ("/work/given", LIBRARY)
before = {path: hashlib.sha256(open(path, "rb").read()).hexdigest() for path in READ_ONLY}
names = set(os.listdir("/work"))
open("/tmp/mine", "w").write("mine")
os.mkdir("/tmp/folder")

for path in READ_ONLY:
    for mode in ("w", "a", "r+", "w+", "wb", "ab", "r+b"):
        attempt(f"open {path} {mode}", open, path, mode)
    for flag in ("O_WRONLY", "O_RDWR"):
        attempt(f"os.open {path} {flag}", os.open, path, getattr(os, flag))
    for flag in ("O_TRUNC", "O_TRUNC | O_CREAT", "O_WRONLY | O_APPEND", "O_RDWR | O_TRUNC", "O_WRONLY | O_CREAT"):
        attempt(f"os.open {path} {flag}", os.open, path, eval(flag, vars(os)))
    attempt(f"write to a descriptor for reading {path}", lambda: os.write(os.open(path, os.O_RDONLY), b"x"))
    attempt(f"pwrite {path}", lambda: os.pwrite(os.open(path, os.O_RDONLY), b"x", 0))
    attempt(f"ftruncate {path}", lambda: os.ftruncate(os.open(path, os.O_RDONLY), 0))
    attempt(f"futimens {path}", lambda: os.utime(os.open(path, os.O_RDONLY), (1, 1)))
    attempt(f"truncate {path}", os.truncate, path, 0)
    attempt(f"unlink {path}", os.unlink, path)
    attempt(f"utime {path}", os.utime, path, (1, 1))
    attempt(f"chmod {path}", lambda: (os.chmod(path, 0o777), open(path, "a")))
    attempt(f"chown {path}", lambda: os.chown(path, 0, 0))
    attempt(f"rename {path} away", os.rename, path, "/tmp/away")
    attempt(f"rename {path} to /out", os.rename, path, "/out/away")
    attempt(f"replace {path}", os.replace, "/tmp/mine", path)
    attempt(f"hard link {path}, then write", lambda: (os.link(path, "/out/linked"), open("/out/linked", "w").write("x")))
    attempt(f"symbolic link to {path}, then write", lambda: (os.symlink(path, "/tmp/sym"), open("/tmp/sym", "w").write("x")))
    attempt(f"link over {path}", os.link, "/tmp/mine", path)
    attempt(f"sqlite {path}", lambda: sqlite3.connect(path).execute("create table t(x)"))
    attempt(f"zip {path}", lambda: zipfile.ZipFile(path, "w").writestr("a", "b"))
    attempt(f"touch {path}", pathlib.Path(path).touch)
    attempt(f"copy over {path}", shutil.copyfile, "/tmp/mine", path)
    attempt(f"through /tmp/.. {path}", open, "/tmp/.." + path, "w")
    folder, name = os.path.split(path)
    attempt(f"by descriptor of the folder {path}", lambda: os.open(name, os.O_WRONLY, dir_fd=os.open(folder, os.O_RDONLY)))
    attempt(f"by the root's descriptor {path}", os.open, path[1:], os.O_WRONLY, dir_fd=3)

for folder in ("/", "/work", "/python", "/python/json", "/dev", "/packages"):
    attempt(f"new file in {folder}", open, folder + "/new", "w")
    attempt(f"new folder in {folder}", os.mkdir, folder + "/new")
    attempt(f"rename into {folder}", os.rename, "/tmp/mine", folder + "/new")
    attempt(f"rename a folder into {folder}", os.rename, "/tmp/folder", folder + "/new")
    attempt(f"link into {folder}", os.link, "/tmp/mine", folder + "/new")
    attempt(f"temporary file in {folder}", lambda: tempfile.NamedTemporaryFile(dir=folder))
for folder in ("/work", "/python", "/python/json", "/dev", "/out", "/tmp"):
    attempt(f"rmdir {folder}", os.rmdir, folder)
    attempt(f"rename {folder}", os.rename, folder, "/tmp/moved")
    attempt(f"replace {folder}", os.replace, "/tmp/folder", folder)
attempt("rmtree of the library", shutil.rmtree, "/python")
attempt("write to a compiled module", open, json.__cached__ or "/python/json/__pycache__/x", "w")
attempt("remove the null device", os.unlink, "/dev/null")
attempt("replace the null device", os.replace, "/tmp/mine", "/dev/null")


def replaced():
    """A module of the program's own beside the library's, under the same name: for itself it may, on disk it may not."""
    open("/tmp/colorsys.py", "w").write("MINE = 1")
    shutil.move("/tmp/colorsys.py", "/python/colorsys.py")


attempt("replace a module of the library", replaced)
for path in READ_ONLY:
    after = hashlib.sha256(open(path, "rb").read()).hexdigest()
    attempt(f"{path} changed", must, after != before[path])
attempt("names appeared", must, set(os.listdir("/work")) ^ names)
leave(mine=open("/tmp/mine").read())
