"""Which messages are due now: by severity, quiet hours and escalation, at most one a subject and target. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from telemetry.model.incident import Severity
from tools.notify.occasion import Occasion
from tools.notify.settings import NotifySettings, Target, rank

DIRECT = "direct"
ESCALATED = "escalated"
_LISTED = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """That a target was told of a subject (or its message waits in the outbox)."""

    subject_id: str
    target: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message to one target, about one subject or, when many come at once, about all of them."""

    message_id: str
    target: str
    subject_ids: tuple[str, ...]
    reason: str  # direct or escalated
    severity: Severity
    title: str
    body: str
    link: str


def due(
    occasions: Sequence[Occasion], told: Sequence[Told], settings: NotifySettings, now: datetime
) -> tuple[Message, ...]:
    """Return the messages that are due.

    Nobody is told of a subject twice, whatever happens to it: it may grow worse, be seen again or be escalated to
    somebody who knows it. In quiet hours what is mild waits, and is told when they end if it still stands.

    Args:
        occasions: What stands now.
        told: Who was told of what, for these subjects.
        settings: The notification file.
        now: Domain instant, aware UTC.
    """
    known = {(one.subject_id, one.target) for one in told}
    first: dict[str, datetime] = {}
    for one in told:
        first[one.subject_id] = min(one.at, first.get(one.subject_id, one.at))
    oldest = now - timedelta(hours=settings.max_age_h)
    messages: list[Message] = []
    for target in settings.target:
        mine = [
            (each, reason)
            for each in occasions
            if (each.subject_id, target.name) not in known
            and (reason := _reason(each, target, settings, first, now, oldest))
            and not _held_back(each, target, settings, now)
        ]
        messages += _messages(target, mine, settings)
    return tuple(messages)


def _reason(
    occasion: Occasion,
    target: Target,
    settings: NotifySettings,
    first: Mapping[str, datetime],
    now: datetime,
    oldest: datetime,
) -> str:
    """Return why a target is told of an occasion, empty where it is not."""
    told_at = first.get(occasion.subject_id)
    if told_at is None and occasion.opened_at < oldest:
        return ""
    if target.direct and target.wants(occasion.severity, occasion.kind):
        return DIRECT
    if not occasion.waits:
        return ""
    begun = occasion.opened_at if told_at is None else told_at
    for step in settings.escalation:
        grave = rank(occasion.severity) >= rank(step.at_least)
        if step.to == target.name and grave and now >= begun + step.after:
            return ESCALATED
    return ""


def _held_back(occasion: Occasion, target: Target, settings: NotifySettings, now: datetime) -> bool:
    return target.quiet and settings.quiet is not None and settings.quiet.holds_back(occasion.severity, now)


def _messages(
    target: Target, mine: Sequence[tuple[Occasion, str]], settings: NotifySettings
) -> list[Message]:
    if len(mine) >= settings.digest_from:
        return [_digest(target, mine, settings)]
    return [
        Message(
            message_id=message_id(target.name, (one.subject_id,)),
            target=target.name,
            subject_ids=(one.subject_id,),
            reason=reason,
            severity=one.severity,
            title=one.title if reason == DIRECT else f"{one.title} (nobody has taken it up)",
            body=one.body,
            link=_link(settings, one.path),
        )
        for one, reason in mine
    ]


def _digest(target: Target, mine: Sequence[tuple[Occasion, str]], settings: NotifySettings) -> Message:
    """Return one message that lists many, the gravest first."""
    ordered = sorted((one for one, _ in mine), key=lambda one: (-rank(one.severity), one.opened_at))
    lines = [f"- {one.title}" for one in ordered[:_LISTED]]
    if len(ordered) > _LISTED:
        lines.append(f"- and {len(ordered) - _LISTED} more")
    subjects = tuple(one.subject_id for one in ordered)
    return Message(
        message_id=message_id(target.name, subjects),
        target=target.name,
        subject_ids=subjects,
        reason=DIRECT if all(reason == DIRECT for _, reason in mine) else ESCALATED,
        severity=ordered[0].severity,
        title=f"{ordered[0].severity.value}: {len(ordered)} new matters",
        body="\n".join(lines),
        link=_link(settings, "/m"),
    )


def message_id(target: str, subject_ids: tuple[str, ...]) -> str:
    """Return the name under which a receiver can know a message again."""
    return f"msg-{sha256('|'.join((target, *sorted(subject_ids))).encode()).hexdigest()[:20]}"


def _link(settings: NotifySettings, path: str) -> str:
    return f"{settings.public_url.rstrip('/')}{path}" if settings.public_url else ""
