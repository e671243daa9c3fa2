"""Several sensors at once: a small common shift is seen, quiet operation is not."""

import numpy as np
import pytest

from tools.anomaly.mewma import learn_mewma


def test_a_shift_of_two_spreads_in_two_of_four_sensors_is_seen_soon() -> None:
    rng = np.random.default_rng(4)
    values = rng.standard_normal((1400, 4))
    values[1200:, :2] += 2.0
    distance = learn_mewma(values[:400]).distance(values)
    assert (distance[400:1200] > 1.0).mean() < 0.01
    assert (distance[1210:] > 1.0).mean() > 0.5


def test_the_limit_is_twice_what_one_quiet_step_in_a_hundred_passes() -> None:
    rng = np.random.default_rng(5)
    quiet = rng.standard_normal((400, 3))
    distance = learn_mewma(quiet, factor=2.0).distance(quiet)
    assert np.quantile(distance[5:], 0.99) == pytest.approx(0.5)


def test_too_little_quiet_operation_is_refused() -> None:
    with pytest.raises(ValueError, match="100 are the least"):
        learn_mewma(np.zeros((99, 2)))
