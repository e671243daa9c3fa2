"""`stored` messages to sites: at once after a quiet time, then no more often than a site needs them."""

from dataclasses import dataclass, field
from typing import Protocol

from telemetry.mqtt_settings import BacklogFullError
from telemetry.wire import VERSION, StoredMessage, encode

_LOOK_EVERY_S = 1.0
Marks = dict[str, dict[str, int]]


class _Downlink(Protocol):
    def __call__(self, topic: str, payload: bytes, *, retain: bool) -> None: ...


@dataclass(slots=True)
class Answers:
    """Marks that sites have not been told yet.

    Args:
        every_s: Shortest time between two answers to one site: publishing costs as much as receiving.
    """

    every_s: float
    _due: Marks = field(default_factory=dict)  # for a site that was silent long enough
    _later: Marks = field(default_factory=dict)
    _told_s: dict[str, float] = field(default_factory=dict)
    _looked_s: float = float("-inf")

    def add(self, marks: Marks) -> None:
        """Keep marks to tell."""
        for site_id, boots in marks.items():
            waiting = self._due if site_id not in self._told_s or site_id in self._due else self._later
            mine = waiting.setdefault(site_id, {})
            for boot_id, upto in boots.items():
                mine[boot_id] = max(upto, mine.get(boot_id, 0))

    def send(self, downlink: _Downlink, now_s: float) -> None:
        """Tell those whose time has come; what the broker has no room for is told later."""
        if now_s - self._looked_s >= _LOOK_EVERY_S:
            self._looked_s = now_s
            ripe = [site_id for site_id in self._later if now_s - self._told_s[site_id] >= self.every_s]
            for site_id in ripe:
                self._due[site_id] = self._later.pop(site_id)
        while self._due:
            site_id = next(iter(self._due))
            stored = StoredMessage(v=VERSION, site_id=site_id, marks=self._due[site_id])
            try:
                downlink(f"cbs/v1/{site_id}/stored", encode(stored), retain=True)
            except BacklogFullError:
                return
            del self._due[site_id]
            self._told_s[site_id] = now_s


def merge_marks(one: Marks, other: Marks) -> Marks:
    """Return both sets of marks; marks only grow, so the higher of two holds."""
    merged = {site_id: dict(boots) for site_id, boots in one.items()}
    for site_id, boots in other.items():
        mine = merged.setdefault(site_id, {})
        for boot_id, upto in boots.items():
            mine[boot_id] = max(upto, mine.get(boot_id, 0))
    return merged
