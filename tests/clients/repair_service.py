"""Drives the workflow `build_service` as an agent that errs once: what the checks find comes back to it, and its mend is committed.

`TOOLGATE_TEST_PINS` names the packages of the checks, separated by commas; their environment was made before, by the operator.
"""

import json
import os
import time

from common import Failed, Session, main

DONE_WITHIN_S = 600
PINS = os.environ["TOOLGATE_TEST_PINS"].split(",")
PATH = "shop/model.py"

MODEL = '''\
"""Prices in cents."""


def total(prices: list[int]) -> int:
    """The sum of all prices."""
    return RESULT
'''

TESTS = '''\
"""What the prices come to."""

from shop.model import total


def test_the_total_is_the_sum() -> None:
    """Of two prices."""
    assert total([1, 2]) == 3
'''

BROKEN = MODEL.replace("RESULT", "str(sum(prices))")
MENDED = MODEL.replace("RESULT", "sum(prices)")
FILES = {
    "shop/__init__.py": '"""A shop."""\n',
    PATH: BROKEN,
    "tests/__init__.py": "",
    "tests/test_model.py": TESTS,
    "README.md": "# Shop\n\nRun the tests with `pytest`.\n",
}


def code(files: dict[str, str], summary: str) -> dict:
    """The answer to a step of kind `codegen`."""
    return {"summary": summary, "requirements": PINS, "files": [{"path": path, "content": text} for path, text in files.items()]}


async def scenario(session: Session):
    check = session.check
    inputs = {"resource": "Price", "stack": "fastapi"}
    run = (await session.use("run_start", {"workflow": "build_service", "inputs": inputs}))["run_id"]

    first = await next_question(session, run, "plan")
    plan = {"summary": "one module and its test", "tasks": [{"path": path, "purpose": "part of it"} for path in FILES]}
    await session.use("run_submit", {"run_id": run, "step_id": first["step_id"], "output": plan, "tokens": 100})

    second = await next_question(session, run, "codegen")
    check("repair" not in second["input"], "at first nothing is to be mended", second["input"])
    await session.use("run_submit", {"run_id": run, "step_id": "codegen", "output": code(FILES, "with a mistake"), "tokens": 200})

    third = await next_question(session, run, "codegen")
    repair = third["input"]["repair"]
    check((repair["attempt"], repair["max"]) == (1, 2), "the same step is asked again, for the first of two repairs", repair)
    found = [finding for finding in repair["diagnostics"] if finding.get("path") == PATH]
    check(any(finding.get("line") == 6 for finding in found), "what the checks found names file and line", repair["diagnostics"])
    failed = [" ".join(command["argv"]) for command in repair["failed_commands"]]
    check(any("mypy" in command for command in failed), "the commands that failed are named", failed)
    check(PATH in repair["previous_files"], "the files that are there are named", repair["previous_files"])
    await session.use("run_submit", {"run_id": run, "step_id": "codegen", "output": code({PATH: MENDED}, "mended"), "tokens": 50})

    end = await follow(session, run)
    check(end["status"] == "succeeded", "the run has succeeded", end)
    shown = await session.use("run_show", {"run_id": run})
    steps = {step["step_id"]: step for step in shown["steps"]}
    check(steps["eval"]["output"]["passed"] is True, "the checks passed at last", steps["eval"])
    check(steps["codegen"]["repair"] == "repair 1 of 2", "the step says in which repair it ran", steps["codegen"])
    used = {line["what"]: line["used"] for line in shown["budget"]}
    check(used["tokens"] == 350, "the reported tokens are counted", used)
    log = await session.use("repo_git_log", {"run_id": run})
    check(log["commits"][0]["id"] == steps["repo"]["output"]["commit"], "the mend is committed", log)
    read = await session.use("workspace_read", {"run_id": run, "paths": [PATH]})
    check(read["files"][0]["text"] == MENDED, "the committed file is the mended one", read)


async def next_question(session: Session, run: str, kind: str) -> dict:
    """The step of this kind that waits for the agent."""
    seen = await follow(session, run)
    waiting = [step for step in seen["waiting"] if step["waiting_for"] == "agent"]
    session.check([step["kind"] for step in waiting] == [kind], f"a step of kind {kind} waits for the agent", seen)
    return waiting[0]


async def follow(session: Session, run: str) -> dict:
    """Watches the run until somebody is waited for or it is over."""
    cursor, deadline = 0, time.monotonic() + DONE_WITHIN_S
    while time.monotonic() < deadline:
        seen = await session.use("run_watch", {"run_id": run, "cursor": cursor, "wait_sec": 20})
        cursor = seen["cursor"]
        if seen["waiting"] or seen["done"]:
            return seen
    raise Failed(f"nothing came of the run within {DONE_WITHIN_S} s\n  seen: {json.dumps(seen)[:1000]}")


if __name__ == "__main__":
    main(scenario, ["legacy", "auto"])
