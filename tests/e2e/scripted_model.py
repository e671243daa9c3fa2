"""A scripted model behind HTTP for a whole installation: it looks at the fleet, or plans the relief that it is asked for."""

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.agents.openai_server import Call, OpenAiServer, openai_server

NAME = "scripted-model"
_RELIEF = re.compile(
    r"relieve (?P<feeder>feeder-\d+) by (?P<kw>\d+) kW from (?P<start>\S+) for (?P<minutes>\d+) min"
)
_ONLINE = re.compile(r'"online": ?(?P<online>\d+)')


def decide(request: dict[str, Any]) -> Call:
    """Answer a request as a sensible model would, by what is offered and what the operator asked."""
    offered = {tool["function"]["name"] for tool in request["tools"]}
    asked = json.dumps(request["messages"][1:])
    relief = _RELIEF.search(asked)
    if "act" in offered:
        return Call("act" if relief else "watch", {})
    if "pick_plan" in offered:
        plan_id = re.findall(r"plan_id\W+(plan-[\w-]+)", asked)[-1]
        return Call("pick_plan", {"plan_id": plan_id, "why": "it relieves the feeder as asked"})
    if "no_action" in offered:
        return Call("no_action", {"why": "Nobody asked for a plan in this test."})
    if "plan" in offered and relief:
        return Call(
            "plan",
            {
                "objective": "demand_response",
                "feeder_ids": [relief["feeder"]],
                "start": relief["start"],
                "duration_min": int(relief["minutes"]),
                "relief_kw": float(relief["kw"]),
                "why": "the operator asked for it",
            },
        )
    if "fleet_state" in offered:
        return Call("fleet_state", {})
    found = _ONLINE.search(asked.replace('\\"', '"'))
    return Call(
        "final_answer", {"text": f"{found['online']} sites are online." if found else "I cannot tell."}
    )


@contextmanager
def scripted_model() -> Iterator[OpenAiServer]:
    """Run it on a free port in a thread of its own until the block ends."""
    loop = asyncio.new_event_loop()
    started: list[OpenAiServer] = []
    ready, end = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with openai_server(decide=decide) as server:
            started.append(server)
            ready.set()
            await end.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    ready.wait()
    try:
        yield started[0]
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join()
        loop.close()
