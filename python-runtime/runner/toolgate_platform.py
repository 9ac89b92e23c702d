"""Fills in what common programs expect of the platform and WASI leaves out, where it can be done truthfully."""

import asyncio
import asyncio.selector_events
import os
import selectors
import time

_USER = 1000


class SleepingSelector(selectors._BaseSelectorImpl):
    """A selector where nothing can be waited for but time: there are no sockets, pipes or threads."""

    def select(self, timeout=None):
        # Without a timeout nothing could ever wake the loop; the call's time limit ends it.
        time.sleep(3600 if timeout is None else max(timeout, 0))
        return []


def _no_self_pipe(loop):
    loop._ssock = loop._csock = None


async def _answer(func, args):
    return func(*args)


def _run_in_place(loop, executor, func, *args):
    """Without threads, what would run beside the loop runs in its turn."""
    if executor is not None:
        return asyncio.wrap_future(executor.submit(func, *args), loop=loop)
    return loop.create_task(_answer(func, args))


def fill_in():
    """Patches the modules; once, before the snapshot."""
    # The event loop wakes itself through a pair of sockets; alone in its process it needs none.
    loop = asyncio.selector_events.BaseSelectorEventLoop
    loop._make_self_pipe = loop._close_self_pipe = _no_self_pipe
    loop.run_in_executor = _run_in_place
    selectors.DefaultSelector = SleepingSelector
    for name in ("getuid", "geteuid", "getgid", "getegid"):
        if not hasattr(os, name):
            setattr(os, name, lambda: _USER)
    if not hasattr(os, "umask"):
        os.umask = lambda mask: 0o022
