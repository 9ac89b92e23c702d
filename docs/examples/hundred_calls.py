"""A hundred tool calls, one small result: writes fifty reports, reads them back at the same time, and answers with a summary."""

import asyncio
import json

import toolgate

CITIES = ["Aachen", "Bern", "Cork", "Delft", "Espoo"]


async def write(number):
    report = {"number": number, "city": CITIES[number % 5], "sold": number * number % 97}
    path = f"reports/{number:02}.json"
    await toolgate.acall("workspace.write", files=[{"path": path, "content": json.dumps(report)}])
    return path


async def read(path):
    answer = await toolgate.acall("workspace.read", paths=[path])
    return json.loads(answer["files"][0]["text"])


async def main():
    paths = await asyncio.gather(*(write(number) for number in range(50)))
    reports = await asyncio.gather(*(read(path) for path in paths))
    sold = {}
    for report in reports:
        sold[report["city"]] = sold.get(report["city"], 0) + report["sold"]
    return {"reports": len(reports), "best": max(sold, key=sold.get), "sold": sold}


result = asyncio.run(main())
