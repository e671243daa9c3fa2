"""A fleet whose links are cut for a day: what arrives afterwards, in what order, how fast, and whether live data waits. Simulated.

Real cores, one SQLite buffer for all; the link confirms at once what reaches it. The day is stepped at ten seconds of
domain time, so that each message holds one reading; what follows the cut runs in wall time, as the sending does.
"""

import asyncio
import tempfile
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Any

from edge.gateway.config import Pacing
from ui.bench.edge_fleet import Arrival, SteppedFleet, stepped_fleet

START = datetime(2026, 3, 10, tzinfo=UTC)
_STEP_S = 10.0
_LIVE_WAITING = 20  # messages of the cut's end that still wait as live ones, and go at once
_LIVE_EVERY_S = 0.5
_GIVE_UP_S = 120.0


def run(seed: int = 0, sites: int = 20, hours: float = 24.0, rate_per_s: float = 200.0) -> dict[str, Any]:
    """Return figures of the time after the cut.

    Args:
        seed: Of plant and loads.
        sites: Cores.
        hours: Length of the cut, domain time.
        rate_per_s: What each gateway may send of its backlog, messages a second; a real one has 20.
    """
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(_run(Path(folder), seed, sites, hours, rate_per_s))
    goals = {
        "readings_missing": {"op": "==", "value": 0, "gating": True},
        "out_of_order": {"op": "==", "value": 0, "gating": True},
        "over_rate_ratio": {"op": "<=", "value": 1.0, "gating": True},
        "live_delay_max_s": {"op": "<=", "value": 1.0, "gating": False},
    }
    return {"figures": figures, "goals": goals}


async def _run(folder: Path, seed: int, sites: int, hours: float, rate_per_s: float) -> dict[str, Any]:
    pacing = Pacing(backlog_per_s=rate_per_s)
    async with stepped_fleet(folder, seed=seed, sites=sites, start=START, pacing=pacing) as fleet:
        for link in fleet.links:
            link.arrivals = []
        await fleet.step(_STEP_S, 3)
        for link in fleet.links:
            link.cut()
        await fleet.step(_STEP_S, round(hours * 3600.0 / _STEP_S))
        mended_s = monotonic()
        for link in fleet.links:
            link.mend()
        last, live_s = fleet.steps, list[float]()
        while monotonic() - mended_s < _GIVE_UP_S and (_missing(fleet, last) or len(live_s) < 4):
            live_s.append(await _live_delay_s(fleet))
        done_s = monotonic() - mended_s
        backlog = [_backlog(link.arrivals or [], mended_s, last) for link in fleet.links]
    return {
        "sites": len(fleet.links),
        "cut_h": hours,
        "backlog_messages": sum(map(len, backlog)),
        "readings_missing": _missing(fleet, fleet.steps),
        "out_of_order": sum(a.first > b.first for way in backlog for a, b in pairwise(way)),
        "over_rate_ratio": max(_rate_per_s(way) for way in backlog) / rate_per_s,
        "drained_s": done_s,
        "live_delay_max_s": max(live_s),
        "live_messages": len(live_s) * len(fleet.links),
        "data": "simulated",
    }


async def _live_delay_s(fleet: SteppedFleet) -> float:
    """Take one more step and return how long its readings were on their way from the slowest site, s."""
    made_s = monotonic()
    await fleet.step(_STEP_S)
    number = fleet.steps
    await asyncio.sleep(_LIVE_EVERY_S)
    arrived_s = [
        max((one.at_s for one in link.arrivals or () if one.last == number), default=made_s + _GIVE_UP_S)
        for link in fleet.links
    ]
    return max(0.0, max(arrived_s) - made_s)


def _missing(fleet: SteppedFleet, last: int) -> int:
    """Return how many readings of the first `last` steps have not arrived, over all sites."""
    return sum(
        last - sum(number <= last for seen in link.stored.seen.values() for number in seen)
        for link in fleet.links
    )


def _backlog(arrivals: list[Arrival], mended_s: float, last: int) -> list[Arrival]:
    """Return what came of the cut, without the few that still waited as live messages."""
    return [one for one in arrivals if one.at_s >= mended_s and one.last <= last - _LIVE_WAITING]


def _rate_per_s(way: list[Arrival]) -> float:
    """Return a site's mean rate from its first to its last message of the backlog."""
    span_s = way[-1].at_s - way[0].at_s if len(way) > 1 else 0.0
    return (len(way) - 1) / span_s if span_s > 0.0 else 0.0
