"""One series value by value: surprises, alarms with a rest, and nothing known of what comes later."""

from math import log10

import numpy as np
import pytest

from tools.anomaly.stream import alarms, looks, novelty, seasonal_residual, stream_score, trailing_mean
from tools.anomaly.surprise import surprise


def test_within_the_past_the_rank_tells() -> None:
    # 100 values 0..99: 80 and more came 20 times in 100.
    values = np.array([*map(float, range(100)), 80.0])
    assert surprise(values, warm=50)[100] == pytest.approx(-log10(0.20))
    assert surprise(values, warm=101)[100] == 0.0


def test_beyond_the_past_the_tail_goes_on_and_a_constant_never_surprises() -> None:
    rng = np.random.default_rng(1)
    past = rng.exponential(size=5000)
    scores = [surprise(np.append(past, x), warm=50)[-1] for x in (4.5, 6.0, 8.0)]
    # An exponential's tail: P(X > x) = e^-x, so -log10 P = x / ln 10.
    assert scores == pytest.approx([4.5 / np.log(10), 6.0 / np.log(10), 8.0 / np.log(10)], rel=0.2)
    assert surprise(np.full(300, 5.0), warm=50).max() == 0.0


def test_an_alarm_rests_until_its_event_is_over() -> None:
    score = np.zeros(60)
    score[[5, 6, 14, 30, 41]] = 2.0
    # 14 lies within 10 of 6; 30 does not; 41 lies 11 behind 30.
    assert alarms(score, 2.0, rest=10).tolist() == [5, 30, 41]
    assert alarms(score, 2.1, rest=10).tolist() == []


def test_means_and_seasonal_residuals_by_hand() -> None:
    assert trailing_mean(np.array([1.0, 2.0, 6.0]), 2).tolist() == [1.0, 1.5, 4.0]
    at_s = np.arange(0.0, 4 * 24 * 3600.0, 3600.0)
    values = np.tile(np.arange(24.0), 4)
    values[75] = 50.0  # 03:00 of the fourth day, usually 3
    residual = seasonal_residual(at_s, values)
    assert np.isnan(residual[:48]).all()
    assert residual[75] == 47.0
    assert residual[74] == 0.0


def test_a_stretch_is_as_new_as_its_nearest_earlier_one() -> None:
    values = np.tile([0.0, 1.0, 2.0, 3.0], 10)
    values[39] = 7.0  # 3 everywhere before: the last stretch is 4 away from its like
    found = novelty(values, 4, 1, centred=False)
    assert np.isnan(found[:7]).all()
    assert found[38] == pytest.approx(0.0, abs=1e-3)
    assert found[39] == pytest.approx(4.0)


def test_the_score_knows_nothing_of_what_comes_later() -> None:
    rng = np.random.default_rng(2)
    at_s = np.arange(0.0, 700 * 300.0, 300.0)
    values = 10.0 + np.sin(at_s / 86_400.0 * 2 * np.pi) + 0.1 * rng.standard_normal(700)
    changed = values.copy()
    changed[500:] += 5.0
    before = stream_score(at_s, values, learning=100)
    after = stream_score(at_s, changed, learning=100)
    assert np.array_equal(before[:500], after[:500])
    assert after[500] > 2.0 * before[450:500].max()
    assert len(list(looks(at_s, values, 100))) == 30
