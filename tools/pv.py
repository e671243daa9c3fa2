"""Tool: what panels give now and are expected to give, at a site, on a feeder, or in the whole fleet."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from pydantic import Field

from telemetry.model.series import LOWER, MEDIAN, STEP, UPPER
from telemetry.model.site import FeederId, Site, SiteId
from tools.arguments import Arguments
from tools.deps import Deps, Fleet
from tools.errors import ToolInputError, ToolUnavailableError
from tools.outlook import ceil_step, row_over

_HOUR = timedelta(hours=1)


class PvArguments(Arguments):
    """PV of a site or a feeder, or of the whole fleet without `subject_id`, over the next `hours`."""

    subject_id: str | None = Field(
        default=None,
        min_length=1,
        max_length=64,
        description="a site_id or a feeder_id; none: the whole fleet",
    )
    hours: float = Field(default=24.0, ge=0.25, le=96.0)


async def pv(arguments: PvArguments, deps: Deps) -> Mapping[str, object]:
    """Show rated and present PV power, and the expected energy with its cautious and hopeful ends."""
    fleet = await deps.fleet()
    subject = arguments.subject_id or "fleet"
    sites = [site for site in _sites(fleet, arguments.subject_id) if site.pv_rated_w > 0.0]
    if not sites:
        return {"subject_id": subject, "sites_with_pv": 0, "rated_kw": 0.0}
    start, steps = ceil_step(fleet.state.at), int(timedelta(hours=arguments.hours) / STEP)
    seen = [fleet.state.readings.get(site.site_id) for site in sites]
    measured = [reading.pv_w for reading in seen if reading is not None and reading.pv_w is not None]
    found: dict[str, object] = {
        "subject_id": subject,
        "sites_with_pv": len(sites),
        "rated_kw": round(sum(site.pv_rated_w for site in sites) / 1e3, 2),
        "now_kw": round(sum(measured) / 1e3, 2) if measured else None,
        "now_measured_at_sites": len(measured),
    }
    return {**found, **_expected(fleet, sites, start, steps)}


def _sites(fleet: Fleet, subject_id: str | None) -> list[Site]:
    if subject_id is None:
        return list(fleet.limits.sites.values())
    if FeederId(subject_id) in fleet.limits.feeders:
        return [site for site in fleet.limits.sites.values() if site.feeder_id == subject_id]
    site = fleet.limits.sites.get(SiteId(subject_id))
    if site is None:
        known = ", ".join([*fleet.limits.feeders, *list(fleet.limits.sites)[:6]])
        raise ToolInputError(f"{subject_id!r} is neither a site nor a feeder; take one of {known}")
    return [site]


def _expected(fleet: Fleet, sites: Sequence[Site], start: datetime, steps: int) -> Mapping[str, object]:
    """Return sums over the sites that have a forecast; the others are named."""
    made = {site.site_id: fleet.state.pv.get(site.site_id) for site in sites}
    rows = {
        name: [row_over(one, level, start, steps) for level in (LOWER, MEDIAN, UPPER)]
        for name, one in made.items()
    }
    missing = [name for name, found in rows.items() if None in found]
    whole = [[row for row in found if row is not None] for name, found in rows.items() if name not in missing]
    if not whole:
        raise ToolUnavailableError(
            f"no PV forecast reaches {steps * STEP / _HOUR:g} h ahead; ask for fewer hours"
        )
    lower, median, upper = (
        [sum(values) for values in zip(*level, strict=True)] for level in zip(*whole, strict=True)
    )
    peak = median.index(max(median))
    kwh = STEP / _HOUR / 1e3
    models = {one.model for name, one in made.items() if one is not None and name not in missing}
    return {
        "start": start.isoformat(),
        "hours": steps * STEP / _HOUR,
        "kwh": round(sum(median) * kwh, 2),
        # Lower and upper ends of the steps added up: wider than the same quantiles of the sum.
        "sum_of_lower_kwh": round(sum(lower) * kwh, 2),
        "sum_of_upper_kwh": round(sum(upper) * kwh, 2),
        "peak_kw": round(median[peak] / 1e3, 2),
        "peak_at": (start + peak * STEP).isoformat(),
        "model": ", ".join(sorted(models)),
        "no_forecast_for": missing[:5],
    }
