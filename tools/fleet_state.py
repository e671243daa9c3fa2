"""Tool: the fleet at a glance."""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta

from tools.arguments import NoArguments
from tools.deps import Deps
from tools.eligible import ineligible
from tools.outlook import ceil_step, look_ahead, reach


async def fleet_state(_: NoArguments, deps: Deps) -> Mapping[str, object]:
    """Count sites by state, say which cannot be dispatched and why, and show every feeder's outlook for 24 h."""
    fleet = await deps.fleet()
    now = fleet.state.at
    state, limits = fleet.state, fleet.limits
    barred = {site_id: reasons for site_id in limits.sites if (reasons := ineligible(fleet, site_id, now))}
    start = ceil_step(now)
    outlooks = [
        look_ahead(fleet, feeder, start, reach(fleet, feeder, start, timedelta(hours=24)))
        for feeder in limits.feeders.values()
    ]
    socs = [r.soc_frac for r in state.readings.values() if r.soc_frac is not None]
    return {
        "at": now.isoformat(),
        "operating_mode": state.mode.value,
        "sites": len(limits.sites),
        "online": sum(status.online for status in state.statuses.values()),
        "by_state": dict(Counter(status.state.value for status in state.statuses.values())),
        "dispatchable": len(limits.sites) - len(barred),
        "not_dispatchable": {site_id: list(reasons)[:3] for site_id, reasons in list(barred.items())[:20]},
        "soc_min_pct": round(100.0 * min(socs), 1) if socs else None,
        "soc_mean_pct": round(100.0 * sum(socs) / len(socs), 1) if socs else None,
        "live_plans": [plan.plan_id for plan in state.live_plans],
        "feeders": [
            {
                "feeder_id": outlook.feeder_id,
                "import_limit_kw": round(outlook.limit_w / 1e3, 1),
                "peak_kw": None if outlook.peak_w is None else round(outlook.peak_w / 1e3, 1),
                "peak_at": None if outlook.peak_at is None else outlook.peak_at.isoformat(),
                "over_limit_kw": round(max(outlook.excess_w, default=0.0) / 1e3, 1),
                "no_forecast_for": list(outlook.missing[:5]),
            }
            for outlook in outlooks
        ],
    }
