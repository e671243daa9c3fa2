"""What a backtest of one data set hands to the harness, and a run over those sets that are there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Figures and goals of one data set, which rows were used for what, and why a figure is absent."""

    figures: dict[str, float]
    goals: dict[str, dict[str, Any]]
    used: str
    absent: dict[str, str] = field(default_factory=dict)


def goal(op: str, value: float, *, gating: bool) -> dict[str, Any]:
    """Return a goal in the form the harness reads."""
    return {"op": op, "value": value, "gating": gating}


def over_sets(
    data_dir: Path,
    sets: Mapping[str, Iterable[Callable[[Path], Part]]],
    progress: Callable[[float], None] | None,
) -> dict[str, Any]:
    """Run the parts of every known set found in `data_dir`, and say which were not there.

    Args:
        data_dir: Holds a folder for each set, or is that of one.
        sets: Name of a set to the parts that read its folder.
        progress: Told the share of sets done.

    Raises:
        FileNotFoundError: None of them is there.
    """
    figures: dict[str, float] = {}
    goals: dict[str, dict[str, Any]] = {}
    absent: dict[str, str] = {}
    used: list[str] = []
    for done, (name, parts) in enumerate(sets.items()):
        if progress is not None:
            progress(done / len(sets))
        folder = data_dir if data_dir.name == name else data_dir / name
        if not folder.is_dir():
            used.append(f"{name}: not in the folder given")
            continue
        for part in parts:
            found = part(folder)
            figures |= found.figures
            goals |= found.goals
            absent |= found.absent
            used.append(found.used)
    if not figures:
        raise FileNotFoundError(f"none of {', '.join(sets)} in {data_dir}")
    return {"figures": figures, "goals": goals, "used": used} | ({"absent": absent} if absent else {})
