"""Commanded against delivered: what control and the sites say, and what the meters at the batteries measured."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edge.plan import Plan, PlanId, SitePlan
from telemetry.model.series import STEP, STEP_H
from telemetry.model.site import SiteId
from telemetry.reading_store import Delivered
from tools.deps import Deps

_OPEN = {"pending", "sent"}
_COMPLETE = 0.9  # of a quarter hour's samples; with less its mean may still change
_TAKING_PART = {"accepted", "limited", "completed"}


async def still_open(deps: Deps, plan_id: PlanId, requested_at: datetime) -> str:
    """Return what is still awaited, in words; empty when nothing is."""
    outcome = await deps.dispatch.outcome(plan_id)
    if outcome is None:
        return "control has not answered"
    if outcome.outcome == "needs_approval" and outcome.at < requested_at:
        return "control has not looked at the approval yet"
    if outcome.outcome != "authorised":
        return ""
    commands = [one for one in await deps.dispatch.commands(plan_id) if one.kind != "release"]
    if not commands:
        return "control has minted no command yet"
    waiting = sum(one.state in _OPEN for one in commands)
    return f"{waiting} of {len(commands)} sites have not acknowledged" if waiting else ""


@dataclass(slots=True)
class _Sum:
    """One site's energy, Wh, charging positive; `error_wh` and `asked_wh` over measured quarter hours only."""

    commanded_wh: float = 0.0
    delivered_wh: float = 0.0
    error_wh: float = 0.0
    asked_wh: float = 0.0
    unmeasured: int = 0
    incomplete: int = 0


async def delivery_of(deps: Deps, plan: Plan, now: datetime) -> dict[str, Any]:
    """Return the sums by site and in all; deviation by quarter hours as DOMAIN.md section 6 defines it.

    A plan that another took over counts up to there: a site that carried it out until then took part.
    """
    commands = {
        one.site_id: one for one in await deps.dispatch.commands(plan.plan_id) if one.kind != "release"
    }
    outcome = await deps.dispatch.outcome(plan.plan_id)
    taken_over_at = await deps.plans.taken_over_at(plan.plan_id)
    end = min(plan.window_end, now, *([] if taken_over_at is None else [taken_over_at]))
    metered = await deps.readings.delivered([site.site_id for site in plan.sites], plan.window_start, end)
    measured = {(one.site_id, one.start): one for one in metered}
    counts = _TAKING_PART if taken_over_at is None else {*_TAKING_PART, "superseded"}
    taking_part = {site_id for site_id, one in commands.items() if one.verdict in counts}
    sums = {
        site.site_id: _sum(plan, site, measured, end) if site.site_id in taking_part else _Sum()
        for site in plan.sites
    }
    asked_wh = sum(one.asked_wh for one in sums.values())
    error_wh = sum(one.error_wh for one in sums.values())
    return {
        "sites_planned": len(plan.sites),
        "sites_sent": len(commands),
        "sites_accepted": len(taking_part),
        "taken_over_at": None if taken_over_at is None else taken_over_at.isoformat(),
        "withheld": {} if outcome is None else outcome.doc.get("withheld", {}),
        "commanded_kwh": round(sum(one.commanded_wh for one in sums.values()) / 1e3, 3),
        "delivered_kwh": round(sum(one.delivered_wh for one in sums.values()) / 1e3, 3),
        "limited_kwh": round(sum(one.limited_wh for one in commands.values()) / 1e3, 3),
        "deviation_pct": round(100.0 * error_wh / asked_wh, 2) if asked_wh > 0.0 else None,
        "unmeasured_quarter_hours": sum(one.unmeasured for one in sums.values()),
        "incomplete_quarter_hours": sum(one.incomplete for one in sums.values()),
        "sites": [
            {
                "site_id": site_id,
                "verdict": commands[site_id].verdict if site_id in commands else "not sent",
                "commanded_wh": round(one.commanded_wh, 1),
                "delivered_wh": round(one.delivered_wh, 1),
                "limited_wh": round(commands[site_id].limited_wh, 1) if site_id in commands else 0.0,
            }
            for site_id, one in sums.items()
        ],
    }


def _sum(
    plan: Plan, site: SitePlan, measured: Mapping[tuple[SiteId, datetime], Delivered], end: datetime
) -> _Sum:
    total = _Sum()
    for step, setpoint_w in enumerate(site.schedule_w):
        at = plan.window_start + step * STEP
        if at + STEP > end:
            break
        wanted_wh = setpoint_w * STEP_H
        total.commanded_wh += wanted_wh
        got = measured.get((site.site_id, at))
        if got is None:
            total.unmeasured += 1
            continue
        total.incomplete += not got.completeness >= _COMPLETE
        total.delivered_wh += got.energy_wh
        total.error_wh += abs(got.energy_wh - wanted_wh)
        total.asked_wh += abs(wanted_wh)
    return total
