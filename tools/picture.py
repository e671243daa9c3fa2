"""Tool: a chart in the chat. The result names what is drawn, with the figures to speak of; the screen fetches the points."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from telemetry.model.site import FeederId, SiteId
from tools.arguments import Arguments
from tools.deps import Deps
from tools.errors import ToolInputError
from tools.forecast import ForecastArguments, forecast
from tools.pv import PvArguments, pv
from tools.telemetry_window import Metric, WindowArguments, telemetry_window


class PictureArguments(Arguments):
    """Draw a site's `metric` of the last `hours`, or a forecast of load (site), import (feeder) or PV (site) for the next ones."""

    subject_id: str = Field(min_length=1, max_length=64, description="a site_id or a feeder_id")
    what: Literal["metric", "forecast", "pv"] = "metric"
    metric: Metric = "load_w"
    hours: float = Field(default=24.0, ge=0.25, le=96.0)


async def picture(arguments: PictureArguments, deps: Deps) -> Mapping[str, object]:
    """Draw a chart, which shows in the chat, and tell its main figures."""
    subject = arguments.subject_id
    if arguments.what == "forecast":
        found = await forecast(ForecastArguments(subject_id=subject, hours=arguments.hours), deps)
        return {"picture": "forecast", **found}
    limits = (await deps.fleet()).limits
    if FeederId(subject) in limits.feeders:
        raise ToolInputError(f"{subject} is a feeder: take what = 'forecast', or a site_id")
    if arguments.what == "pv":
        found = await pv(PvArguments(subject_id=subject, hours=arguments.hours), deps)
        if not found["sites_with_pv"]:
            raise ToolInputError(f"{subject} has no PV to draw")
        made = (await deps.fleet()).state.pv[SiteId(subject)]
        return {"picture": "pv", **found, "made_at": made.made_at.isoformat()}
    window = WindowArguments(site_id=subject, metric=arguments.metric, hours=arguments.hours)
    told = await telemetry_window(window, deps)
    return {"picture": "metric", **{key: value for key, value in told.items() if key != "points"}}
