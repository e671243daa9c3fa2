"""What wakes the automated loop beside its timer: new incidents, a measured load that has left its forecast, a change of mode. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from telemetry.model.incident import Incident, Severity
from telemetry.model.series import STEP, UPPER
from telemetry.model.site import FeederId
from tools.deps import Fleet

_MAX_AGE = timedelta(minutes=5)  # of a reading that speaks of now
_ALWAYS_ABOVE = 1.02  # of the upper quantile; below that it is rounding
_LEAST_SITES = 0.5  # of a feeder's sites have to report


@dataclass(slots=True)
class Watchman:
    """Remembers what it has reported, so that each thing wakes the loop once.

    `quiet` is how long a breach of one feeder is not reported again, domain time.
    """

    quiet: timedelta = timedelta(hours=1)
    _known: set[str] | None = None
    _breached: dict[FeederId, datetime] = field(default_factory=dict)
    _mode: str | None = None

    def reasons(self, fleet: Fleet, incidents: Iterable[Incident], now: datetime) -> list[str]:
        """Return what is new, in words; at the first look everything is taken as known."""
        fresh = [one for one in incidents if one.severity is not Severity.INFO]
        first = self._known is None
        news = [] if first else [one for one in fresh if one.incident_id not in (self._known or ())]
        self._known = (self._known or set()) | {one.incident_id for one in fresh}
        out = [
            f"incident {one.incident_id} ({one.kind}, {one.severity.value}) at {one.site_id}"
            for one in news[:5]
        ]
        for feeder_id, words in breaches(fleet, now).items():
            last = self._breached.get(feeder_id)
            if last is None or now - last >= self.quiet:
                self._breached[feeder_id] = now
                out.append(words)
        mode = fleet.state.mode.value
        if self._mode is not None and mode != self._mode:
            out.append(f"the operating mode became {mode}")
        self._mode = mode
        return out


def breaches(fleet: Fleet, now: datetime) -> Mapping[FeederId, str]:
    """Return feeders whose sites together draw more than the upper forecast (0.975) of this quarter hour, in words.

    Only sites with a fresh reading and a forecast count, on both sides of the comparison; a feeder where fewer than half do
    is left out. Upper quantiles are added up, which is above the quantile of the sum: a breach is no chance event.
    """
    measured: dict[FeederId, list[tuple[float, float]]] = {}
    sites: dict[FeederId, int] = {}
    for site in fleet.limits.sites.values():
        sites[site.feeder_id] = sites.get(site.feeder_id, 0) + 1
        reading, made = fleet.state.readings.get(site.site_id), fleet.state.load.get(site.site_id)
        if reading is None or reading.load_w is None or made is None or now - reading.at > _MAX_AGE:
            continue
        step = int((now - made.start) / STEP)
        if now >= made.start and step < made.steps:
            measured.setdefault(site.feeder_id, []).append((reading.load_w, made.quantile_w(UPPER)[step]))
    out: dict[FeederId, str] = {}
    for feeder_id, pairs in measured.items():
        load_w, upper_w = sum(one[0] for one in pairs), sum(one[1] for one in pairs)
        if len(pairs) >= _LEAST_SITES * sites[feeder_id] and load_w > _ALWAYS_ABOVE * upper_w:
            out[feeder_id] = (
                f"forecast breach on {feeder_id}: {load_w / 1e3:.1f} kW measured, at most {upper_w / 1e3:.1f} kW expected"
            )
    return out
