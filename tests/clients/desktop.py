"""A desktop that takes notifications (over D-Bus, with dbus-fast), for as long as the program runs that it is given.

Usage, inside a session bus: desktop.py PROGRAM ARGUMENTS... Prints one line of JSON: what was shown, and how the program ended.
"""

import asyncio
import json
import sys

from dbus_fast import BusType
from dbus_fast.aio import MessageBus
from dbus_fast.service import ServiceInterface, method


class Notifications(ServiceInterface):
    def __init__(self):
        super().__init__("org.freedesktop.Notifications")
        self.shown = []

    @method()
    def Notify(
        self, app: "s", replaces: "u", icon: "s", summary: "s", body: "s", actions: "as", hints: "a{sv}", timeout: "i"
    ) -> "u":
        urgency = hints["urgency"].value if "urgency" in hints else None
        self.shown.append({"app": app, "summary": summary, "body": body, "actions": actions, "urgency": urgency})
        return len(self.shown)


async def main():
    bus = await MessageBus(bus_type=BusType.SESSION).connect()
    desktop = Notifications()
    bus.export("/org/freedesktop/Notifications", desktop)
    await bus.request_name("org.freedesktop.Notifications")
    pipe = asyncio.subprocess.PIPE
    program = await asyncio.create_subprocess_exec(*sys.argv[1:], stdout=pipe, stderr=pipe)
    stdout, stderr = await program.communicate()
    ended = {"code": program.returncode, "stdout": stdout.decode(), "stderr": stderr.decode()}
    print(json.dumps({"shown": desktop.shown, **ended}))


asyncio.run(main())
