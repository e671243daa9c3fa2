"""Floor breaches on forecast residuals: the count by hand, and the small form of the benchmark."""

from datetime import UTC, datetime

from telemetry.model.series import MEDIAN, QUANTILES, UPPER, Forecast, Quantity
from ui.bench.floor import AUTONOMY_STEPS, LEAD_STEPS, WINDOW_STEPS, Tally, judge, needed_wh, run
from ui.bench.harness import read_outcome

HORIZON = LEAD_STEPS + WINDOW_STEPS + AUTONOMY_STEPS


def a_forecast(upper_w: float) -> Forecast:
    """Return a forecast of 1000 W at the median whose upper quantile stays `upper_w` above it, in sums too."""
    levels = [1000.0 + (upper_w if level > 0.5 else 0.0) for level in QUANTILES]
    return Forecast(
        subject_id="s",
        quantity=Quantity.LOAD_W,
        made_at=datetime(2026, 3, 10, tzinfo=UTC),
        start=datetime(2026, 3, 10, tzinfo=UTC),
        values_w=tuple((w,) * HORIZON for w in levels),
        cumulative_wh=tuple(tuple(w * 0.25 * (step + 1) for step in range(HORIZON)) for w in levels),
        model="m",
        version="1",
    )


def test_what_an_outage_needs() -> None:
    # 100, 200, 300, 400 W by quarter hour: two of them from the second on need 125 Wh, from the third on 175 Wh.
    assert needed_wh([100.0, 200.0, 300.0, 400.0], 1, 2, 2) == [125.0, 175.0]


def test_a_point_forecast_fails_where_the_quantile_holds() -> None:
    """The site draws 1050 W: 4 h need 4200 Wh. The median keeps 4000 Wh, the quantile 100 W above it 4400 Wh."""
    tallies = {UPPER: Tally(), MEDIAN: Tally()}
    judge(a_forecast(100.0), [1050.0] * HORIZON, tallies)
    assert (tallies[UPPER].outages, tallies[UPPER].breaches) == (17, 0)
    assert (tallies[MEDIAN].outages, tallies[MEDIAN].breaches, tallies[MEDIAN].plans_with_breach) == (
        17,
        17,
        1,
    )
    assert tallies[MEDIAN].kept_wh == 17 * 4000.0
    assert tallies[MEDIAN].worst_short_h == 200.0 / 1050.0


def test_a_quantile_that_is_too_low_is_counted_too() -> None:
    tallies = {UPPER: Tally()}
    judge(a_forecast(40.0), [1050.0] * HORIZON, tallies)
    assert tallies[UPPER].breaches == 17


def test_small_form_meets_its_gating_goal() -> None:
    outcome = read_outcome(run(7, sites=12, days=(35, 46), hours=(16,)))
    assert outcome.figures["floor_outages_tried_count"] == 12 * 2 * 17
    # A point forecast is as often too low as too high; the quantile may fail one time in forty.
    assert 0.3 < outcome.figures["floor_breaches_with_point_frac"] < 0.7
    assert outcome.figures["floor_breaches_with_quantiles_frac"] < 0.05
    assert outcome.ok
