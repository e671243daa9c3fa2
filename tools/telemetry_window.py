"""Tool: one metric of one site over a stretch of time."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal

from pydantic import AwareDatetime, Field

from tools.arguments import Arguments, SiteIdText
from tools.deps import Deps
from tools.errors import ToolInputError, ToolUnavailableError
from tools.site_state import find_site

POINTS = 24  # as many as a model or a sentence can use; a chart asks the API

Metric = Literal[
    "load_w", "grid_w", "pv_w", "rectifier_w", "battery_w", "meter_battery_w", "soc_frac", "bus_v", "battery_c"
]  # fmt: skip


class WindowArguments(Arguments):
    """One metric of one site from `start` to `end`, or for the last `hours`."""

    site_id: SiteIdText
    metric: Metric
    start: AwareDatetime | None = None
    end: AwareDatetime | None = None
    hours: float = Field(default=6.0, gt=0.0, le=24.0 * 31)


async def telemetry_window(arguments: WindowArguments, deps: Deps) -> Mapping[str, object]:
    """Show a metric's course, its mean and its extremes."""
    fleet = await deps.fleet()
    site = find_site(fleet, arguments.site_id)
    end = arguments.end or deps.now()
    start = arguments.start or end - timedelta(hours=arguments.hours)
    if not timedelta(0) < end - start <= timedelta(days=31):
        raise ToolInputError("start must be before end and at most 31 days apart")
    points = await deps.readings.window(arguments.metric, site.site_id, start, end, POINTS)
    if not points:
        raise ToolUnavailableError(f"{site.site_id} reported no {arguments.metric} from {start} to {end}")
    means = [point.mean for point in points]
    return {
        "site_id": site.site_id,
        "metric": arguments.metric,
        "start": start.isoformat(),
        "end": end.isoformat(),
        "mean": round(sum(means) / len(means), 3),
        "lowest": round(min(point.low for point in points), 3),
        "highest": round(max(point.high for point in points), 3),
        "points": [[point.at.isoformat(timespec="minutes"), round(point.mean, 3)] for point in points],
    }
