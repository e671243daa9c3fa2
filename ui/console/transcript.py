"""A conversation as it is read: what people asked and what the agent did, out of commands and events. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from ui.console.api_client import Doc

Kind = Literal["person", "steps", "answer", "plan", "approval", "wait", "writing", "error", "ended"]
_REST = frozenset({"done", "error", "interrupt"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing to read. `body` is the event's, or the command's; `steps` are the tool calls of one stretch of work."""

    kind: Kind
    at: datetime
    key: str
    who: str = ""
    body: Doc = field(default_factory=dict)
    steps: tuple[Doc, ...] = ()


def transcript(commands: Sequence[Doc], events: Sequence[Doc]) -> list[Entry]:
    """Return what to show, oldest first. Tokens give way to the message that repeats them, waits to what ended them."""
    out: list[Entry] = []
    for at, _, item in sorted(_dated(commands, events), key=lambda one: one[:2]):
        if "command_no" in item:
            if item["kind"] == "message":
                out.append(
                    Entry(
                        kind="person", at=at, key=f"c{item['command_no']}", who=item["who"], body=item["body"]
                    )
                )
        else:
            _take(out, at, item)
    return out


def _dated(commands: Sequence[Doc], events: Sequence[Doc]) -> list[tuple[datetime, int, Doc]]:
    """Return both with what orders them: the instant, then commands before events, then their number."""
    return [
        *((datetime.fromisoformat(one["at"]), one["command_no"] - 10**9, one) for one in commands),
        *((datetime.fromisoformat(one["at"]), one["event_no"], one) for one in events),
    ]


def _take(out: list[Entry], at: datetime, event: Doc) -> None:
    key, body, kind = f"e{event['event_no']}", event["body"], event["kind"]
    if kind != "token" and out and out[-1].kind == "wait" and not (kind == "step" and "starting" in body):
        out.pop()
    match kind:
        case "step" if "tool" in body:
            _add_step(out, at, key, body)
        case "token":
            _add_token(out, at, key, body)
        case "message":
            if out and out[-1].kind == "writing":
                out.pop()
            out.append(Entry(kind="answer", at=at, key=key, body=body))
        case "plan":
            out.append(Entry(kind="plan", at=at, key=key, body=body))
        case "interrupt":
            out.append(
                Entry(kind="approval" if body["kind"] == "approval" else "wait", at=at, key=key, body=body)
            )
        case "error":
            out.append(Entry(kind="error", at=at, key=key, body=body))
        case "done":
            out.append(Entry(kind="ended", at=at, key=key, body=body))
        case _:
            pass


def _add_step(out: list[Entry], at: datetime, key: str, body: Doc) -> None:
    last = out[-1] if out else None
    if last is not None and last.kind == "steps" and last.body["run_id"] == body["run_id"]:
        out[-1] = Entry(kind="steps", at=last.at, key=last.key, body=last.body, steps=(*last.steps, body))
    else:
        out.append(Entry(kind="steps", at=at, key=key, body={"run_id": body["run_id"]}, steps=(body,)))


def _add_token(out: list[Entry], at: datetime, key: str, body: Doc) -> None:
    last = out[-1] if out else None
    if last is not None and last.kind == "writing":
        text = f"{last.body['text']}\n\n{body['text']}"
        out[-1] = Entry(kind="writing", at=last.at, key=last.key, body={**body, "text": text})
    else:
        out.append(Entry(kind="writing", at=at, key=key, body=body))


def at_work(commands: Sequence[Doc], events: Sequence[Doc]) -> str | None:
    """Return what the agent is doing now, None where it rests or waits for somebody; empty where that is not told."""
    last = events[-1] if events else None
    if last is not None and last["kind"] not in _REST:
        body: Any = last["body"]
        return str(body.get("starting", body.get("tool", "")))
    if any(one["outcome"] is None and one["kind"] != "cancel" for one in commands):
        newest = max(datetime.fromisoformat(one["at"]) for one in commands if one["outcome"] is None)
        if last is None or datetime.fromisoformat(last["at"]) <= newest:
            return ""
    return None


def card_wanted(entries: Sequence[Entry]) -> str:
    """Return the plan that was chosen last, where no card that waits for approval shows it already; else empty."""
    shown = {one.body["plan_id"] for one in entries if one.kind == "approval"}
    chosen = next((str(one.body["chosen"]) for one in reversed(entries) if one.kind == "plan"), "")
    return "" if chosen in shown else chosen


def is_choice(step: Doc) -> bool:
    """Return whether a step is the planner's choice of what to do, not the doing."""
    return str(step["tool"]).startswith("choose ")


def planner_of(entries: Sequence[Entry]) -> str:
    """Return which model answered last, empty where none has."""
    for entry in reversed(entries):
        named = entry.body.get("planner") or next(
            (one["planner"] for one in reversed(entry.steps) if one.get("planner")), ""
        )
        if named:
            return str(named)
    return ""
