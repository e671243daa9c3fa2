"""The same fits on a cluster of one machine and in this process: the same numbers to the last bit."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tests.tools.forecasting.fleets import DAY, daily_weekly, history_of
from tools.forecasting.calibrated import Calibrated
from tools.forecasting.ridge import BatchedRidge
from tools.forecasting.workers import FannedOut, workers


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    import distributed

    local: Any = distributed.LocalCluster  # untyped
    with local(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None) as started:
        yield started.scheduler_address


def test_a_cluster_gives_the_forecasts_that_this_process_gives(cluster: str) -> None:
    history = history_of(daily_weekly(6, 23, seed=1))
    here = Calibrated(model=FannedOut(model=BatchedRidge(), jobs=1, chunk=2), folds=3)
    there = Calibrated(model=FannedOut(model=BatchedRidge(), jobs=-1, chunk=2), folds=3)
    expected = here.fit(history).predict(history.end, DAY)
    with workers(cluster):
        found = there.fit(history).predict(history.end, DAY)
    np.testing.assert_array_equal(found.values, expected.values)
    np.testing.assert_array_equal(found.cumulative_wh, expected.cumulative_wh)
    assert found.version == BatchedRidge().version


def test_chunks_change_nothing_but_the_last_digits() -> None:
    history = history_of(daily_weekly(5, 20, seed=2))
    with workers(None):
        chunked = FannedOut(model=BatchedRidge(), jobs=1, chunk=2).paths(history, [19 * DAY], DAY)
    np.testing.assert_allclose(chunked, BatchedRidge().paths(history, [19 * DAY], DAY), rtol=1e-4)


def test_an_address_where_nobody_answers_is_an_error() -> None:
    with pytest.raises(OSError, match="Timed out"), workers("tcp://127.0.0.1:1", timeout_s=0.3):
        pytest.fail("nothing runs without the cluster that was asked for")
