"""Whether a transfer switch, read back, lets a site's inverter feed anybody but the site. Pure; absence means no.

With the mains present an inverter behind a transfer switch exports only while that is read back closed; without mains
only while it is read back open, and then into the isolated section behind it, never into the utility's. What the
contacts say counts while both agree, the counter of looks moves, and nothing measured contradicts them.

Source:
    DOMAIN.md section 4, "Export": open contact read back, agreement with an expiry date, switching authority on record.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final

import msgspec

from edge.modbus.port import FieldSample, SwitchReading

_DEAD_V: Final = 23.0  # a tenth of 230 V: above it somebody feeds the utility's terminals [I]
_DEAD_W: Final = 100.0  # a meter's noise stays below it [I]

Record = Annotated[str, msgspec.Meta(min_length=3, max_length=200)]


class SwitchPosition(StrEnum):
    """Where the pole between inverter and utility stands, as far as anybody can tell."""

    OPEN = "open"
    CLOSED = "closed"
    DOUBTFUL = "doubtful"


class SwitchRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a position is believed: a look younger than `max_age_s`, unchanged for `settle_s` before a first export."""

    max_age_s: Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)] = 0.9
    settle_s: Annotated[float, msgspec.Meta(ge=1.0, le=600.0)] = 5.0


class IslandRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `limits.export.island` section: what may feed an isolated section while the mains are absent. No defaults.

    `agreement` and `switching_authority` name the papers, each with the instant (aware) at which it ends. `limit_w` at
    the inverter's AC side. Below `keep_soc_frac` the battery is the site's own.
    """

    agreement: Record
    agreement_expires_at: datetime
    switching_authority: Record
    authority_expires_at: datetime
    limit_w: Annotated[float, msgspec.Meta(gt=0.0)]
    keep_soc_frac: Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)]

    def __post_init__(self) -> None:
        for name in ("agreement_expires_at", "authority_expires_at"):
            if getattr(self, name).tzinfo is None:
                raise ValueError(f"{name} needs a time zone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interlock:
    """What is known of the switch: `why` it is doubtful, `since` when it stands so, when its counter last moved."""

    position: SwitchPosition = SwitchPosition.DOUBTFUL
    why: str = "not_read"
    since: datetime | None = None
    looks: int | None = None
    moved_at: datetime | None = None


def follow(before: Interlock, seen: SwitchReading | None, rule: SwitchRule, now: datetime) -> Interlock:
    """Return what is known after a look at the contacts (None: they did not answer)."""
    if seen is None:
        return replace(before, position=SwitchPosition.DOUBTFUL, why="not_read", since=None)
    moved = before.looks is not None and seen.looks != before.looks
    moved_at = now if moved else before.moved_at
    known = replace(before, looks=seen.looks, moved_at=moved_at)
    why = ""
    if moved_at is None or not timedelta(0) <= now - moved_at <= timedelta(seconds=rule.max_age_s):
        why = "stale"
    elif seen.open_contact == seen.closed_contact:
        why = "contradictory"
    if why:
        return replace(known, position=SwitchPosition.DOUBTFUL, why=why, since=None)
    position = SwitchPosition.OPEN if seen.open_contact else SwitchPosition.CLOSED
    since = before.since if position is before.position else now
    return replace(known, position=position, why="", since=since)


def switch_gap(
    known: Interlock, wanted: SwitchPosition, rule: SwitchRule, now: datetime, within: timedelta
) -> str:
    """Return what keeps the switch from being surely in a position, or nothing; `within`: how old a look may be."""
    if known.position is SwitchPosition.DOUBTFUL:
        return f"switch_{known.why}"
    if known.position is not wanted:
        return f"switch_{known.position}"
    if known.since is None or now - known.since < timedelta(seconds=rule.settle_s):
        return "switch_unsettled"
    # A position that was sure at the last scan and was not looked at since is not sure now.
    return "switch_stale" if known.moved_at is None or now - known.moved_at > within else ""


def mains_gap(sample: FieldSample) -> str:
    """Return what speaks against mains that are said to be present: an input may be stuck, or hear a genset."""
    if sample.grid_v is not None and not abs(sample.grid_v) > _DEAD_V:
        return "utility_dead"
    return "" if (sample.genset_w or 0.0) <= _DEAD_W else "genset_running"


def island_gap(
    rule: IslandRule,
    switch: SwitchRule,
    known: Interlock,
    sample: FieldSample,
    now: datetime,
    within: timedelta,
) -> str:
    """Return the first thing missing for export with the mains absent, or nothing.

    Beside papers and contacts, the utility's terminals must be measured dead: contacts that agree on a lie are found
    out by the voltage that the inverter itself puts there.
    """
    checks = (
        (now >= rule.agreement_expires_at, "agreement_expired"),
        (now >= rule.authority_expires_at, "authority_expired"),
        (sample.mains_ok, "mains_present"),
        (bool(gap := switch_gap(known, SwitchPosition.OPEN, switch, now, within)), gap),
        (sample.grid_v is None, "utility_not_measured"),
        (not abs(sample.grid_v or 0.0) <= _DEAD_V, "utility_live"),
        (not abs(sample.grid_w or 0.0) <= _DEAD_W, "utility_live"),
        (not (sample.genset_w or 0.0) <= _DEAD_W, "genset_running"),
    )
    return next((reason for broken, reason in checks if broken), "")
