"""One form for every benchmark, backtest and evaluation: figures, goals, and what was run on which machine.

A run function returns `{"figures": key -> number, "goals": key -> {op, value, gating}, "used": texts (optional),
"absent": key -> why (optional): figures that this installation cannot make, listed in their place}`.
`records` (optional) is a list of small tables, one for each thing scored, from which parts of a run are put together. The
harness refuses a result that could not be compared later: a figure that is not finite or whose key does not end in a
unit, a goal on a figure that does not exist. A goal that is missed fails the command only if it is gating.
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from math import isfinite
from pathlib import Path
from typing import Any

from telemetry.model.errors import ControlError

Raw = Mapping[str, Any]
Progress = Callable[[float], None]  # told how far a run is, 0..1

_UNITS = (
    *("us", "ms", "s", "min", "h", "days", "months"),
    *("w", "kw", "mw", "wh", "kwh", "mwh", "v", "hz", "c"),
    *("bytes", "kb", "mb", "gb"),
    *("count", "sites", "steps", "feeders", "cycles", "tokens"),
    *("frac", "ratio", "eur", "currency", "gco2"),
)
# What a rate is counted by; before `_per_` stands a unit or the thing counted.
_RATES = ("s", "cpu_s", "h", "day", "month", "site", "site_day", "site_month", "feeder", "step", "kwh", "mwh")
_KEY = re.compile(rf"[a-z][a-z0-9_]*_(?:(?:{'|'.join(_UNITS)})|per_(?:{'|'.join(_RATES)}))")
_OPS: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
}
_GOAL_KEYS = frozenset({"op", "value", "gating"})
_PARTS = frozenset({"figures", "goals", "used", "absent", "records"})


class BenchmarkError(ControlError):
    """A benchmark cannot run, or its result is not one; the message says why."""


class DataAbsentError(BenchmarkError):
    """A benchmark needs files that were not given; it is skipped, visibly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked of one run.

    Attributes:
        seed: Of everything random.
        small: The small form, seconds instead of minutes; its goals are those that hold at that size.
        data_dir: The user's files, where the benchmark needs any.
        sites: Another number of sites than the form's own.
        options: Further words for one benchmark (`model`, `cases`, `part`, `merge`).
    """

    seed: int = 7
    small: bool = False
    data_dir: Path | None = None
    sites: int | None = None
    options: Mapping[str, str] | None = None

    def data(self, *sets: str) -> Path:
        """Return the folder of the user's files.

        Raises:
            DataAbsentError: None was given, or it holds none of the sets (and is none of them).
        """
        named = " or ".join(sets)
        if self.data_dir is None:
            raise DataAbsentError(f"needs --data DIR, a folder that holds {named}")
        if self.data_dir.name not in sets and not any((self.data_dir / name).is_dir() for name in sets):
            raise DataAbsentError(f"{named} is not in the folder given with --data")
        return self.data_dir


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A named run.

    Attributes:
        kind: `bench`, `backtest` or `eval`: the command that runs it.
        name: Unique within its kind.
        summary: One line for the list.
        simulated: Whether its input is simulated; its figures are then called so wherever they are shown.
        run: Returns the raw result; imports what it needs when called.
        soak: Too long for `bench all` unless `--only` names it: `make soak` does.
    """

    kind: str
    name: str
    summary: str
    simulated: bool
    run: Callable[[Request, Progress], Raw]
    soak: bool = False

    @property
    def key(self) -> str:
        """Name in the combined file: unique over all kinds."""
        return self.name if self.kind == "bench" else f"{self.kind}-{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a figure should be; a gating goal that is missed fails the command."""

    op: str
    value: float
    gating: bool

    def met(self, figure: float) -> bool:
        """Whether the figure is as it should be."""
        return _OPS[self.op](figure, self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A checked result; `absent` says why a figure is not there."""

    figures: Mapping[str, float]
    goals: Mapping[str, Goal]
    used: tuple[str, ...]
    absent: Mapping[str, str] = field(default_factory=dict)
    records: tuple[Mapping[str, Any], ...] = ()

    @property
    def missed(self) -> tuple[str, ...]:
        """Keys of the goals that are not met, gating or not."""
        return tuple(key for key, goal in self.goals.items() if not goal.met(self.figures[key]))

    @property
    def ok(self) -> bool:
        """Whether every gating goal is met."""
        return not any(self.goals[key].gating for key in self.missed)


def read_outcome(raw: Raw) -> Outcome:
    """Return a run function's result, checked.

    Raises:
        BenchmarkError: It is not a result; the message lists everything that is wrong with it.
    """
    faults = [f"unknown part {part!r}" for part in raw.keys() - _PARTS]
    faults += [f"no {part}" for part in ("figures", "goals") if not isinstance(raw.get(part), Mapping)]
    if faults:
        raise BenchmarkError("; ".join(faults))
    if not raw["figures"]:
        faults.append("no figure at all")
    faults += [fault for key, value in raw["figures"].items() for fault in _figure_faults(key, value)]
    faults += [
        fault for key, goal in raw["goals"].items() for fault in _goal_faults(key, goal, raw["figures"])
    ]
    used = raw.get("used", ())
    if isinstance(used, str) or not all(isinstance(text, str) for text in used):
        faults.append("`used` is not a list of texts")
    absent = raw.get("absent", {})
    faults += [fault for key, why in absent.items() for fault in _absent_faults(key, why, raw["figures"])]
    if faults:
        raise BenchmarkError("not a benchmark result: " + "; ".join(faults))
    return Outcome(
        figures={key: float(value) for key, value in raw["figures"].items()},
        goals={
            key: Goal(op=goal["op"], value=float(goal["value"]), gating=goal["gating"])
            for key, goal in raw["goals"].items()
        },
        used=tuple(used),
        absent=dict(absent),
        records=tuple(raw.get("records", ())),
    )


def ends_in_unit(key: str) -> bool:
    """Whether a figure's key says what it is counted in."""
    return _KEY.fullmatch(key) is not None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _figure_faults(key: str, value: object) -> list[str]:
    faults = [] if ends_in_unit(key) else [f"{key} does not end in a unit"]
    return faults if _is_number(value) else [*faults, f"{key} is {value!r}, not a finite number"]


def _absent_faults(key: str, why: object, figures: Raw) -> list[str]:
    faults = [] if ends_in_unit(key) else [f"{key} does not end in a unit"]
    faults += [f"{key} is a figure and absent"] if key in figures else []
    return faults if isinstance(why, str) and why else [*faults, f"{key} is absent without a reason"]


def _goal_faults(key: str, goal: object, figures: Raw) -> list[str]:
    if not isinstance(goal, Mapping) or set(goal) != _GOAL_KEYS:
        return [f"the goal on {key} is not {{op, value, gating}}"]
    faults = [] if key in figures else [f"there is a goal on {key} and no such figure"]
    if goal["op"] not in _OPS:
        faults.append(f"the goal on {key} compares by {goal['op']!r}")
    if not _is_number(goal["value"]):
        faults.append(f"the goal on {key} asks for {goal['value']!r}, not a finite number")
    if not isinstance(goal["gating"], bool):
        faults.append(f"the goal on {key} does not say whether it gates")
    return faults


def document(
    benchmark: Benchmark,
    request: Request,
    outcome: Outcome,
    *,
    commit: str,
    machine: Mapping[str, Any],
    started_at: datetime,
    seconds: float,
) -> dict[str, Any]:
    """Return what goes into the file.

    Args:
        benchmark: What ran.
        request: How.
        outcome: What came out.
        commit: Of the project, `-changed` at its end where the files differ from it.
        machine: `ui.bench.machine.describe_machine`.
        started_at: Aware UTC wall time.
        seconds: How long it took.
    """
    return {
        "name": benchmark.name,
        "kind": benchmark.kind,
        "commit": commit,
        "machine": dict(machine),
        "seed": request.seed,
        "small": request.small,
        "simulated": benchmark.simulated,
        "started_at": started_at.isoformat(timespec="seconds"),
        "seconds": round(seconds, 2),
        "figures": dict(outcome.figures),
        "goals": {
            key: {**asdict(goal), "met": goal.met(outcome.figures[key])}
            for key, goal in outcome.goals.items()
        },
        "used": list(outcome.used),
        **({"absent": dict(outcome.absent)} if outcome.absent else {}),
        **({"records": [dict(one) for one in outcome.records]} if outcome.records else {}),
        "ok": outcome.ok,
    }


def failed(benchmark: Benchmark, request: Request, why: str, *, skipped: bool) -> dict[str, Any]:
    """Return what the combined file holds for a run without a result: skipped for lack of files, or failed."""
    entry: dict[str, Any] = {"name": benchmark.name, "kind": benchmark.kind, "seed": request.seed}
    return entry | ({"skipped": why} if skipped else {"error": why, "ok": False})
