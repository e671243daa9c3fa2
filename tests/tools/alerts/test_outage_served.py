"""Which chance of an outage is served, and that the days behind it are read once."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pytest

from telemetry.model.series import STEP
from telemetry.model.site import SiteId
from tools.alerts.outage_history import DailyHistory, chance_by_rate
from tools.alerts.outage_served import RATE, TREES, served_chance
from tools.outage_chances import OutageChances

FIRST_DAY = date(2026, 1, 5)  # a Monday


def history_of(failed: npt.NDArray[np.bool_]) -> DailyHistory:
    return DailyHistory(
        first_day=FIRST_DAY, seen=np.ones_like(failed), failed=failed, deficit=failed.astype(np.float64)
    )


def weekly(days: int, sites: int = 60) -> npt.NDArray[np.bool_]:
    """Return outages of one weekday in nine cases of ten, a weekday for each site: no rate can tell the day."""
    rng = np.random.default_rng(8)
    theirs = (np.arange(days)[None] % 7) == (np.arange(sites)[:, None] % 7)
    return np.asarray(theirs & (rng.uniform(size=(sites, days)) < 0.9))


def test_trees_are_served_where_they_tell_the_last_weeks_better() -> None:
    failed = weekly(148)
    served = served_chance(history_of(failed[:, :147]))
    assert served.how == TREES
    assert served.trial is not None
    trees, rate = served.trial
    assert trees < 0.8 * rate
    # Day 147 is a Monday, that of the sites 0, 7, 14, ...
    theirs = np.arange(60) % 7 == 0
    assert served.chance[theirs].min() > 2.0 * served.chance[~theirs].max()


def test_the_rate_is_served_where_what_the_trees_learnt_no_longer_holds() -> None:
    failed = weekly(140)
    failed[:, 119:] = np.roll(failed, 3, axis=1)[
        :, 119:
    ]  # in the last three weeks each site fails three days later
    history = history_of(failed)
    served = served_chance(history)
    assert served.trial is not None
    assert served.trial[0] > served.trial[1]
    assert served.how == RATE
    assert np.array_equal(served.chance, chance_by_rate(history))


@pytest.mark.parametrize(
    ("failed", "why"),
    [
        (weekly(119), "a day fewer than needed"),
        (weekly(140, sites=9), "9 x 17 x 0.9 outages are fewer than 200"),
        (np.concatenate([weekly(119), np.zeros((60, 21), dtype=bool)], axis=1), "no outage to be tried on"),
    ],
)
def test_with_too_little_to_learn_from_no_trial_is_made(failed: npt.NDArray[np.bool_], why: str) -> None:
    history = history_of(failed)
    served = served_chance(history)
    assert served.trial is None, why
    assert np.array_equal(served.chance, chance_by_rate(history))


class Rollups:
    """Two sites; the first one's mains fail for an hour at noon of every third day since 1 January."""

    def __init__(self) -> None:
        self.asked: list[tuple[datetime, datetime]] = []

    async def grid(
        self, metrics: Sequence[str], site_ids: Sequence[SiteId], start: datetime, end: datetime
    ) -> dict[str, npt.NDArray[np.float32]]:
        self.asked.append((start, end))
        at = [start + k * STEP for k in range((end - start) // STEP)]
        out = np.array(
            [one.hour == 12 and (one - datetime(2026, 1, 1, tzinfo=UTC)).days % 3 == 0 for one in at]
        )
        load = np.full((2, len(at)), 1000.0, dtype=np.float32)
        grid = load * np.stack([np.where(out, 0.0, 1.1), np.full(len(at), 1.1)])
        return {"load_w": load, "grid_w": grid.astype(np.float32)}


async def test_days_that_have_passed_are_read_once() -> None:
    names = (SiteId("a"), SiteId("b"))
    rollups = Rollups()
    chances = OutageChances(readings=rollups, past=timedelta(days=40))
    noon = datetime(2026, 6, 1, 12, tzinfo=UTC)
    midnight = noon - timedelta(hours=12)
    await chances(names, noon)
    starts = [midnight - timedelta(days=d) for d in (40, 25, 10)]
    assert rollups.asked == [(one, min(one + timedelta(days=15), midnight)) for one in starts]
    rollups.asked.clear()
    later = await chances(names, noon + timedelta(days=2))
    # The newest day kept is read again, for readings that came late, and the two days since.
    assert rollups.asked == [(midnight - timedelta(days=1), midnight + timedelta(days=2))]
    anew = await OutageChances(readings=Rollups(), past=timedelta(days=40))(names, noon + timedelta(days=2))
    assert later == anew
    assert later["a"] > 0.2 > later["b"]


async def test_a_clock_set_back_and_other_sites_start_anew() -> None:
    rollups = Rollups()
    chances = OutageChances(readings=rollups, past=timedelta(days=15))
    noon = datetime(2026, 6, 1, 12, tzinfo=UTC)
    await chances((SiteId("a"), SiteId("b")), noon)
    await chances((SiteId("a"), SiteId("b")), noon - timedelta(days=5))
    await chances((SiteId("a"), SiteId("c")), noon - timedelta(days=5))
    assert [(end - start).days for start, end in rollups.asked] == [15, 15, 15]
