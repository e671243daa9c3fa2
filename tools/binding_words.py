"""What kept a plan from doing all that was asked, in an operator's words. Pure."""

from collections.abc import Sequence
from datetime import datetime

from telemetry.model.series import STEP
from telemetry.model.site import FeederId
from tools.planning.solution import Binding

WORDS = {
    "floor": "backup reserve",
    "load_cap": "the sites' own load",
    "power": "battery power",
    "ramp": "ramp limit",
    "budget": "cycles left today",
    "radio_cluster": "neighbouring cells near their reserve",
    "recovery": "sites below their reserve",
    "not_eligible": "sites that may not take part",
    "start_power": "power at the start",
    "ceiling": "full batteries",
    "charge_power": "charging power",
    "rectifier": "rectifiers with one module failed",
    "connection": "grid connection",
    "charge_headroom": "feeder headroom",
    "export_limit": "export limit",
}


def binding_words(
    found: Sequence[Binding], feeder_ids: Sequence[FeederId], start: datetime, most: int = 4
) -> str:
    """Return where the plan falls short of what was asked and what held it back, the largest first; empty if nowhere."""
    worst = sorted(found, key=lambda one: -one.blocked_w)
    told = [_line(one, feeder_ids, start) for one in worst[:most]]
    more = f"; and {len(worst) - most} more" if len(worst) > most else ""
    return "; ".join(told) + more


def _line(one: Binding, feeder_ids: Sequence[FeederId], start: datetime) -> str:
    where = "all feeders" if one.feeder < 0 else str(feeder_ids[one.feeder])
    begin, end = start + one.first_step * STEP, start + (one.last_step + 1) * STEP
    return (
        f"{where} {begin:%H:%M}-{end:%H:%M} UTC short by up to {one.shortfall_w / 1e3:.1f} kW: "
        f"{WORDS.get(one.constraint, one.constraint)} ({one.sites} sites)"
    )
