"""Tool: the health of one site's battery, with what it rests on."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from telemetry.model.site import SiteId
from tools.deps import Batteries
from tools.errors import ToolInputError
from tools.health.estimate import SohEstimate
from tools.health.remaining import RemainingLife
from tools.health.resistance import Resistance
from tools.site_state import SiteArguments


class HealthDeps(Protocol):
    """What the health tools are given."""

    @property
    def now(self) -> Callable[[], datetime]:
        """The domain instant, aware UTC."""
        ...

    @property
    def health(self) -> Batteries:
        """What looks at batteries."""
        ...


async def health_battery(arguments: SiteArguments, deps: HealthDeps) -> Mapping[str, object]:
    """Show state of health with its interval, resistance, wear, remaining life, and the observations behind them."""
    now, site_id = deps.now(), SiteId(arguments.site_id)
    found = (await deps.health(now, [site_id])).get(site_id)
    if found is None:
        raise ToolInputError(f"unknown site_id {site_id!r}; take one from fleet_state")
    resistance = await deps.health.resistance(site_id, now)
    return {
        "site_id": site_id,
        **_soh(found.soh),
        **_life(found.remaining),
        "end_of_life_pct": round(100.0 * found.replace_at_frac, 1),
        "wear_pct_of_life_per_year": round(100.0 * found.wear_frac_per_year, 1),
        "full_cycles_in_28_days": round(found.cycles, 2),
        "mean_battery_c": None if found.mean_c is None else round(found.mean_c, 1),
        "resistance_mohm": round(1e3 * resistance.ohm, 2)
        if isinstance(resistance, Resistance)
        else f"not known: {resistance.reason}",
        "observations": [
            f"{o.at:%Y-%m-%d} {o.method} {o.soh_frac:.1%}: {o.evidence}" for o in found.observations[-5:]
        ],
        "not_counted": list(found.refused[-3:]),
        "note": found.note,
    }


def _soh(soh: object) -> Mapping[str, object]:
    if not isinstance(soh, SohEstimate):
        return {"soh_pct": None, "soh_why": getattr(soh, "reason", "not known")}
    return {
        "soh_pct": round(100.0 * soh.soh_frac, 1),
        "soh_from_pct": round(100.0 * soh.low_frac, 1),
        "soh_to_pct": round(100.0 * soh.high_frac, 1),
        "soh_why": soh.evidence,
    }


def _life(life: object) -> Mapping[str, object]:
    if not isinstance(life, RemainingLife):
        return {"end_of_life_month": None, "end_of_life_why": getattr(life, "reason", "not known")}
    return {
        "end_of_life_month": f"{life.middle:%Y-%m}",
        "end_of_life_from": f"{life.early:%Y-%m}",
        "end_of_life_to": f"{life.late:%Y-%m}",
        "end_of_life_why": f"losing {life.loss_frac_per_year:.1%} a year over {life.observations} observations",
    }
