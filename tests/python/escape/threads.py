"""Threads: whatever would run beside the program, outlive its call or escape its clock."""

import _thread
import sys
import threading

from _attempts import attempt, leave, must

ran = []


def thread(**named):
    worker = threading.Thread(target=ran.append, args=(1,), **named)
    worker.start()
    worker.join()


def low():
    lock = _thread.allocate_lock()
    lock.acquire()
    _thread.start_new_thread(lock.release, ())
    return must(lock.acquire(timeout=5))


def joinable():
    _thread.start_joinable_thread(lambda: ran.append(1)).join(5)


def pool():
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as workers:
        return list(workers.map(ran.append, [1, 2]))


def timer():
    later = threading.Timer(0, ran.append, [1])
    later.start()
    later.join()


def multi():
    from multiprocessing.pool import ThreadPool

    with ThreadPool(1) as workers:
        return workers.apply(abs, (-1,))


attempt("Thread", thread)
attempt("daemon", thread, daemon=True)
attempt("start_new_thread", low)
attempt("pool", pool)
attempt("timer", timer)
attempt("pool of multiprocessing", multi)
if sys.platform == "wasi":
    attempt("joinable", joinable)
    attempt("stack size", lambda: (threading.stack_size(1 << 30), thread()))
    attempt("watchdog", lambda: __import__("faulthandler").dump_traceback_later(1))
    attempt("interpreters", lambda: __import__("_interpreters").create())
    attempt("pool of interpreters", lambda: __import__("concurrent.futures").futures.InterpreterPoolExecutor(1).submit(abs, -1).result(5))
attempt("something ran", must, ran)
attempt("more than one", lambda: must(threading.active_count() > 1))
leave()
