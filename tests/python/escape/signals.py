"""Signals to others, and alarms that would go off outside the program."""

import os
import signal

from _attempts import attempt, leave, must

for name in ("SIGTERM", "SIGKILL", "SIGSTOP", "SIGINT", "SIGHUP"):
    number = getattr(signal, name, 9)
    attempt(f"kill 1 {name}", lambda: os.kill(1, number))
    attempt(f"kill all {name}", lambda: os.kill(-1, number))
    attempt(f"kill own group {name}", lambda: os.kill(0, number))
attempt("is 1 there", lambda: os.kill(1, 0))
attempt("parent", lambda: os.kill(os.getppid(), 9))
attempt("group", lambda: os.killpg(1, 9))
attempt("by number it has itself", lambda: os.kill(os.getpid(), 9))
attempt("queue", lambda: signal.sigqueue(1, 9, 0))
attempt("by descriptor", lambda: signal.pidfd_send_signal(os.pidfd_open(1), 9))
attempt("thread", lambda: signal.pthread_kill(1, 9))
attempt("alarm", lambda: signal.alarm(1))
attempt("timer", lambda: signal.setitimer(0, 1))
attempt("wait", lambda: signal.sigwait([signal.SIGINT]))
attempt("wake-up descriptor", lambda: signal.set_wakeup_fd(3))
attempt("trace", lambda: __import__("sys").activate_stack_trampoline("perf"))
attempt("remote", lambda: __import__("sys").remote_exec(1, "/tmp/x"))
leave()
