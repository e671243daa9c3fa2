"""PV on the forecasters' protocol: clear sky, the usual share of it, the learned correction, intervals by day."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from telemetry.model.series import LOWER, UPPER, Quantity
from tests.tools.forecasting.fleets import DAY
from tools.forecasting.clear_sky import Place, clear_sky_of, clear_sky_w_m2
from tools.forecasting.history import STEP, LoadHistory
from tools.forecasting.pv import ClearSkyShare
from tools.forecasting.pv_boosted import LearnedPv
from tools.forecasting.selector import Selector

START = datetime(2026, 5, 1, tzinfo=UTC)
TURIN = Place(latitude=45.07, longitude=7.69)
DAYS, AHEAD = 28, 96


def panels(sites: int, seed: int = 0, *, clouds: bool = True) -> LoadHistory:
    """Return simulated panels of 1 to 3 kW: a share of the clear sky that differs by day and by quarter hour."""
    rng = np.random.default_rng(seed)
    sky = clear_sky_of([TURIN] * sites, START, DAYS * DAY + AHEAD, STEP)
    share = rng.uniform(1.0, 3.0, (sites, 1)) * 0.85
    by_day = np.repeat(rng.uniform(0.4, 1.0, (sites, DAYS)), DAY, axis=1) if clouds else 1.0
    quick = rng.uniform(0.9, 1.0, (sites, DAYS * DAY)) if clouds else 1.0
    return LoadHistory(
        site_ids=tuple(f"pv-{k}" for k in range(sites)),
        values=sky.values[:, : DAYS * DAY] * share * by_day * quick,
        start=START,
        zone="Europe/Rome",
        regressors=(sky,),
    )


def test_the_clear_sky_stands_highest_at_solar_noon_and_is_dark_at_night() -> None:
    solstice = datetime(2026, 6, 21, tzinfo=UTC)
    (sky,) = clear_sky_w_m2([TURIN], solstice, DAY, STEP)
    # 7.69 degrees east and two minutes of the equation of time: solar noon at 11:31 UTC, in step 46.
    assert abs(int(sky.argmax()) - 46) <= 1
    assert 850.0 < sky.max() < 1000.0
    assert (sky[:12] == 0.0).all()  # before 3:00 UTC


def test_without_clouds_tomorrow_is_the_sky_times_the_panels() -> None:
    history = panels(3, clouds=False)
    path = ClearSkyShare().paths(history, [DAYS * DAY - DAY], DAY)[0]
    actual = history.values[:, -DAY:]
    assert np.abs(path - actual).sum() / actual.sum() < 0.01
    assert (path[:, :12] == 0.0).all()


def test_a_cloud_over_the_last_hour_fades() -> None:
    history = panels(1, clouds=False)
    origin = DAYS * DAY - DAY + 44  # 11:00 UTC
    dimmed = history.values.copy()
    dimmed[:, origin - 4 : origin] *= 0.5
    path = ClearSkyShare().paths(replace(history, values=dimmed), [origin], 24)[0, 0]
    ratio = path / history.values[0, origin : origin + 24]
    # Half of the last hour is missing: 0.7 of it is carried, halved every hour: 1 - 0.5 x 0.7 x 0.5 ** 0.25, then ** 5.
    assert ratio[0] == pytest.approx(1.0 - 0.35 * 0.5**0.25, abs=0.01)
    assert ratio[19] == pytest.approx(1.0 - 0.35 * 0.5**5, abs=0.01)


@pytest.mark.parametrize("model", [ClearSkyShare(), LearnedPv(trees=20, members=1, train_days=7)])
def test_no_pv_model_looks_past_its_origin(model: ClearSkyShare | LearnedPv) -> None:
    history = panels(4)
    origin = 20 * DAY
    changed = history.values.copy()
    changed[:, origin:] *= 3.0
    kept = model.paths(history, [origin], DAY)
    np.testing.assert_array_equal(model.paths(replace(history, values=changed), [origin], DAY), kept)


def test_the_correction_learns_what_a_known_temperature_says_of_clouds() -> None:
    history = panels(8)
    share = (
        history.values[:, : DAYS * DAY].reshape(8, DAYS, DAY).sum(axis=2)
        / history.values.max(axis=1)[:, None]
    ).mean(axis=0)
    warm = np.repeat(share / share.max() * 10.0, DAY)
    known = np.concatenate([warm, np.full(AHEAD, warm.mean())])
    told = replace(
        history,
        regressors=(*history.regressors, replace(history.regressors[0], name="temperature_c", values=known)),
    )
    origins = [k * DAY for k in range(22, 27)]
    actual = np.stack([history.values[:, o : o + DAY] for o in origins])
    model = LearnedPv(trees=60, members=1, refit_days=30)
    plain, informed = (np.abs(model.paths(h, origins, DAY) - actual).mean() for h in (history, told))
    assert informed < 0.95 * plain


def test_served_pv_is_dark_at_night_and_its_intervals_are_those_of_days() -> None:
    history = panels(30)
    served = Selector(candidates=(ClearSkyShare(),), quantity=Quantity.PV_W.value).fit(history)
    found = served.predict(history.end, AHEAD)
    sky = history.regressors[0].values[:, DAYS * DAY :]
    assert (found.values[:, :, :][np.repeat((sky == 0.0)[:, None], 9, axis=1)] == 0.0).all()
    noon = 45
    low, high = found.at(LOWER)[:, noon], found.at(UPPER)[:, noon]
    middle = found.at(0.5)[:, noon]
    # Days draw evenly from 0.4 to 1: the middle 95 % span 0.57 of the highest, the median lying near 0.67 of it.
    assert 0.5 < float(np.mean((high - low) / middle)) < 1.3
    assert (low >= 0.0).all()
    assert set(found.model) <= {"clear_sky", "clear_sky+naive_day", "clear_sky+naive_week", "naive_week+clear_sky", "naive_day+clear_sky", "naive_week", "naive_day"}  # fmt: skip


def test_a_history_without_a_sky_is_refused() -> None:
    bare = replace(panels(1), regressors=())
    with pytest.raises(ValueError, match="clear sky"):
        ClearSkyShare().paths(bare, [10 * DAY], DAY)


def test_sites_of_one_square_share_a_sky() -> None:
    near = Place(latitude=45.06, longitude=7.71)
    one, two = clear_sky_w_m2([TURIN, near], START, DAY, timedelta(minutes=15))
    np.testing.assert_array_equal(one, two)
