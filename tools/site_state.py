"""Tool: one site, as last reported."""

from collections.abc import Mapping

from telemetry.model.site import Site, SiteId
from tools.arguments import Arguments, SiteIdText
from tools.deps import Deps, Fleet
from tools.eligible import ineligible
from tools.errors import ToolInputError


class SiteArguments(Arguments):
    """One site."""

    site_id: SiteIdText


def find_site(fleet: Fleet, site_id: str) -> Site:
    """Return the site.

    Raises:
        ToolInputError: There is none of that id.
    """
    site = fleet.limits.sites.get(SiteId(site_id))
    if site is None:
        raise ToolInputError(
            f"there is no site {site_id!r}; take one of {', '.join(list(fleet.limits.sites)[:8])}"
        )
    return site


async def site_state(arguments: SiteArguments, deps: Deps) -> Mapping[str, object]:
    """Show a site's last reading, its own word about itself, and whether it may be dispatched."""
    fleet = await deps.fleet()
    now = fleet.state.at
    site = find_site(fleet, arguments.site_id)
    reading = fleet.state.readings.get(site.site_id)
    status = fleet.state.statuses.get(site.site_id)
    out: dict[str, object] = {
        "site_id": site.site_id,
        "name": site.name,
        "feeder_id": site.feeder_id,
        "mode": site.mode.value,
        "simulated": site.simulated,
        "online": status.online if status else False,
        "state": status.state.value if status else "unknown",
        "local_lock": status.local_lock if status else None,
        "not_dispatchable_because": list(ineligible(fleet, site.site_id, now)),
    }
    if reading is None:
        return out | {"reading": None}
    return out | {
        "read_at": reading.at.isoformat(),
        "age_s": round((now - reading.at).total_seconds(), 1),
        "soc_pct": _rounded(reading.soc_frac, 100.0),
        "soh_pct": _rounded(reading.soh_frac, 100.0),
        "load_w": _rounded(reading.load_w),
        "battery_w": _rounded(reading.battery_w),
        "grid_w": _rounded(reading.grid_w),
        "pv_w": _rounded(reading.pv_w),
        "bus_v": _rounded(reading.bus_v, digits=2),
        "battery_c": _rounded(reading.battery_c),
        "mains_ok": reading.mains_ok,
        "alarms": list(reading.alarms[:10]),
    }


def _rounded(value: float | None, factor: float = 1.0, digits: int = 1) -> float | None:
    return None if value is None else round(value * factor, digits)
