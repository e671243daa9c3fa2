"""Readings that are missing for good while later ones are there: told once, whichever worker took what (pure).

With one worker a gap is seen at once, in the reading after it (`telemetry.order`). Several workers each see a part of a
site's messages, and a number that one lacks another may have: what counts then is what the marks say after a while. So
does a gap that a gateway is still filling from its buffer.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

LASTING_S = 900.0  # wall time; a gateway sends again after one minute, then two, four and eight


class Gap(NamedTuple):
    """Numbers of one boot that are not there while later ones are."""

    site_id: str
    boot_id: str
    first: int
    last: int


@dataclass(slots=True)
class GapWatch:
    """Remembers since when each gap has been open, and which were told."""

    lasting_s: float = LASTING_S
    _since_s: dict[tuple[str, str, int], float] = field(default_factory=dict)
    _told: set[tuple[str, str, int]] = field(default_factory=set)

    def lasting(self, gaps: Iterable[Gap], now_s: float) -> list[Gap]:
        """Return the gaps that have been open for long and were not returned before.

        Args:
            gaps: All that are open now. One that is filled from its beginning stays the same gap.
            now_s: Monotonic.
        """
        open_now = {(gap.site_id, gap.boot_id, gap.last): gap for gap in gaps}
        self._since_s = {key: self._since_s.get(key, now_s) for key in open_now}
        self._told &= open_now.keys()
        lasting = [
            key
            for key, since_s in self._since_s.items()
            if key not in self._told and now_s - since_s >= self.lasting_s
        ]
        self._told.update(lasting)
        return [open_now[key] for key in lasting]
