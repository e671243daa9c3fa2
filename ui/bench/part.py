"""What a backtest of one data set hands to the harness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Figures and goals of one data set, and which rows were used for what."""

    figures: dict[str, float]
    goals: dict[str, dict[str, Any]]
    used: str


def goal(op: str, value: float, *, gating: bool) -> dict[str, Any]:
    """Return a goal in the form the harness reads."""
    return {"op": op, "value": value, "gating": gating}
