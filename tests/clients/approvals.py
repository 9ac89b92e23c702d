"""Answers questions in the client: forms of both protocol generations, as a person would fill them in, and as a client would by itself."""

from common import Session, main
from mcp import types

# What the person does with the next form, and the forms that were shown.
TURN = {"person": None, "shown": []}


async def elicit(context, params):
    """The client's window: shows a form and gives what the person made of it."""
    TURN["shown"].append(params)
    return TURN["person"](params)


def types_it(params):
    """A person who reads the question and types what it asks for."""
    digest = next(line for line in params.message.splitlines() if line.startswith("  digest"))
    return types.ElicitResult(action="accept", content={"confirm": digest[-4:]})


def accepts_unread(params):
    """A client that accepts every form by itself."""
    return types.ElicitResult(action="accept", content={})


def declines(params):
    return types.ElicitResult(action="decline")


def closes(params):
    return types.ElicitResult(action="cancel")


def code(word: str) -> dict:
    return {"entrypoint": "inline", "code": f"print({word!r})", "allow_network": True, "allowed_hosts": ["example.org"]}


async def scenario(session: Session):
    check = session.check
    TURN["shown"].clear()

    TURN["person"] = types_it
    answer = await session.use("python_run", code("typed"))
    check(answer["stdout"] == "typed\n", "the person types what is asked for and the call runs", answer)
    form = TURN["shown"][0]
    schema = form.requested_schema
    check(schema["required"] == ["confirm"] and "default" not in schema["properties"]["confirm"], "the form wants something typed", schema)
    check("print('typed')" in form.message and "example.org" in form.message, "it shows what would run, and where to", form.message)
    await session.call("python_run", code("typed"), meta={"toolgate/reason": "because\u202e"})
    check("because\\u{202e}" in TURN["shown"][1].message, "the model's reason is shown as its own", TURN["shown"][1].message)
    check(len(TURN["shown"]) == 2, "a yes is used once: the same call asks again", len(TURN["shown"]))

    for person, word, due in [
        (accepts_unread, "unread", "APPROVAL_REQUIRED"),
        (closes, "closed", "APPROVAL_REQUIRED"),
        (declines, "declined", "APPROVAL_DENIED"),
    ]:
        TURN["person"] = person
        error = await session.refusal("python_run", code(word))
        check(error["code"] == due, f"{word}: {due}", error)
    shown = len(TURN["shown"])
    error = await session.refusal("python_run", code("declined"))
    check(error["code"] == "APPROVAL_DENIED" and len(TURN["shown"]) == shown, "a no stands and is not asked again", error)


if __name__ == "__main__":
    main(scenario, ["legacy", "auto"], elicitation_callback=elicit)
