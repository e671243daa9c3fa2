"""The query benchmark in its smallest form: real data in a real database, and figures that are what they say."""

import pytest

from ui.bench.harness import read_outcome
from ui.bench.query import run

pytestmark = pytest.mark.database


def test_each_question_is_answered_on_the_data_that_was_asked_for() -> None:
    result = run(3, 50, raw_rows=50 * 1_500, quarter_days=31, hour_days=40, questions=3)
    read_outcome(result)
    figures = result["figures"]
    assert figures["query_raw_rows_count"] == 75_000
    assert figures["query_quarter_rows_count"] == 50 * 31 * 96
    assert figures["query_hour_rows_count"] == 50 * 40 * 24
    assert figures["query_latest_all_points_count"] == 50
    assert figures["query_site_day_raw_points_count"] == 1_440  # one a minute, fewer than 2,000
    assert figures["query_site_month_rollup_points_count"] == 1_440  # 2,880 quarters, two to a point
    assert figures["query_feeder_week_points_count"] == 672
    # A row of a key's and 20 values' 4 bytes each, its header, and its part of an index.
    assert 150 < figures["query_quarter_row_bytes"] < 400
    assert {key for key in result["goals"] if key.endswith("cpu_ms")} <= set(figures)
