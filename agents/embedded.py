"""The embedded language model: small and slow, so it is asked little, sees little, and every answer is held by a grammar.

The server (`ui.ops.llm_server`) holds generation to a grammar: one option's name, then its arguments. Ids may only be ones
that the operator named or that exist; times and powers that code can read are read by code and given to it, not asked of
it; and a tool's result comes as finished sentences that it may pass on whole (`say_it`). Each kind of question has a slot of the server
and a prefix of its own that never changes by a byte.
"""

import asyncio
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, get_args

from openai import AsyncOpenAI, OpenAIError
from openai.types.chat import ChatCompletionMessageParam
from pydantic import ValidationError

from agents import fixed
from agents.answers import answer_for
from agents.gbnf import CLOCK, NUMBER, Field, grammar, one_of, optional, some_of, text_of
from agents.intents import metric_in, refusal_in
from agents.model_client import Choice, ModelError, Option, Question, UnreachableModelError, prompt
from agents.questions import FinalAnswer
from agents.times import read_window
from agents.wording import continued, id_like, is_foreign, named, relief_kw_in
from tools.catalogue import SETS
from tools.errors import ToolInputError
from tools.goal import PlanGoal
from tools.telemetry_window import Metric

NAME = "qwen2.5-coder-1.5b-instruct-q4_k_m"
SLOTS = {"topic": 0, "watch": 1, "act": 2, "know": 3, "goal": 4, "pick": 5, "ahead": 6}
SAY_IT = "say_it"
"""Passes on the sentences made from a tool's result."""
_PLAN_ID = re.compile(r"\bplan-[\w.:/-]*\w")
_MOST_TOKENS = 220
_WARM_WITHIN = timedelta(minutes=10)  # a busy machine reads five tokens a second
_WARM = "request: how is the fleet?"
_REFUSALS = {
    "stop_or_abort": fixed.STOP,
    "approval": fixed.NO_APPROVAL,
    "settings": fixed.NO_SETTINGS,
    "setpoint_of_a_site": fixed.NO_SETPOINT,
    "secrets": fixed.NO_SECRETS,
    "time_is_missing": fixed.ASK_TIME,
    "feeder_is_missing": fixed.ASK_FEEDER,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """Where the server is, and what it is called."""

    base_url: str
    model: str
    label: str = "embedded language model Qwen2.5-Coder-1.5B"
    timeout: timedelta = timedelta(seconds=120)


@dataclass(slots=True, kw_only=True)
class EmbeddedModel:
    """Asks the embedded server, one question at a time.

    Attributes:
        told: Called with each piece of the answer as it comes, for a screen.
    """

    embedded: Embedded
    told: Callable[[str], None] = lambda _: None
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)
    _client: AsyncOpenAI | None = None

    @property
    def label(self) -> str:
        return self.embedded.label

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()

    async def ready(self) -> bool:
        """Whether the server answers."""
        try:
            await self._opened().with_options(timeout=2.0).models.list()
        except OpenAIError:
            return False
        return True

    async def warm(self, kinds: Iterable[str] = tuple(SLOTS)) -> None:
        """Let the server read prefixes once, so that a first question does not wait for them.

        Raises:
            ModelError: The server does not answer, or not within ten minutes.
        """
        for name in kinds:
            await self._complete(name, _WARM, grammar([("warm", {})]), 1, within=_WARM_WITHIN)

    async def choose(self, question: Question) -> Choice:
        began = monotonic()
        kind = kind_of(question)
        read = Read.of(question)
        if question.name in {"topic", "tool"} and not read.sentences and refusal_in(read.request):
            raise ModelError("a fixed rule answers this request")  # what nobody may have is not left to it
        text, prompt_tokens, answer_tokens = await self._complete(
            kind, shown(question, read), grammar_of(question, read), _MOST_TOKENS
        )
        try:
            name, option = taken(text, question, read)
        except ModelError as error:
            raise error.having_used(prompt_tokens, answer_tokens) from error.__cause__
        return Choice(
            name=name,
            option=option,
            label=self.label,
            seconds=monotonic() - began,
            prompt_tokens=prompt_tokens,
            answer_tokens=answer_tokens,
        )

    def _opened(self) -> AsyncOpenAI:
        if self._client is None:
            self._client = AsyncOpenAI(
                base_url=self.embedded.base_url,
                api_key="none",
                timeout=self.embedded.timeout.total_seconds(),
                max_retries=1,  # the server closes connections that were idle
            )
        return self._client

    async def _complete(
        self, kind: str, user: str, held_by: str, most: int, within: timedelta | None = None
    ) -> tuple[str, int, int]:
        """Return the text, and the tokens read and written."""
        text, used, finish = "", (0, 0), None
        async with self._one:
            try:
                within_s = (within or self.embedded.timeout).total_seconds()
                stream = await self._opened().chat.completions.create(
                    timeout=within_s,
                    model=self.embedded.model,
                    messages=[*instructions(kind), {"role": "user", "content": user}],
                    temperature=0.0,
                    max_tokens=most,
                    stream=True,
                    stream_options={"include_usage": True},
                    extra_body={"grammar": held_by, "id_slot": SLOTS[kind], "cache_prompt": True},
                )
                async with stream:
                    async for chunk in stream:
                        if chunk.usage is not None:
                            used = (chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
                        for choice in chunk.choices:
                            piece = choice.delta.content or ""
                            text, finish = text + piece, choice.finish_reason or finish
                            if piece:
                                self.told(piece)
            except OpenAIError as error:
                raise UnreachableModelError(f"its server failed ({type(error).__name__})") from error
        if finish is None:
            raise UnreachableModelError("its answer was cut off")
        return text, *used


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What code reads out of a request, so that the model need not: ids, window, power, and the sentences of the last result."""

    request: str
    site_ids: tuple[str, ...]
    feeder_ids: tuple[str, ...]
    plan_ids: tuple[str, ...]
    window: tuple[datetime, datetime, str] | None
    relief_kw: float | None
    sentences: str

    @classmethod
    def of(cls, question: Question) -> "Read":
        """Read the facts of a question."""
        facts: Mapping[str, Any] = question.facts
        asked = continued(str(facts.get("request", "")), facts.get("history", []))
        text = asked.lower()
        feeders, sites = list(facts.get("feeder_ids", [])), list(facts.get("site_ids", []))
        window = None
        if "earliest_start" in facts and "time_zone" in facts:
            earliest = datetime.fromisoformat(str(facts["earliest_start"]))
            found = read_window(asked, earliest, str(facts["time_zone"]))
            window = None if found is None else (found.start, found.end, found.assumed)
        strange = [
            one
            for one in id_like(text)
            if one not in feeders and one not in sites and not one.startswith("plan-")
        ][:4]
        done = facts.get("done") or []
        return cls(
            request=asked,
            site_ids=(*named(sites, text), *strange),
            feeder_ids=(*named(feeders, text),) or tuple(feeders[:12]),
            plan_ids=tuple(dict.fromkeys(_PLAN_ID.findall(asked)))[:4],
            window=window,
            relief_kw=relief_kw_in(asked),
            sentences=answer_for(done[-1])[:900] if done else "",
        )


def kind_of(question: Question) -> str:
    """Return which prefix and slot a question has: a tool question those of its set."""
    if question.name != "tool":
        return question.name
    return next(
        (
            topic
            for topic, names in SETS.items()
            if set(question.options) - {"final_answer"} <= set(names) and len(question.options) > 1
        ),
        "watch",
    )


def instructions(kind: str) -> list[ChatCompletionMessageParam]:
    """Return the fixed part of a prompt: what to do, then examples as turns of a conversation."""
    system, *turns = re.split(r"^### (?:user|assistant)\n", prompt(f"embedded_{kind}"), flags=re.MULTILINE)
    out: list[ChatCompletionMessageParam] = [{"role": "system", "content": system.strip()}]
    for number, text in enumerate(turns):
        if number % 2:
            out.append({"role": "assistant", "content": text.strip()})
        else:
            out.append({"role": "user", "content": text.strip()})
    return out


def shown(question: Question, read: Read) -> str:
    """Return what changes from question to question, as short as it can be."""
    facts: Mapping[str, Any] = question.facts
    if question.name in {"goal", "pick"}:
        return json.dumps(_short(facts), ensure_ascii=True, separators=(",", ":"), default=str)
    lines = [f"{one['who']} said before: {one['text'][:160]}" for one in list(facts.get("history", []))[-2:]]
    if "plan" in question.options:
        lines.append(f"feeders: {' '.join(read.feeder_ids)}")
        lines.append(f"time: {'not ' if read.window is None else ''}read")
        if read.relief_kw is not None:
            lines.append(f"power: {read.relief_kw:g} kW")
    lines.append(f"request: {read.request[:400]}")
    if read.sentences:
        lines.append(f"result of {facts['done'][-1]['tool']}: {read.sentences}")
    if unsupported := facts.get("unsupported"):
        lines.append(f"leave out: {' '.join(unsupported)[:300]}")
    return "\n".join(lines)


_LEFT_OUT = ("now", "no_forecast_for", "left_out", "goal", "simulated_sites", "gap_pct", "largest_site_kw")


def _short(value: Any) -> Any:
    """Return facts without what a choice does not need, and instants to the minute."""
    if isinstance(value, Mapping):
        return {
            key: _short(one)
            for key, one in value.items()
            if key not in _LEFT_OUT and one not in (None, [], {}, "")
        }
    if isinstance(value, list | tuple):
        return [_short(one) for one in value]
    if isinstance(value, str) and len(value) == 25 and value[10:11] == "T":
        return value[:16] + "Z" if value.endswith("+00:00") else value
    return value


def grammar_of(question: Question, read: Read) -> str:
    """Return the grammar that holds the answer: JSON without spaces, any of the options, its name first."""
    branches: list[tuple[str, Mapping[str, Field]]] = []
    for name, option in question.options.items():
        if name == "dispatch_request" and not asks_for_dispatch(read.request):
            continue
        if name == "final_answer" and not read.sentences and "unsupported" not in question.facts:
            branches.append(("cannot", {"because": one_of(_reasons(question, read))}))
        elif name == "final_answer":
            branches += [(SAY_IT, {}), (name, {"text": text_of(1, 500)})]
        elif name == "plan" and question.name == "tool":
            branches.append((name, _plan_fields(read)))
        elif question.name in {"goal", "pick"}:
            branches.append((name, _judged_fields(name, question.facts)))
        else:
            branches.append((name, _fields(option, read)))
    return grammar(branches)


_DISPATCH = re.compile(r"\b(?:dispatch|send|run|start|execute|carry out)\b", re.IGNORECASE)
_APPROVE = re.compile(r"\b(?:approve|authorise|authorize|decline)\b", re.IGNORECASE)


def asks_for_dispatch(request: str) -> bool:
    """Whether the operator's own words ask for a plan's dispatch: a plan is named, with the word for it, and nothing approved.

    A small model takes "I approve plan-1" for such an order; what asks for anything to happen is not left to it.
    """
    return (
        _PLAN_ID.search(request) is not None
        and _DISPATCH.search(_PLAN_ID.sub(" ", request)) is not None
        and _APPROVE.search(request) is None
    )


def may_hold_times(request: str) -> bool:
    """Whether there may be times that only the model can read: digits outside ids and powers, or another language."""
    rest = re.sub(r"\b[\w-]*[a-z][\w-]*\d[\w-]*|\d[\d.,]* ?(?:kw|mw|w|h|%)\b", " ", request.lower())
    return is_foreign(request) or re.search(r"\d", rest) is not None


def _reasons(question: Question, read: Read) -> list[str]:
    """Return why a request may be turned down: only what can be so for this set and these words."""
    if "plan" not in question.options:
        return ["secrets", "other"]
    missing = {
        "time_is_missing": read.window is None,
        "feeder_is_missing": not named(read.feeder_ids, read.request.lower()),
    }
    return [*(name for name in _REFUSALS if missing.get(name, True)), "other"]


def _plan_fields(read: Read) -> dict[str, Field]:
    fields = {
        "objective": one_of(["peak_shaving", "demand_response", "recharge"]),
        "feeder_ids": some_of(list(read.feeder_ids)),
    }
    if read.window is None and may_hold_times(read.request):
        fields["day"] = one_of(["today", "tomorrow"])
        fields["start"] = fields["end"] = CLOCK
    if read.site_ids:
        fields["exclude_site_ids"] = optional(some_of(list(read.site_ids)))
    return fields


_WHY = text_of(10, 140)


def _judged_fields(name: str, facts: Mapping[str, Any]) -> dict[str, Field]:
    """Return the fields of a goal or a pick: the reason first, then what follows from it."""
    if name == "pick_plan":
        return {"why": _WHY, "plan_id": one_of([str(one["plan_id"]) for one in facts["plans"]])}
    if name == "plan":
        feeders = [str(one["feeder_id"]) for one in facts["feeders"]]
        return {"why": _WHY, "feeder_ids": some_of(feeders), "begin_before_min": one_of([15, 30, 60])}
    return {"why": _WHY}


_METRICS = get_args(Metric)


def _fields(option: type[Option], read: Read) -> dict[str, Field]:
    """Return an option's fields as the grammar shall hold them; what a small model only gets wrong keeps its default."""
    names = option.model_fields
    fields: dict[str, Field] = {}
    if "site_id" in names and (read.site_ids or names["site_id"].is_required()):
        site = one_of(list(read.site_ids)) if read.site_ids else text_of(1, 24)
        fields["site_id"] = site if names["site_id"].is_required() else optional(site)
    if "subject_id" in names:
        subject = one_of([*read.site_ids, *read.feeder_ids] or ["none"])
        fields["subject_id"] = subject if names["subject_id"].is_required() else optional(subject)
    if "what" in names:
        fields["what"] = one_of(["metric", "forecast", "pv"])
    if "plan_id" in names:
        fields["plan_id"] = one_of(list(read.plan_ids)) if read.plan_ids else text_of(1, 40)
    if "metric" in names:
        said = metric_in(read.request.lower())
        fields["metric"] = one_of([said] if said else list(_METRICS))
    if "hours" in names:
        fields["hours"] = NUMBER
    return fields


def taken(text: str, question: Question, read: Read) -> tuple[str, Option]:
    """Return the option that the model's JSON names.

    Raises:
        ModelError: It is none.
    """
    try:
        doc = json.loads(text)
        name, given = str(doc.pop("name")), dict(doc)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError("its answer was no choice") from error
    if name == SAY_IT:
        return "final_answer", FinalAnswer(text=read.sentences or fixed.ASK_FEEDER)
    if name == "cannot":
        if given.get("because") not in _REFUSALS:
            raise ModelError(
                "it found no tool for the request"
            )  # the policy planner may, or says what it can do
        return "final_answer", FinalAnswer(text=_REFUSALS[str(given["because"])])
    if name == "plan":
        return _plan(given, question, read) if question.name == "tool" else _goal(given, question)
    schema = question.options.get(name)
    if schema is None:
        raise ModelError(f"it chose {name[:40]!r}, which is not an option here")
    if "question" in schema.model_fields:
        given["question"] = read.request[:400]
    try:
        return name, schema.model_validate(given)
    except ValidationError as error:
        raise ModelError(f"its choice {name} is malformed") from error


def _plan(given: Mapping[str, Any], question: Question, read: Read) -> tuple[str, Option]:
    """Return the goal with window and power put in by code; or what is missing of it, asked for."""
    window = read.window or _window_of(given, question)
    if window is None:
        return "final_answer", FinalAnswer(text=fixed.ASK_TIME)
    objective = given["objective"]
    if objective == "demand_response" and read.relief_kw is None:
        return "final_answer", FinalAnswer(text=fixed.ASK_POWER)
    assumed = f"; {window[2]}" if window[2] else ""
    try:
        return "plan", PlanGoal(
            objective=objective,
            feeder_ids=tuple(dict.fromkeys(given["feeder_ids"])),
            start=window[0],
            end=window[1],
            relief_kw=None if objective == "recharge" else read.relief_kw,
            exclude_site_ids=tuple(dict.fromkeys(given.get("exclude_site_ids", ()))),
            why=f"asked for by the operator{assumed}",
        )
    except ValidationError as error:
        raise ModelError("its choice plan is malformed") from error


def _goal(given: Mapping[str, Any], question: Question) -> tuple[str, Option]:
    """Return the goal of a cycle: the model names the feeders and how early to begin, code puts in the times."""
    facts: Mapping[str, Any] = question.facts
    chosen = [
        one for one in facts["feeders"] if one["feeder_id"] in given["feeder_ids"] and one.get("over_from")
    ]
    if not chosen:
        raise ModelError("it chose feeders whose limit is not exceeded")
    ahead = timedelta(minutes=int(given["begin_before_min"]))
    start = min(datetime.fromisoformat(one["over_from"]) for one in chosen) - ahead
    start = max(start, datetime.fromisoformat(str(facts["earliest_start"])))
    end = min(max(datetime.fromisoformat(one["over_until"]) for one in chosen), start + timedelta(hours=12))
    standing = facts.get("standing_objectives", [])
    kept = dict.fromkeys(name for one in standing for name in one.get("exclude_site_ids", ()))
    return "plan", PlanGoal(
        objective="peak_shaving",
        feeder_ids=tuple(one["feeder_id"] for one in chosen),
        start=start,
        end=end,
        exclude_site_ids=tuple(kept),
        why=str(given["why"])[:300],
    )


def _window_of(given: Mapping[str, Any], question: Question) -> tuple[datetime, datetime, str] | None:
    """Return the window of the clock times that the model read; None where it read none."""
    if "start" not in given or "end" not in given:
        return None
    earliest = datetime.fromisoformat(str(question.facts["earliest_start"]))
    day = {"today": "today ", "tomorrow": "tomorrow "}.get(str(given.get("day")), "")
    try:
        found = read_window(
            f"{day}from {given['start']} to {given['end']}", earliest, str(question.facts["time_zone"])
        )
    except (KeyError, ToolInputError):
        return None
    return None if found is None else (found.start, found.end, "the times were read by the language model")
