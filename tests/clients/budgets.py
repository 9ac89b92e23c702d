"""What an agent says it used is counted once, where it belongs: with a call in the connection's run, with an answer to a step in that step's run."""

from common import Session, main

PLAN = {"summary": "nothing much", "tasks": []}


async def scenario(session: Session):
    check = session.check

    async def reports(tokens, tool: str = "workspace_list", arguments: dict | None = None):
        """Calls a tool and says what that took; the error, if it was refused."""
        result = await session.call(tool, arguments or {}, meta={"toolgate/tokens": tokens})
        return result.structured_content["error"] if result.is_error else None

    # The settings let a connection's run use 1000.
    check(await reports(600) is None, "what fits is taken")
    error = await reports(600)
    check(error and error["code"] == "BUDGET_EXCEEDED", "what does not fit is refused", error)
    check("1000 tokens: 600 are used, and this asks for 600" in error["message"], "and says what is left of what", error)
    check(await reports(400) is None, "a refused call used nothing up, and what fits exactly goes")
    error = await reports(1)
    check(error and "1000 are used" in error["message"], "then nothing is left", error)
    check(await reports(0) is None, "a call that reports nothing goes on")
    for nonsense in (-5, 1.5, "600", None, {"used": 1}, True):
        check(await reports(nonsense) is None, f"{nonsense!r} is no number of tokens, and none is counted")

    # An answer to a step belongs to the step's run, which the file lets use 500.
    run = (await session.use("run_start", {"workflow": "asks"}))["run_id"]
    first = await waiting(session, run)
    error = await reports(300, "run_submit", {"run_id": run, "step_id": first, "output": PLAN})
    check(error is None, "the connection's run has nothing left, and the step's run takes its own", error)
    second = await waiting(session, run)
    check(second != first, "the next step asks", second)
    used = await budget(session, run)
    check((used["used"], used["left"]) == (300, 200), "it is counted there, once", used)
    answer = {"run_id": run, "step_id": second, "output": PLAN, "tokens": 150}
    check(await reports(999_999, "run_submit", answer) is None, "the argument goes before what stands beside it")
    third = await waiting(session, run)
    used = await budget(session, run)
    check((used["used"], used["left"]) == (450, 50), "the argument is what is counted", used)
    error = await reports(51, "run_submit", {"run_id": run, "step_id": third, "output": PLAN})
    check(error and error["code"] == "BUDGET_EXCEEDED" and "500 tokens" in error["message"], "an answer beyond the limit is not taken", error)
    used = await budget(session, run)
    check(used["used"] == 450, "and not counted", used)


async def waiting(session: Session, run: str) -> str:
    """The step that waits for the agent."""
    cursor = 0
    while True:
        seen = await session.use("run_watch", {"run_id": run, "cursor": cursor, "wait_sec": 20})
        if seen["waiting"]:
            return seen["waiting"][0]["step_id"]
        session.check(not seen["done"], "the run is not over", seen)
        cursor = seen["cursor"]


async def budget(session: Session, run: str) -> dict:
    shown = await session.use("run_show", {"run_id": run})
    return next(line for line in shown["budget"] if line["what"] == "tokens")


if __name__ == "__main__":
    main(scenario, ["legacy", "auto"])
