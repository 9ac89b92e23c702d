"""Other processes: making one in every way the library knows, becoming one, leaving one behind."""

import os
import subprocess
import sys

from _attempts import attempt, leave, must

TRUE = "/bin/true"
env = {"PATH": "/bin:/usr/bin"}


def forked():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    return os.waitpid(pid, 0)


def fork_pty():
    pid, _ = os.forkpty()
    if pid == 0:
        os._exit(0)
    return os.waitpid(pid, 0)


def multi(method):
    import multiprocessing

    worker = multiprocessing.get_context(method).Process(target=print)
    worker.start()
    worker.join()
    return must(worker.exitcode == 0)


def pool():
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(1) as workers:
        return workers.submit(abs, -1).result(20)


def interpreters():
    """Not a process, but a way around what the main interpreter was denied."""
    import concurrent.interpreters

    return concurrent.interpreters.create().exec("pass")


def in_loop():
    import asyncio

    async def main():
        return await (await asyncio.create_subprocess_exec(TRUE)).wait()

    return asyncio.run(main())


def by_helper():
    """What the library starts programs with, without the checks of `subprocess`."""
    import _posixsubprocess

    read, write = os.pipe()
    streams = [-1] * 6
    user = [None, None, None, -1, None]
    return _posixsubprocess.fork_exec([TRUE], [b"/bin/true"], True, (), None, None, *streams, read, write, True, False, -1, *user)


if __name__ == "__main__":
    attempt("subprocess.run", subprocess.run, [TRUE], check=True)
    attempt("subprocess.Popen", subprocess.Popen, TRUE)
    attempt("shell", lambda: subprocess.run("true", shell=True, check=True))
    attempt("check_output", subprocess.check_output, [sys.executable or "python3", "-c", "pass"])
    attempt("getoutput", lambda: must(subprocess.getstatusoutput("true")[0] == 0))
    attempt("system", lambda: must(os.system("true") == 0))
    attempt("popen", lambda: must(os.popen("echo x").read() == "x\n"))
    attempt("fork", forked)
    attempt("pseudo terminal", fork_pty)
    attempt("posix_spawn", lambda: os.waitpid(os.posix_spawn(TRUE, [TRUE], env), 0))
    attempt("posix_spawnp", lambda: os.waitpid(os.posix_spawnp("true", ["true"], env), 0))
    attempt("spawnv", lambda: must(os.spawnv(os.P_WAIT, TRUE, [TRUE]) == 0))
    attempt("spawnlp", lambda: must(os.spawnlp(os.P_WAIT, "true", "true") == 0))
    attempt("in the event loop", in_loop)
    if sys.platform == "wasi":
        # Outside these would replace this program, or take too long.
        attempt("execv", lambda: os.execv(TRUE, [TRUE]))
        attempt("execve", lambda: os.execve(TRUE, [TRUE], env))
        attempt("own fork_exec", by_helper)
        for method in ("fork", "spawn", "forkserver"):
            attempt(f"multiprocessing {method}", multi, method)
        attempt("process pool", pool)
        attempt("interpreters", interpreters)
        attempt("pty.spawn", lambda: __import__("pty").spawn([TRUE]))
        attempt("wait", lambda: os.waitpid(-1, 0))
        attempt("session", lambda: os.setsid())
        attempt("another user", lambda: os.setuid(0))
        attempt("priority", lambda: os.nice(-1))
        attempt("pager", lambda: __import__("pydoc").pipepager("x", "cat"))
        attempt("browser", lambda: must(__import__("webbrowser").open("http://example.com")))
    leave()
