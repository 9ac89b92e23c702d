"""Drives `python_run` as a client does: good calls, bad ones, large output, artifacts, and what is not there."""

import json

from common import Session, main


async def scenario(session: Session):
    client, check = session.client, session.check

    listed = await client.list_tools()
    names = [tool.name for tool in listed.tools]
    check(names == sorted(names) and "python_run" in names, "tools are listed in order", names)
    size = len(json.dumps([tool.model_dump(by_alias=True, exclude_none=True, mode="json") for tool in listed.tools], separators=(",", ":")))
    check(size <= 20 * 1024, f"the list takes {size} bytes, at most 20 KiB", size)
    tool = next(tool for tool in listed.tools if tool.name == "python_run")
    check(tool.title == "python.run" or (tool.meta or {}).get("toolgate/id") == "python.run", "the canonical id is told", tool.title)
    # The list keeps its bytes by leaving out the largest of these.
    schemas = [tool.output_schema for tool in listed.tools if tool.output_schema]
    check(schemas and all(schema["type"] == "object" for schema in schemas), "answers have schemas as far as there is room", len(schemas))

    answer = await session.use("python_run", {"entrypoint": "inline", "code": "print('hi')"})
    check(answer["return_code"] == 0 and answer["stdout"] == "hi\n", "code runs", answer)
    answer = await session.use("python.run", {"entrypoint": "inline", "code": "import sys; print(sys.argv[1:]); sys.exit(3)", "args": ["ä", "b c"]})
    check(answer["return_code"] == 3 and answer["stdout"] == "['ä', 'b c']\n", "the dotted name works, arguments and exit code come through", answer)
    answer = await session.use("python_run", {"entrypoint": "inline", "code": "raise ValueError('cats')"})
    check(answer["return_code"] != 0 and "ValueError: cats" in answer["stderr"], "an exception is an answer, not a failure of the tool", answer)
    answer = await session.use("python_run", {"entrypoint": "inline", "code": "open('/out/a.txt', 'w').write('made')"})
    made = answer["produced_files"][0]
    check(made["path"].endswith("a.txt") and made["size"] == 4, "a written file is told", answer)
    check(await session.resource(f"artifact://{made['sha256']}") == "made", "the file can be read as a resource")

    error = await session.refusal("python_run", {"entrypoint": "inline", "code": 7})
    check(error["code"] == "INVALID_INPUT" and "code" in error["message"], "wrong input is refused and the field is named", error)
    error = await session.refusal("python_run", {"entrypoint": "inline", "code": "1", "surprise": True})
    check(error["code"] == "INVALID_INPUT" and "surprise" in error["message"], "an unknown field is refused by name", error)
    answer = await session.use("python_run", {"entrypoint": "inline", "code": "print('begun')\nwhile True: pass", "timeout_sec": 1})
    stopped = answer["limit"] == "time" and answer["return_code"] == 124 and answer["stdout"] == "begun\n"
    check(stopped, "endless code is stopped, and what it said until then is kept", answer)

    failure = await session.protocol_error(client.call_tool("no_such_tool", {}))
    check(failure.code == -32602 and "no_such_tool" in failure.message, "an unknown tool is a protocol error", failure.message)

    await large_output(session)

    missing = -32602 if session.is_modern else -32002
    for uri in ["artifact://" + "0" * 64, "run://run_" + "0" * 32, "nonsense://x"]:
        failure = await session.protocol_error(client.read_resource(uri))
        check(failure.code == missing, f"{uri[:20]} is not there", failure.error)
    templates = {template.uri_template for template in (await client.list_resource_templates()).resource_templates}
    told = {"run://{id}", "run://{id}/events", "artifact://{sha256}", "workflow://{name}", "tool://{name}", "skill://{name}/SKILL.md"}
    check(templates == told, "resource templates are told", templates)

    answer = await session.use("python_run", {"entrypoint": "inline", "code": "print('still here')"})
    check(answer["stdout"] == "still here\n", "the server lives on")


async def large_output(session: Session):
    code = "print('HEAD' + 'x' * 100_000 + 'TAIL')"
    result = await session.call("python_run", {"entrypoint": "inline", "code": code})
    session.check(not result.is_error, "much output is no error", result.structured_content)
    shown = result.structured_content["stdout"]
    size = len(json.dumps(result.structured_content, ensure_ascii=False, separators=(",", ":")).encode())
    session.check(size <= 16 * 1024, f"what is shown takes {size} bytes, at most 16 KiB", size)
    session.check(shown.startswith("HEAD") and shown.rstrip().endswith("TAIL"), "head and tail are shown", shown[:80])
    links = [block.uri for block in result.content if block.type == "resource_link"]
    session.check(len(links) == 1 and str(links[0]) in shown, "the cut names the whole and links to it", links)
    whole = json.loads(await session.resource(str(links[0])))
    session.check(whole["stdout"] == "HEAD" + "x" * 100_000 + "TAIL\n", "the link leads to the whole answer")
    page = await session.use("artifact_read", {"artifact": str(links[0]).removeprefix("artifact://"), "offset": 0, "limit": 1000})
    session.check(page["size"] > 100_000 and page["next_offset"] == 1000, "it can also be read in pages", page)


if __name__ == "__main__":
    main(scenario, ["legacy", "auto", "2026-07-28"])
