"""The API as the MCP server uses it: who a token belongs to, and a plan asked for in that person's name."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Any
from uuid import uuid4

import httpx

from knowledge.documents import ReaderRole
from tools.errors import ToolInputError, ToolUnavailableError
from tools.goal import PlanGoal

_LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks: a name, and a role of the API."""

    name: str
    role: str
    token: str

    @property
    def reader(self) -> ReaderRole:
        """As whom documents are read; what is no person's role reads as a viewer."""
        return ReaderRole(self.role) if self.role in set(ReaderRole) else ReaderRole.VIEWER


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Speaks to the API; `wait` is how long a plan is waited for before its thread is named instead."""

    http: httpx.AsyncClient
    wait: timedelta = timedelta(seconds=90)

    async def caller(self, token: str) -> Caller | None:
        """Return whose token it is; None: nobody's, or a site's, which has no business here.

        Raises:
            ToolUnavailableError: The API does not answer.
        """
        answer = await self._send("GET", "/v1/me", token)
        if answer.status_code != 200:
            return None
        me = answer.json()
        return None if me["role"] == "site" else Caller(name=me["name"], role=me["role"], token=token)

    async def propose(self, caller: Caller, goal: PlanGoal) -> dict[str, Any]:
        """Ask the loop for a plan, in a thread of its own and as the caller; return the compared plans, or where they will be."""
        opened = await self._post("/v1/threads", caller, {"title": f"MCP: {goal.objective}"[:120]})
        thread_id = str(opened["thread_id"])
        text = goal.why or f"{goal.objective} asked for over MCP"
        body = {"text": text, "goal": goal.model_dump(mode="json", exclude_none=True, exclude={"why"})}
        await self._post(f"/v1/threads/{thread_id}/messages", caller, body)
        return await self._outcome(caller, thread_id)

    async def _outcome(self, caller: Caller, thread_id: str) -> dict[str, Any]:
        out: dict[str, Any] = {"thread_id": thread_id, "status": "proposed, or being worked out"}
        after, began = 0, monotonic()
        while monotonic() - began < self.wait.total_seconds():
            page = (
                await self._send("GET", f"/v1/threads/{thread_id}/events?after={after}", caller.token)
            ).json()
            after = page["last_event_no"]
            for event in page["events"]:
                kind, body = event["kind"], event["body"]
                if kind == "message":
                    out["message"] = body.get("text", "")
                if kind == "plan":
                    out |= {key: body[key] for key in ("plans", "chosen", "why", "planner") if key in body}
                if kind in {"done", "error"}:
                    return out | {"status": body.get("stage") or body.get("text", "failed")}
                if kind == "interrupt":
                    return out | {
                        "status": f"waits for {body.get('kind', 'people')}",
                        "tier": body.get("tier"),
                    }
            await asyncio.sleep(_LOOK_EVERY_S)
        return out

    async def _post(self, path: str, caller: Caller, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self._send("POST", path, caller.token, body)
        if answer.status_code in {401, 403}:
            raise ToolUnavailableError(f"{caller.name} ({caller.role}) may not ask for plans")
        if answer.status_code >= 400:
            raise ToolInputError(f"the API refused: {answer.text[:300]}")
        found: dict[str, Any] = answer.json()
        return found

    async def _send(
        self, method: str, path: str, token: str, body: dict[str, Any] | None = None
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"}
        if body is not None:
            headers["Idempotency-Key"] = uuid4().hex
        try:
            return await self.http.request(method, path, json=body, headers=headers)
        except httpx.HTTPError as error:
            raise ToolUnavailableError("the API does not answer") from error
