"""Drives the workflow `build_service` as an agent does: starts it, answers its waiting steps, sees it finish, reads the commit."""

import json
import time

from common import Failed, Session, main

RESOURCE = "Listing"
DONE_WITHIN_S = 300

MODEL = '''\
"""Listings, kept in memory."""

from dataclasses import dataclass


@dataclass
class Listing:
    """Something that is offered at a price in cents."""

    id: int
    title: str
    price: int


class Listings:
    """All listings, by id."""

    def __init__(self):
        self._all = {}

    def create(self, title, price):
        if not title.strip() or price < 0:
            raise ValueError("a listing needs a title and a price of at least 0")
        listing = Listing(len(self._all) + 1, title.strip(), price)
        self._all[listing.id] = listing
        return listing

    def read(self, id):
        return self._all[id]
'''

TESTS = '''\
import unittest

from listings.model import Listings


class ListingsTest(unittest.TestCase):
    def test_what_was_created_can_be_read(self):
        listings = Listings()
        made = listings.create(" Bicycle ", 12_000)
        self.assertEqual(listings.read(made.id).title, "Bicycle")

    def test_a_listing_needs_a_title(self):
        with self.assertRaises(ValueError):
            Listings().create(" ", 1)


if __name__ == "__main__":
    unittest.main()
'''

FILES = {
    "listings/__init__.py": "",
    "listings/model.py": MODEL,
    "tests/__init__.py": "",
    "tests/test_listings.py": TESTS,
    "README.md": "# Listings\n\nRun the tests with `python -m unittest discover -s tests -v`.\n",
}

ANSWERS = {
    "plan": {
        "summary": "a package with its model, and tests",
        "tasks": [{"path": path, "purpose": "part of the service"} for path in FILES],
    },
    "research": {"summary": "nothing was needed", "citations": []},
    "codegen": {
        "summary": "a model in memory and its tests",
        "files": [{"path": path, "content": content} for path, content in FILES.items()],
    },
}


async def scenario(session: Session):
    check = session.check
    names = {tool.name for tool in (await session.client.list_tools()).tools}
    needed = {"run_start", "run_watch", "run_submit", "repo_git_log", "workspace_read"}
    check(needed <= names, "the tools for it are listed", sorted(names))

    error = await session.refusal("run_start", {"workflow": "no_such_workflow"})
    check(error["code"] == "UNKNOWN_WORKFLOW", "an unknown workflow is refused", error)
    error = await session.refusal("run_start", {"workflow": "build_service", "inputs": {"resource": "not a name"}})
    check(error["code"] == "INVALID_INPUT" and "resource" in error["message"], "a wrong input is refused and named", error)

    started = await session.use("run_start", {"workflow": "build_service", "inputs": {"resource": RESOURCE, "stack": "stdlib"}})
    run = started["run_id"]
    check(run.startswith("run_"), "the run is started", started)

    answered = await follow(session, run)
    check({"plan", "codegen"} <= answered, "plan and code were asked for and given", sorted(answered))

    shown = await session.use("run_show", {"run_id": run})
    steps = {step["step_id"]: step for step in shown["steps"]}
    check(shown["status"] == "succeeded", "the run is shown as succeeded", shown["status"])
    check(steps["eval"]["status"] == "succeeded" and steps["eval"]["output"]["passed"] is True, "the tests passed", steps["eval"])
    commit = steps["repo"]["output"]["commit"]

    log = await session.use("repo_git_log", {"run_id": run})
    newest = log["commits"][0]
    check(newest["id"] == commit and RESOURCE in newest["summary"], f"commit {commit[:12]} is in the run's repository", log)

    read = await session.use("workspace_read", {"run_id": run, "paths": ["listings/model.py"]})
    check(read["files"][0]["text"] == MODEL, "the committed code is what was submitted", read)

    runs = [str(resource.uri) for resource in (await session.client.list_resources()).resources]
    check(f"run://{run}" in runs, "the run is listed as a resource", runs)
    check(json.loads(await session.resource(f"run://{run}"))["status"] == "succeeded", "the run can be read as a resource")
    events = json.loads(await session.resource(f"run://{run}/events"))["events"]
    check([event["seq"] for event in events] == sorted({event["seq"] for event in events}), "its events come in order", events[:3])

    error = await session.refusal("run_submit", {"run_id": run, "step_id": "codegen", "output": ANSWERS["codegen"]})
    check(error["code"] in ("STEP_NOT_WAITING", "RUN_STATE"), "a finished run takes no answers", error)


async def follow(session: Session, run: str) -> set[str]:
    """Watches the run to its end and answers what waits for an agent. Gives the kinds that were answered."""
    answered, cursor, deadline = set(), 0, time.monotonic() + DONE_WITHIN_S
    while time.monotonic() < deadline:
        seen = await session.use("run_watch", {"run_id": run, "cursor": cursor, "wait_sec": 20})
        cursor = seen["cursor"]
        for step in seen["waiting"]:
            if step["waiting_for"] != "agent":
                raise Failed(f"{step['step_id']} waits for a {step['waiting_for']}")
            if step["kind"] in answered:
                raise Failed(f"{step['step_id']} is asked for again\n  seen: {json.dumps(step)[:1000]}")
            await answer(session, run, step)
            answered.add(step["kind"])
        if seen["done"]:
            session.check(seen["status"] == "succeeded", "the run has succeeded", seen)
            return answered
    raise Failed(f"the run was not done within {DONE_WITHIN_S} s")


async def answer(session: Session, run: str, step: dict):
    kind, step_id = step["kind"], step["step_id"]
    session.check(step["prompt"] and step["output_schema"].get("type") == "object", f"{step_id} says what it wants", step)
    wrong = ANSWERS[kind] | {"next_step": "repo"}
    error = await session.refusal("run_submit", {"run_id": run, "step_id": step_id, "output": wrong})
    session.check(error["code"] == "INVALID_INPUT" and "next_step" in error["message"], f"{step_id} takes no orders from the agent", error)
    await session.use("run_submit", {"run_id": run, "step_id": step_id, "output": ANSWERS[kind]})
    session.check(True, f"{step_id} is answered")


if __name__ == "__main__":
    main(scenario, ["legacy", "auto"])
