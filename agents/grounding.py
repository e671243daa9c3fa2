"""Keeps an answer to what the tools said: a sentence whose number or id is in no tool result is dropped. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from math import isclose
from typing import Any

_SENTENCE = re.compile(  # a link is in one piece: half of it would pass for a sentence without one
    r"(?:(?i:https?://|www\.)\S*[^\s.!?]|[^.!?\n]|[.!?](?=\d))+[.!?]*|\n"
)
_ID = re.compile(r"\b[A-Za-z]+(?:[-_][A-Za-z0-9]+)*[-_]\d[A-Za-z0-9_-]*\b|\bplan-[A-Za-z0-9_-]+\b")
_TIME = re.compile(r"\b(\d{1,2}):(\d{2})(?::\d{2}(?:\.\d+)?)?\b")
_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:\d{2})?)?\b")
_DAY = re.compile(r"\b(\d{1,2}) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\w*\b")
_NUMBER = re.compile(r"(?<![\w.])[-+−]?\d+(?:[ ,]\d{3})*(?:\.\d+)?")
_CLAIM = re.compile(  # that something happened; not that it may, must or should
    r"\b(?:was|were|is|are|been|have|has|had|I|we|just|now|now\s+being)\s+(?:(?!not\b)\w+\s+)?"
    r"(dispatched|approved|authorised|authorized|executed|sent|aborted|stopped|started|changed|completed)\b",
    re.IGNORECASE,
)
_NOT = re.compile(
    r"(?:\b(?:not|never|nobody|nothing|cannot|unless|until)|n't)\b(?:\s+\S+){0,3}\s*$", re.IGNORECASE
)
_LINK = re.compile(r"\b(?:https?://|www\.)\S+|!?\[[^\]]*\]\([^)]*\)", re.IGNORECASE)
# What a plan's status or control's answer lets an answer say of it.
_SAYS: Mapping[str, frozenset[str]] = {
    "approved": frozenset({"approved"}),
    "authorised": frozenset({"authorised", "authorized"}),
    "dispatched": frozenset({"approved", "authorised", "authorized", "dispatched", "sent", "started"}),
    "completed": frozenset(
        {"approved", "authorised", "authorized", "dispatched", "sent", "started", "executed", "completed"}
    ),
    "aborted": frozenset({"aborted", "stopped"}),
}
_STATUS_OF = ("status", "control")
_KNOW_OF_DISPATCH = frozenset({"dispatch_request", "compare_plans", "explain_rejection"})
_SCALES = (1.0, 1e3, 1e-3, 1e6, 1e-6, 100.0, 0.01, 60.0, 1.0 / 60.0)  # units and percent; hours and minutes


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounded:
    """What may be said, and the sentences that were dropped."""

    text: str
    dropped: tuple[str, ...]
    sentences: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that tool results hold: numbers, ids and other whole words, instants, and texts that may be quoted.

    A text is never mined for numbers: somebody else may have written it. It counts only where it is quoted whole, and
    what people or devices wrote (`_FOREIGN`) counts not at all.
    """

    numbers: tuple[float, ...]
    words: frozenset[str]
    instants: tuple[datetime, ...]
    texts: tuple[str, ...]


_FOREIGN = frozenset(
    {"name", "alarms", "doubts", "evidence", "declined", "text", "history", "request", "why"}
)
_LEAST_QUOTE = 12


def evidence_of(results: Iterable[object]) -> Evidence:
    """Collect the evidence in tool results (JSON values)."""
    numbers: list[float] = []
    words: set[str] = set()
    instants: list[datetime] = []
    todo: list[object] = list(results)
    while todo:
        value = todo.pop()
        if isinstance(value, bool) or value is None:
            continue
        if isinstance(value, int | float):
            numbers.append(float(value))
        elif isinstance(value, Mapping):
            words.update(str(key) for key in value)
            for key, item in value.items():
                if key not in _FOREIGN:
                    todo.append(item)
                elif isinstance(item, Sequence) and not isinstance(item, str):
                    numbers.append(float(len(item)))  # how many alarms there are is our count
        elif isinstance(value, str):
            words.add(value)
            with suppress(ValueError):
                instants.append(datetime.fromisoformat(value))
        elif isinstance(value, Sequence):
            numbers.append(float(len(value)))
            todo += value
    texts = sorted((word for word in words if len(word) >= _LEAST_QUOTE), key=len, reverse=True)
    return Evidence(
        numbers=tuple(numbers), words=frozenset(words), instants=tuple(instants), texts=tuple(texts)
    )


def claims_of(steps: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Return what an answer may say has happened: only what a tool that knows of plans has told as a plan's status."""
    said: set[str] = set()
    for step in steps:
        result = step.get("result")
        if step.get("tool") not in _KNOW_OF_DISPATCH or not isinstance(result, Mapping):
            continue
        plans = result.get("plans", ())
        for one in (result, *(plans if isinstance(plans, Sequence) else ())):
            if isinstance(one, Mapping):
                for key in _STATUS_OF:
                    said |= _SAYS.get(str(one.get(key)), frozenset())
    return frozenset(said)


def ground(text: str, results: Iterable[object], *, claims: frozenset[str] | None = None) -> Grounded:
    """Return the text without the sentences that say what no tool said.

    Args:
        text: The answer.
        results: What the tools of this run returned.
        claims: What may be said to have happened (`claims_of`): no other sentence may speak of anything having been
            approved, dispatched, sent and so on; None: whatever is said (for a text that code has made).

    A sentence that carries the citation of a passage of the library may also use the numbers and ids of that passage:
    it is the document that says so, and the reader sees which. A link that no result holds goes out with its sentence.
    """
    known_results = list(results)
    evidence, passages = evidence_of(known_results), passages_of(known_results)
    quoted: list[str] = []
    for known in evidence.texts:
        if known in text and not _ID.fullmatch(known):
            text = text.replace(known, f"\ue000{chr(0xE100 + len(quoted))}")
            quoted.append(known)
    kept: list[str] = []
    dropped: list[str] = []
    for sentence in _SENTENCE.findall(text):
        bare = sentence.strip()
        if not bare:
            kept.append("\n" if sentence == "\n" else "")
        elif _unsupported(bare, _restored(bare, quoted), evidence, passages) or _claims_more(bare, claims):
            dropped.append(_restored(bare, quoted))
        else:
            kept.append(sentence)
    return Grounded(
        text=_restored("".join(kept).strip(), quoted),
        dropped=tuple(dropped),
        sentences=len(dropped) + sum(bool(part.strip()) for part in kept),
    )


def passages_of(results: Iterable[object]) -> Mapping[str, str]:
    """Return the passages that the library gave, by citation."""
    found: dict[str, str] = {}
    for result in results:
        passages = result.get("passages", ()) if isinstance(result, Mapping) else ()
        for one in passages if isinstance(passages, Sequence) else ():
            if isinstance(one, Mapping) and "cite" in one:
                found[str(one["cite"])] = (
                    f"{one.get('title', '')} {one.get('section', '')} {one.get('text', '')}"
                )
    return found


def _unsupported(bare: str, whole: str, evidence: Evidence, passages: Mapping[str, str]) -> bool:
    """Whether a sentence holds a number, an id or a link that nothing supports; `bare` has its quotations taken out."""
    if _LINK.search(bare):
        return True
    missing = missing_in(bare, evidence)
    if not missing:
        return False
    cited = " ".join(text for cite, text in passages.items() if cite in whole)
    return not all(re.search(rf"(?<![\w.]){re.escape(one)}(?![\w]|\.\d)", cited) for one in missing)


def _claims_more(bare: str, claims: frozenset[str] | None) -> bool:
    if claims is None or (found := _CLAIM.search(bare)) is None:
        return False
    return found[1].lower() not in claims and _NOT.search(bare[: found.start(1)]) is None


def _restored(text: str, quoted: Sequence[str]) -> str:
    for number, known in enumerate(quoted):
        text = text.replace(f"\ue000{chr(0xE100 + number)}", known)
    return text


def missing_in(sentence: str, evidence: Evidence) -> list[str]:
    """Return the ids, times and numbers of a sentence that the evidence does not hold."""
    missing = [name for name in _ID.findall(sentence) if name not in evidence.words]
    rest = _ID.sub(" ", sentence)
    missing += [found for found in _DATE.findall(rest) if not _has_date(found, evidence)]
    rest = _DATE.sub(" ", rest)
    missing += [f"{h}:{m}" for h, m in _TIME.findall(rest) if not _has_time(int(h), int(m), evidence)]
    rest = _TIME.sub(" ", rest)
    missing += [found[0] for found in _DAY.findall(rest) if not _has_day(found, evidence)]
    rest = _DAY.sub(" ", rest)
    return missing + [found for found in _NUMBER.findall(rest) if not _has_number(found, evidence)]


def _to_float(text: str) -> float:
    return float(text.replace(" ", "").replace(",", "").replace("−", "-"))


def _has_number(text: str, evidence: Evidence) -> bool:
    """Whether a number is in the evidence, as written with its own rounding, in some unit, sign told in words."""
    said = abs(_to_float(text))
    decimals = len(text.partition(".")[2])
    half = 0.5 * 10.0**-decimals
    return any(
        abs(abs(known) * scale - said) <= half * 1.0001 or isclose(abs(known) * scale, said, rel_tol=1e-9)
        for known in evidence.numbers
        for scale in _SCALES
    )


def _has_time(hour: int, minute: int, evidence: Evidence) -> bool:
    return any((at.hour, at.minute) == (hour, minute) for at in evidence.instants)


def _has_day(found: tuple[str, str], evidence: Evidence) -> bool:
    return any((str(at.day), f"{at:%b}") == (found[0].lstrip("0"), found[1]) for at in evidence.instants)


def _has_date(text: str, evidence: Evidence) -> bool:
    try:
        said = datetime.fromisoformat(text)
    except ValueError:
        return False
    if len(text) == 10:
        return any(at.date() == said.date() for at in evidence.instants)
    return any(at.replace(tzinfo=None, second=0, microsecond=0) == said.replace(tzinfo=None, second=0, microsecond=0)
               for at in evidence.instants)  # fmt: skip
