"""Tool: what a site's load or a feeder's import is expected to be, and which model says so."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from pydantic import Field

from telemetry.model.series import LOWER, MEDIAN, STEP, UPPER, Forecast
from telemetry.model.site import FeederId, SiteId
from tools.arguments import Arguments
from tools.deps import Deps, Fleet
from tools.errors import ToolInputError, ToolUnavailableError
from tools.outlook import ceil_step, look_ahead, reach, row_over

_HOUR = timedelta(hours=1)


class ForecastArguments(Arguments):
    """A site's load, or a feeder's import with all its sites, over the next `hours`."""

    subject_id: str = Field(min_length=1, max_length=64, description="a site_id or a feeder_id")
    hours: float = Field(default=24.0, ge=0.25, le=96.0)


async def forecast(arguments: ForecastArguments, deps: Deps) -> Mapping[str, object]:
    """Show the expected course with its spread, its peak, and why this model serves."""
    fleet = await deps.fleet()
    now = fleet.state.at
    start, hours = ceil_step(now), timedelta(hours=arguments.hours)
    if FeederId(arguments.subject_id) in fleet.limits.feeders:
        return _feeder(fleet, FeederId(arguments.subject_id), hours)
    if SiteId(arguments.subject_id) not in fleet.limits.sites:
        raise ToolInputError(
            f"{arguments.subject_id!r} is neither a site nor a feeder; feeders: {', '.join(fleet.limits.feeders)}"
        )
    made = fleet.state.load.get(SiteId(arguments.subject_id))
    if made is None:
        raise ToolUnavailableError(f"there is no load forecast of {arguments.subject_id}")
    steps = min(int(hours / STEP), made.steps - int((start - made.start) / STEP))
    rows = [row_over(made, level, start, steps) for level in (LOWER, MEDIAN, UPPER)] if steps > 0 else [None]
    if None in rows:
        raise ToolUnavailableError(f"the load forecast of {arguments.subject_id} does not reach from {start}")
    lower, median, upper = [row for row in rows if row is not None]
    peak = median.index(max(median))
    return {
        "subject_id": arguments.subject_id,
        "quantity": "load_w",
        "peak_kw": round(median[peak] / 1e3, 3),
        "peak_at": (start + peak * STEP).isoformat(),
        "peak_upper_kw": round(max(upper) / 1e3, 3),
        "lowest_lower_kw": round(min(lower) / 1e3, 3),
        **_sun(fleet, SiteId(arguments.subject_id), start, steps),
        **_why(made),
    }


def _sun(fleet: Fleet, site_id: SiteId, start: datetime, steps: int) -> Mapping[str, object]:
    """Return what the site's panels are expected to give over the same steps; nothing for a site without panels."""
    if fleet.limits.sites[site_id].pv_rated_w <= 0.0:
        return {}
    made = fleet.state.pv.get(site_id)
    rows = [row_over(made, level, start, steps) for level in (LOWER, MEDIAN, UPPER)]
    if made is None or None in rows:
        return {"pv": "no forecast of the panels reaches this far"}
    lower, median, upper = [row for row in rows if row is not None]
    return {
        "pv_peak_kw": round(max(median) / 1e3, 3),
        "pv_peak_upper_kw": round(max(upper) / 1e3, 3),
        "pv_kwh": round(sum(median) * (STEP / _HOUR) / 1e3, 2),
        "pv_sum_of_lower_kwh": round(sum(lower) * (STEP / _HOUR) / 1e3, 2),
        "pv_model": made.model,
    }


def _feeder(fleet: Fleet, feeder_id: FeederId, hours: timedelta) -> Mapping[str, object]:
    begin = ceil_step(fleet.state.at)
    feeder = fleet.limits.feeders[feeder_id]
    ahead = look_ahead(fleet, feeder, begin, reach(fleet, feeder, begin, hours))
    if ahead.peak_w is None or ahead.peak_at is None:
        raise ToolUnavailableError(
            f"no outlook for {feeder_id}: no forecast for {', '.join(ahead.missing[:5])}"
        )
    run = ahead.worst_run()
    return {
        "subject_id": feeder_id,
        "quantity": "feeder import, sites included",
        "import_limit_kw": round(ahead.limit_w / 1e3, 3),
        "peak_kw": round(max(ahead.median_w) / 1e3, 3),
        "peak_upper_kw": round(ahead.peak_w / 1e3, 3),
        "peak_at": ahead.peak_at.isoformat(),
        "over_limit_kw": round(max(ahead.excess_w) / 1e3, 3),
        "over_limit_from": None if run is None else run[0].isoformat(),
        "over_limit_until": None if run is None else run[1].isoformat(),
        **_why(fleet.state.background[feeder_id]),
    }


def _why(made: Forecast) -> Mapping[str, object]:
    return {
        "model": made.model,
        "model_version": made.version,
        "made_at": made.made_at.isoformat(),
        "why_this_model": made.reason or "it did best in backtests on this subject's own past",
    }
