from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tools.anomaly.expected import fit_calendar, fit_relation, peer_common, robust_scale
from tools.forecasting.phase import phase_of

MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


def test_scale_is_the_median_deviation_and_ignores_one_wild_value() -> None:
    assert robust_scale(np.array([[1.0, -2.0, 3.0, -2.0, 1e6]]))[0] == pytest.approx(1.4826 * 2.0)


def test_a_row_of_nothing_takes_the_fleets_scale() -> None:
    got = robust_scale(np.array([[np.nan, np.nan], [2.0, 2.0], [0.0, 0.0]]))
    assert got.tolist() == pytest.approx([1.4826 * 2.0] * 3)


def test_a_calendar_fit_is_not_bent_by_a_faulty_day() -> None:
    phase = phase_of(MONDAY, 14 * 96, QUARTER, "UTC")
    truth = 1000.0 + 200.0 * np.sin(2.0 * np.pi * phase.slot / 96)
    values = np.stack([truth, truth])
    values[1, 96:192] *= 2.0
    values[1, 400:410] = np.nan
    values += np.random.default_rng(0).normal(0.0, 5.0, values.shape)
    fitted = fit_calendar(values, phase).expected(phase)
    assert np.abs(fitted[1] - truth).max() < 10.0  # least squares is off by 200 W
    assert np.abs(fitted[0] - truth).max() < 15.0


def test_a_peers_move_is_the_median_of_the_others() -> None:
    relative = np.array([[9.0], [1.0], [2.0], [3.0], [7.0], [5.0]])
    peers = np.array([0, 0, 0, 0, 0, 1])
    # Others of row 0: 1, 2, 3, 7 -> 2.5; of row 1: 9, 2, 3, 7 -> 5; a group of one has none.
    assert peer_common(relative, peers)[:, 0].tolist() == [2.5, 5.0, 5.0, 4.5, 2.5, 0.0]
    # With six in a group five others remain: of row 0 they are 1, 2, 3, 5, 7.
    assert peer_common(relative, np.zeros(6, dtype=np.int64))[:, 0].tolist() == [3, 5, 5, 5, 3, 3]


def test_a_relation_is_found_in_spite_of_a_faulty_site() -> None:
    rng = np.random.default_rng(1)
    x = rng.uniform(0.0, 10.0, (5, 400, 1))
    y = 3.0 + 2.0 * x[:, :, 0] + rng.normal(0.0, 0.1, (5, 400))
    y[4, 200:] += 50.0
    fit = fit_relation(y, x)
    at_four = fit.expected(np.full((5, 1, 1), 4.0))[:, 0]
    assert at_four[:4] == pytest.approx([11.0] * 4, abs=0.05)
    assert fit.scale[:4] == pytest.approx([0.1] * 4, rel=0.15)


def test_a_site_whose_driver_never_moved_keeps_the_fleets_slope() -> None:
    rng = np.random.default_rng(2)
    x = rng.uniform(0.0, 10.0, (6, 300, 1))
    x[5] = 5.0
    y = 2.0 * x[:, :, 0] + rng.normal(0.0, 0.05, (6, 300))
    y[5] += 1.0
    at_nine = fit_relation(y, x).expected(np.full((6, 1, 1), 9.0))[:, 0]
    assert at_nine[5] == pytest.approx(19.0, abs=0.2)
