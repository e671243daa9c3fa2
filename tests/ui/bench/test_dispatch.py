"""The dispatch benchmark in small form, and the independent checker from both sides of each limit."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.tools.planning.instances import calm
from ui.bench.dispatch import run
from ui.bench.dispatch_check import violations

GOOD = replace(
    calm(2, 2),
    load_cap_w=np.full((2, 2), 400.0),
    floor_wh=np.full((2, 2), 200.0),
    start_w=np.array([0.0, 0.0]),
    radio_cluster=np.zeros(2, dtype=np.int64),
    low_wh=np.full(2, 300.0),
    low_share=np.array([0.5]),
)
NOBODY = np.zeros(2, dtype=bool)


def test_the_small_benchmark_meets_its_goals() -> None:
    out = run(2, 400, feeders=4, full=False)
    figures = out["figures"]
    assert set(out["goals"]) <= set(figures)
    assert figures["dispatch_violations_count"] == 0.0
    assert 0.0 < figures["dispatch_gap_frac"] <= 0.05
    assert figures["dispatch_gap_frac"] <= figures["dispatch_gap_to_bound_without_ramps_and_clusters_frac"]


@pytest.mark.parametrize(
    ("plan", "change", "rule"),
    [
        ([[-300.0, 0.0], [0.0, 0.0]], {}, None),
        ([[-300.1, 0.0], [0.0, 0.0]], {}, "floor"),
        ([[-250.0, 0.0], [-250.0, 0.0]], {}, "radio_cluster"),
        ([[500.0, 0.0], [0.0, 0.0]], {}, None),
        ([[500.1, 0.0], [0.0, 0.0]], {}, "ceiling"),
        ([[-150.0, -150.0], [0.0, 0.0]], {"load_cap_w": np.full((2, 2), 149.0)}, "load_cap"),
        ([[0.0, 200.0], [0.0, 0.0]], {"ramp_w": np.full(2, 199.0)}, "ramp"),
        ([[200.0, 0.0], [0.0, 0.0]], {"import_limit_w": np.full((1, 2), 10_199.0)}, "feeder_import"),
        (
            [[200.0, 0.0], [-150.0, 0.0]],
            {"import_limit_w": np.full((1, 2), 10_199.0)},
            "feeder_import_without_discharge",
        ),
        ([[-300.0, 0.0], [0.0, 0.0]], {"background_w": np.full((1, 2), 299.0)}, "feeder_export"),
        ([[-200.0, 0.0], [0.0, 0.0]], {"discharge_budget_wh": np.full(2, 199.0)}, "budget"),
        ([[0.0, 0.0], [0.0, 1.0]], {"eligible": np.array([True, False])}, "not_zero_though_unusable"),
        ([[np.nan, 0.0], [0.0, 0.0]], {}, "finite"),
    ],
)
def test_the_checker_finds_each_broken_limit(
    plan: list[list[float]], change: dict[str, Any], rule: str | None
) -> None:
    found = violations(replace(GOOD, **change), np.array(plan), NOBODY, NOBODY)
    assert (rule in found) if rule else (found == {})


def test_the_checker_does_not_let_recovery_hide_a_discharge() -> None:
    found = violations(GOOD, np.array([[-1.0, 0.0], [0.0, 0.0]]), np.array([True, True]), NOBODY)
    assert found == {"recovery_discharges": 1, "recovery_without_need": 2}
