"""Tool: where the mains may fail tomorrow, and how long the batteries there would carry their sites."""

from collections.abc import Mapping
from datetime import timedelta
from zoneinfo import ZoneInfo

from pydantic import Field

from telemetry.model.series import STEP
from telemetry.model.site import SiteId
from tools.alerts.outage_risk import LIKELY_FRAC
from tools.arguments import Arguments, SiteIdText
from tools.deps import Deps, Fleet
from tools.errors import ToolUnavailableError
from tools.outage_chances import HOW
from tools.outlook import floor_step
from tools.site_needs import lasting_h, store_of
from tools.site_state import find_site


class OutageArguments(Arguments):
    """One site's chance of an outage tomorrow, or the sites where it is highest."""

    site_id: SiteIdText | None = None
    limit: int = Field(default=5, ge=1, le=20)


async def outage_risk(arguments: OutageArguments, deps: Deps) -> Mapping[str, object]:
    """Show tomorrow's chance of an outage, the hours the battery would carry the site, and the hours it must."""
    fleet = await deps.fleet()
    names = list(fleet.limits.sites)
    if arguments.site_id is not None:
        find_site(fleet, arguments.site_id)
    chances = await deps.outage_chances(names, fleet.state.at)
    wanted = names if arguments.site_id is None else [SiteId(arguments.site_id)]
    known = sorted((name for name in wanted if name in chances), key=lambda name: (-chances[name], name))
    if not known:
        whose = arguments.site_id or "any site"
        raise ToolUnavailableError(f"the past of {whose} is too short to tell how likely an outage is")
    return {
        "for": "tomorrow",
        "likely_from_pct": round(100.0 * LIKELY_FRAC),
        "sites_judged": len(known),
        "sites_not_known": len(wanted) - len(known),
        "sites_likely": sum(chances[name] >= LIKELY_FRAC for name in known),
        "sites": [_site(fleet, name, chances[name]) for name in known[: arguments.limit]],
        "how": HOW,
    }


def _site(fleet: Fleet, name: SiteId, chance_frac: float) -> Mapping[str, object]:
    site = fleet.limits.sites[name]
    store, load = store_of(site, fleet.state.readings.get(name)), fleet.state.load.get(name)
    offset = 0 if load is None else int((floor_step(fleet.state.at) - load.start) / STEP)
    tomorrow = fleet.state.at.astimezone(ZoneInfo(site.time_zone)) + timedelta(days=1)
    return {
        "site_id": name,
        "day": f"{tomorrow:%Y-%m-%d}",
        "chance_pct": round(100.0 * chance_frac, 1),
        "autonomy_h": None if store is None else lasting_h(fleet, name, offset, store.backup_wh),
        "required_h": site.autonomy.autonomy_h,
    }
