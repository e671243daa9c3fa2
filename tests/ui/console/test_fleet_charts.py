import math

import pytest

from tests.ui.console.examples import a_feeder, a_site
from ui.console.charts import GREEN, STATE_COLOURS, STATE_SYMBOLS, VERMILLION
from ui.console.fleet_charts import (
    backup_figure,
    feeder_figure,
    histogram,
    hover_of,
    map_figure,
    site_rows,
    state_of,
    states_of,
    unknown_feeders,
    worst,
    worst_figure,
)


def test_who_is_not_online_is_offline_whatever_it_said_last() -> None:
    assert state_of(a_site(state="dispatch", online=False)) == "offline"
    assert state_of(a_site(state="dispatch")) == "dispatch"


def test_troubled_states_come_first() -> None:
    sites = [a_site("a"), a_site("b", state="outage"), a_site("c"), a_site("d", online=False)]
    assert list(states_of(sites).items()) == [("outage", 1), ("offline", 1), ("float", 2)]


def test_rows_are_in_kw_and_percent_with_the_least_margin_first_and_the_unknown_last() -> None:
    sites = [a_site("a", margin_h=2.0), a_site("b", margin_h=None), a_site("c", margin_h=-0.5, load_w=2345.6)]
    rows = site_rows(sites)
    assert [row["site_id"] for row in rows] == ["c", "a", "b"]
    assert (rows[0]["load_kw"], rows[0]["soc_pct"], rows[0]["spare_kwh"]) == (2.35, 90.0, 4.0)
    assert site_rows(sites, "outage") == []


def test_a_state_is_told_by_shape_and_colour_both() -> None:
    assert len(set(STATE_COLOURS.values())) == len(STATE_COLOURS)
    assert len(set(STATE_SYMBOLS.values())) == len(STATE_SYMBOLS)
    assert STATE_COLOURS.keys() == STATE_SYMBOLS.keys()


def test_the_map_has_a_trace_per_state_in_true_proportion() -> None:
    figure = map_figure([a_site("a", latitude=60.0), a_site("b", latitude=60.0, state="outage")])
    assert [trace.name for trace in figure.data] == ["outage (1)", "float (1)"]
    assert list(figure.data[0].customdata) == ["b"]
    assert figure.data[0].marker.symbol == "x"
    # At 60 degrees north a degree of longitude is half as long as one of latitude.
    assert math.isclose(figure.layout.yaxis.scaleratio, 2.0, rel_tol=1e-9)


def test_pointing_at_a_simulated_site_says_that_it_is() -> None:
    assert "simulated" in hover_of(a_site())
    assert "simulated" not in hover_of(a_site(simulated=False))


def test_feeders_stack_other_load_and_our_sites_against_the_limit_in_kw() -> None:
    figure = feeder_figure([a_feeder()])
    assert [list(trace.x) for trace in figure.data] == [[200.0], [5.0], [300.0]]
    assert unknown_feeders([a_feeder(), a_feeder("f-2", import_w=None)]) == ["f-2"]


@pytest.mark.parametrize(
    ("values", "edges", "counts"),
    [
        ([], [0.0], [0]),
        ([0.2, 0.7, 1.0], [0.0, 0.5, 1.0], [1, 1, 1]),
        ([1.0, 12.0], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0], None),
    ],
)
def test_bins_are_as_narrow_as_sixteen_allow(
    values: list[float], edges: list[float], counts: list[int] | None
) -> None:
    found_edges, found = histogram(values)
    assert found_edges == edges
    assert sum(found) == len(values)
    if counts is not None:
        assert found == counts


def test_what_reaches_the_horizon_falls_into_the_last_bin() -> None:
    edges, counts = histogram([96.0, 500.0, 3.0])
    assert (edges[-1], counts[-1], counts[0]) == (96.0, 2, 1)


def test_no_backup_known_is_no_chart() -> None:
    assert backup_figure([a_site(autonomy_h=None)]) is None
    assert worst_figure([a_site(margin_h=None)]) is None


def test_the_worst_are_the_ten_least_margins_and_below_zero_stands_out() -> None:
    sites = [a_site(f"s-{k:02d}", margin_h=float(k) - 1.0) for k in range(14)]
    assert [one["site_id"] for one in worst(sites)] == [f"s-{k:02d}" for k in range(10)]
    figure = worst_figure(sites)
    assert figure is not None
    assert figure.data[0].marker.color[0] == VERMILLION
    assert figure.data[0].marker.color[9] == GREEN
