"""Tool: how long a site would run on its battery, against what it must."""

from collections.abc import Mapping

from telemetry.model.series import STEP
from tools.deps import Deps
from tools.errors import ToolUnavailableError
from tools.outlook import floor_step
from tools.site_needs import lasting_h, needs_of, store_of
from tools.site_state import SiteArguments, find_site


async def site_autonomy(arguments: SiteArguments, deps: Deps) -> Mapping[str, object]:
    """Show backup hours at the upper forecast of load, the hours required, and the energy between the two."""
    fleet = await deps.fleet()
    now = fleet.state.at
    site = find_site(fleet, arguments.site_id)
    reading = fleet.state.readings.get(site.site_id)
    store = store_of(site, reading)
    if store is None or reading is None or reading.soc_frac is None:
        raise ToolUnavailableError(f"{site.site_id} reports no SoC, SoH or usable battery temperature")
    load = fleet.state.load.get(site.site_id)
    offset = 0 if load is None else int((floor_step(now) - load.start) / STEP)
    required_wh = needs_of(fleet, site, offset, 0, site.autonomy.autonomy_h).floor_wh[0]
    return {
        "site_id": site.site_id,
        "autonomy_h": lasting_h(fleet, site.site_id, offset, store.backup_wh),
        "required_h": site.autonomy.autonomy_h,
        "profile": site.autonomy.name,
        "backup_kwh": round(store.backup_wh / 1e3, 2),
        "required_kwh": round(required_wh / 1e3, 2),
        "spare_kwh": round((store.backup_wh - required_wh) / 1e3, 2),
        "soc_pct": round(100.0 * reading.soc_frac, 1),
        "read_at": reading.at.isoformat(),
        "load_from": "upper forecast (0.975)" if load else "the profile's highest load",
    }
