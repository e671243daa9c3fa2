"""What each feeder is expected to import, and by how much that exceeds its limit. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from telemetry.model.series import MEDIAN, STEP, UPPER, Forecast
from telemetry.model.site import Feeder, FeederId, Site
from tools.deps import Fleet


@dataclass(frozen=True, slots=True, kw_only=True)
class FeederOutlook:
    """A feeder's import without any plan over [start, start + n x STEP), W, import positive.

    `upper_w` adds up upper quantiles (0.975) of background and sites, which is what limits are held against; it is
    above the same quantile of the sum. `missing` names what had no forecast; then the rows are empty.
    """

    feeder_id: FeederId
    limit_w: float
    start: datetime
    median_w: tuple[float, ...]
    upper_w: tuple[float, ...]
    missing: tuple[str, ...]

    @property
    def excess_w(self) -> tuple[float, ...]:
        """How far above the limit, W by step, zero or more."""
        return tuple(max(value - self.limit_w, 0.0) for value in self.upper_w)

    @property
    def peak_w(self) -> float | None:
        """Highest upper-quantile import, W."""
        return max(self.upper_w, default=None)

    @property
    def peak_at(self) -> datetime | None:
        """Start of the step with the highest import."""
        if not self.upper_w:
            return None
        return self.start + self.upper_w.index(max(self.upper_w)) * STEP

    def worst_run(self) -> tuple[datetime, datetime] | None:
        """Return start and end of the stretch above the limit that holds the greatest excess, None without one."""
        excess = self.excess_w
        if not any(excess):
            return None
        worst = excess.index(max(excess))
        first = last = worst
        while first > 0 and excess[first - 1] > 0.0:
            first -= 1
        while last + 1 < len(excess) and excess[last + 1] > 0.0:
            last += 1
        return self.start + first * STEP, self.start + (last + 1) * STEP


def floor_step(at: datetime) -> datetime:
    """Return the last quarter hour at or before an instant, UTC."""
    at = at.astimezone(UTC)
    return at.replace(minute=at.minute // 15 * 15, second=0, microsecond=0)


def ceil_step(at: datetime) -> datetime:
    """Return the first quarter hour at or after an instant, UTC."""
    low = floor_step(at)
    return low if low == at else low + STEP


def row_over(
    forecast: Forecast | None, level: float, start: datetime, steps: int
) -> tuple[float, ...] | None:
    """Return one quantile over `steps` steps from `start`, W; None where the forecast does not cover them all."""
    if forecast is None:
        return None
    offset, rest = divmod(start - forecast.start, STEP)
    if rest or offset < 0 or offset + steps > forecast.steps:
        return None
    return forecast.quantile_w(level)[offset : offset + steps]


def import_over(
    fleet: Fleet, site: Site, level: float, start: datetime, steps: int
) -> tuple[float, ...] | None:
    """Return a site's AC import at a load quantile, W: load over rectifier efficiency plus auxiliaries, no PV counted on."""
    load = row_over(fleet.state.load.get(site.site_id), level, start, steps)
    reading = fleet.state.readings.get(site.site_id)
    aux_w = 0.0 if reading is None or reading.aux_ac_w is None else reading.aux_ac_w
    return None if load is None else tuple(max(w, 0.0) / site.rectifiers.efficiency + aux_w for w in load)


def look_ahead(fleet: Fleet, feeder: Feeder, start: datetime, steps: int) -> FeederOutlook:
    """Return a feeder's outlook; any missing forecast empties it, because absence means no."""
    sites = [site for site in fleet.limits.sites.values() if site.feeder_id == feeder.feeder_id]
    background = fleet.state.background.get(feeder.feeder_id)
    rows: dict[float, tuple[float, ...]] = {}
    missing: list[str] = []
    for level in (MEDIAN, UPPER):
        parts: list[Sequence[float]] = []
        for name, row in [
            (f"background of {feeder.feeder_id}", row_over(background, level, start, steps)),
            *((f"load of {site.site_id}", import_over(fleet, site, level, start, steps)) for site in sites),
        ]:
            if row is None:
                missing.append(name)
            else:
                parts.append(row)
        rows[level] = tuple(sum(values) for values in zip(*parts, strict=True)) if parts else ()
    broken = tuple(dict.fromkeys(missing))
    return FeederOutlook(
        feeder_id=feeder.feeder_id,
        limit_w=feeder.import_limit_w,
        start=start,
        median_w=() if broken else rows[MEDIAN],
        upper_w=() if broken else rows[UPPER],
        missing=broken,
    )


def steps_between(start: datetime, end: datetime) -> int:
    """Return the whole steps between two instants."""
    return max(int((end - start) / STEP), 0)


def reach(fleet: Fleet, feeder: Feeder, start: datetime, horizon: timedelta) -> int:
    """Return for how many steps from `start` there is a background forecast, at most the horizon."""
    forecast = fleet.state.background.get(feeder.feeder_id)
    if forecast is None:
        return steps_between(start, start + horizon)
    end = forecast.start + forecast.steps * STEP
    return max(min(steps_between(start, end), steps_between(start, start + horizon)), 0)
