"""A problem that makes no sense is refused with its field and place."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.tools.planning.instances import calm
from tools.planning.problem import Objectives, ProblemError

GOOD = calm(2, 4)


def with_value(name: str, place: tuple[int, ...], value: float) -> dict[str, Any]:
    array = getattr(GOOD, name).copy()
    array[place] = value
    return {name: array}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_value("floor_wh", (1, 2), np.nan), r"floor_wh is not finite at \(1, 2\)"),
        (with_value("max_charge_w", (0, 3), np.inf), r"max_charge_w is not finite at \(0, 3\)"),
        (with_value("load_cap_w", (0, 0), -1.0), r"load_cap_w is negative at \(0, 0\)"),
        (with_value("floor_wh", (1, 1), 1001.0), r"floor_wh is above ceiling_wh at \(1, 1\)"),
        (with_value("ceiling_wh", (1, 1), 1001.0), r"ceiling_wh is above usable_wh at \(1, 1\)"),
        (with_value("feeder", (1,), 1), r"feeder is not a row of 0..0 at \(1,\)"),
        (with_value("efficiency_class", (0,), -1), r"efficiency_class is not a row of 0..0 at \(0,\)"),
        (with_value("radio_cluster", (0,), 0), r"radio_cluster is neither -1 nor a row"),
        (with_value("ramp_w", (0,), 0.0), r"ramp_w is not above zero at \(0,\)"),
        (with_value("ramp_w", (1,), np.nan), r"ramp_w is not finite at \(1,\)"),
        (with_value("charge_efficiency", (0,), 1.01), r"charge_efficiency is not within 0.5..1"),
        ({"initial_wh": np.zeros(3)}, r"usable_wh has shape \(2,\), not \(3,\)"),
        ({"background_w": np.zeros((1, 5))}, r"background_w has shape \(1, 5\), not \(1, 4\)"),
        ({"step_h": 0.0}, "step_h is 0.0"),
        ({"objectives": Objectives(follow_w=np.zeros((1, 4)))}, "come together"),
        ({"objectives": Objectives(change_weight=1.0)}, "needs previous_w"),
        ({"objectives": Objectives(export_price=np.zeros((1, 4)))}, "needs import_price"),
        (
            {"objectives": Objectives(import_price=np.zeros((1, 4)), export_price=np.ones((1, 4)))},
            r"export_price is above import_price at \(0, 0\)",
        ),
        ({"objectives": Objectives(excess_weight=float("nan"))}, "excess_weight is nan"),
        ({"objectives": Objectives(import_price=np.zeros((2, 4)))}, r"import_price has shape \(2, 4\)"),
    ],
)
def test_nonsense_is_refused_by_name_and_place(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ProblemError, match=words):
        replace(GOOD, **change)


def test_no_ramp_and_no_budget_are_infinite() -> None:
    assert np.isinf(GOOD.ramp_w).all()
    assert (GOOD.sites, GOOD.steps, GOOD.feeders, GOOD.classes) == (2, 4, 1, 1)
