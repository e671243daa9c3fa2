"""Which sites are alike in the shape of their load: worked out once a week, kept, and lent to whoever compares sites."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from telemetry.cluster import HOURS_A_DAY, cluster, moves
from telemetry.cluster_store import Clustering
from telemetry.filled import fill_gaps
from telemetry.local_day import LocalDay, local_days
from telemetry.model.series import STEP
from telemetry.model.site import Site, SiteId

_FEWEST_PEERS = 4  # a smaller group has no common move
_MOST_FILLED_FRAC = 0.25  # of a site's hours; with more of them its shape would be made up
_WEEK_HOURS = 7 * HOURS_A_DAY
Floats = npt.NDArray[np.float64]


class Series(Protocol):
    """What is asked of `telemetry.reading_store.ReadingStore`."""

    async def grid(
        self, metrics: Sequence[str], site_ids: Sequence[SiteId], start: datetime, end: datetime
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Return quarter-hour means by metric, shape (sites, steps), NaN where nothing was measured."""
        ...


class Store(Protocol):
    """What is asked of `telemetry.cluster_store.ClusterStore`."""

    async def newest(self) -> Clustering | None: ...
    async def put(self, made: Clustering) -> None: ...


@dataclass(slots=True, kw_only=True)
class ProfileClusters:
    """The newest clustering of the fleet, made anew when it is older than `every`.

    Attributes:
        readings: Roll-ups.
        store: Where clusterings are kept.
        past: How much of the past counts.
        every: How long a clustering holds.
        seed: Of the starting points.
        most: The largest number of groups tried.
    """

    readings: Series
    store: Store
    past: timedelta = timedelta(days=28)
    every: timedelta = timedelta(days=7)
    seed: int = 7
    most: int = 8
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _tried: datetime | None = None

    async def __call__(self, now: datetime, sites: Mapping[SiteId, Site]) -> dict[SiteId, int]:
        """Return each site's group; a site without a past is in that of most sites near it, if there is one."""
        async with self._lock:
            newest = await self.store.newest()
            if (newest is None or not timedelta(0) <= now - newest.made_at < self.every) and self._may_try(
                now
            ):
                self._tried = now
                newest = await self._make(now, sites, newest) or newest
        if newest is None:
            return {}
        labels = {SiteId(name): label for name, label in newest.clusters.labels.items()}
        return {name: label for name in sites if (label := _label(sites[name], sites, labels)) is not None}

    def _may_try(self, now: datetime) -> bool:
        """Too little data today is too little data in a quarter of an hour."""
        return self._tried is None or not timedelta(0) <= now - self._tried < timedelta(hours=6)

    async def _make(
        self, now: datetime, sites: Mapping[SiteId, Site], before: Clustering | None
    ) -> Clustering | None:
        names = list(sites)
        zone = Counter(site.time_zone for site in sites.values()).most_common(1)[0][0] if names else "UTC"
        days = [day for day in local_days(now - self.past, now, zone) if day.end <= now]
        if not days:
            return None
        grid = await self.readings.grid(["load_w"], names, days[0].start, days[-1].end)
        hourly = hourly_of(grid["load_w"].astype(np.float64), days, zone)
        weekend = np.array([day.day.weekday() >= 5 for day in days])
        former = None if before is None else before.clusters
        filled = fill_gaps(hourly, week_steps=_WEEK_HOURS, short_steps=1)
        enough = filled.filled_frac <= _MOST_FILLED_FRAC
        load = np.where(enough[:, None], filled.values, np.nan)
        try:
            clusters = await asyncio.to_thread(
                cluster,
                [str(name) for name in names],
                load,
                weekend,
                seed=self.seed,
                most=self.most,
                before=former,
            )
        except ValueError:
            return None  # too few sites or days
        made = Clustering(
            made_at=now, clusters=clusters, moves=() if former is None else moves(former, clusters)
        )
        await self.store.put(made)
        return made


def hourly_of(quarters: Floats, days: Sequence[LocalDay], zone: str) -> Floats:
    """Return means by hour of the local clock, 24 a day: an hour that the clock repeats is averaged, one it skips is NaN.

    Args:
        quarters: Shape (sites, steps) from the first day's begin to the last one's end.
        days: Whole days in a row.
        zone: Whose clock it is.
    """
    steps = quarters.shape[1]
    local = [(days[0].start + k * STEP).astimezone(ZoneInfo(zone)) for k in range(steps)]
    place = np.array([(at.date() - days[0].day).days * HOURS_A_DAY + at.hour for at in local], dtype=np.intp)
    total = np.zeros((len(quarters), len(days) * HOURS_A_DAY))
    count = np.zeros_like(total)
    known = ~np.isnan(quarters)
    np.add.at(total.T, place, np.where(known, quarters, 0.0).T)
    np.add.at(count.T, place, known.T.astype(np.float64))
    return np.where(count > 0, total / np.maximum(count, 1.0), np.nan)


def _label(site: Site, sites: Mapping[SiteId, Site], labels: Mapping[SiteId, int]) -> int | None:
    """Return a site's group, or that of most sites of its radio cluster, else of its feeder."""
    if (own := labels.get(site.site_id)) is not None:
        return own
    for kind in ("radio_cluster", "feeder_id"):
        place = getattr(site, kind)
        votes = Counter(
            labels[name] for name, one in sites.items() if name in labels and getattr(one, kind) == place
        )
        if votes:
            return min(votes, key=lambda label: (-votes[label], label))
    return None


def peer_groups(sites: Sequence[Site], labels: Mapping[SiteId, int]) -> npt.NDArray[np.int64]:
    """Return a group per site for comparing it with its peers: same chemistry and, where there are enough, same shape.

    Args:
        sites: In the order wanted.
        labels: Profile cluster by site; may be empty.
    """
    wide = [(site.battery.chemistry.value, -1) for site in sites]
    narrow = [(site.battery.chemistry.value, labels.get(site.site_id, -1)) for site in sites]
    counts = Counter(narrow)
    chosen = [one if counts[one] >= _FEWEST_PEERS else other for one, other in zip(narrow, wide, strict=True)]
    order = {group: number for number, group in enumerate(sorted(set(chosen)))}
    return np.array([order[group] for group in chosen], dtype=np.int64)
