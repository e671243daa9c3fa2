"""Which batteries to replace when: a list by month for whoever buys and drives. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from telemetry.model.site import SiteId
from tools.health.estimate import SohEstimate
from tools.health.remaining import RemainingLife
from tools.health.site_health import SiteHealth


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """One battery to replace.

    Attributes:
        month: First day of the month, `YYYY-MM`, in which one in ten such batteries is at its end: order by then.
        site_id: Its site.
        soh_frac: State of health now.
        middle: When half are at their end.
        late: When nine in ten are.
        why: In one line.
    """

    month: str
    site_id: SiteId
    soh_frac: float
    middle: datetime
    late: datetime
    why: str


def replacement_list(
    healths: Iterable[SiteHealth], now: datetime, within: timedelta
) -> tuple[tuple[Replacement, ...], dict[SiteId, str]]:
    """Return what is to be replaced within a time, soonest first, and by site why nothing is known of the others."""
    due: list[Replacement] = []
    unknown: dict[SiteId, str] = {}
    for one in healths:
        if not (isinstance(one.remaining, RemainingLife) and isinstance(one.soh, SohEstimate)):
            unknown[one.site_id] = (
                one.soh.reason if not isinstance(one.soh, SohEstimate) else "no remaining life"
            )
        elif one.remaining.early <= now + within:
            due.append(
                Replacement(
                    month=f"{one.remaining.early:%Y-%m}",
                    site_id=one.site_id,
                    soh_frac=one.soh.soh_frac,
                    middle=one.remaining.middle,
                    late=one.remaining.late,
                    why=(
                        f"state of health {one.soh.soh_frac:.0%} ({one.soh.low_frac:.0%} to {one.soh.high_frac:.0%}), "
                        f"losing {one.remaining.loss_frac_per_year:.1%} a year; end of life at {one.replace_at_frac:.0%}"
                    ),
                )
            )
    due.sort(key=lambda line: (line.month, line.soh_frac, line.site_id))
    return tuple(due), unknown
