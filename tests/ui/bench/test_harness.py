"""A result is checked before it is written: what could not be compared later is refused."""

import re
from datetime import UTC, datetime
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

from ui.bench import registry
from ui.bench.harness import (
    Benchmark,
    BenchmarkError,
    DataAbsentError,
    Goal,
    Request,
    document,
    ends_in_unit,
    failed,
    read_outcome,
)
from ui.bench.machine import describe_machine, project_commit
from ui.bench.registry import KINDS, benchmarks, find, named, reported, selected, telling

GOOD: dict[str, Any] = {
    "figures": {"plan_wall_s": 2.5, "gap_frac": 0.01, "broken_count": 0},
    "goals": {
        "gap_frac": {"op": "<=", "value": 0.03, "gating": True},
        "plan_wall_s": {"op": "<=", "value": 2.0, "gating": False},
        "broken_count": {"op": "==", "value": 0, "gating": True},
    },
    "used": ["days 1-7"],
}
STARTED = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


def benchmark(raw: dict[str, Any], name: str = "plan", kind: str = "bench") -> Benchmark:
    return Benchmark(
        kind=kind, name=name, summary="a plan", simulated=True, run=lambda _request, _progress: raw
    )


def test_a_good_result_is_read() -> None:
    outcome = read_outcome(GOOD)
    assert outcome.figures == {"plan_wall_s": 2.5, "gap_frac": 0.01, "broken_count": 0.0}
    assert outcome.goals["gap_frac"] == Goal(op="<=", value=0.03, gating=True)
    assert outcome.missed == ("plan_wall_s",)  # 2.5 s where 2.0 were hoped for, reported only
    assert outcome.ok


def test_a_missed_gating_goal_fails_the_result() -> None:
    outcome = read_outcome({**GOOD, "figures": {**GOOD["figures"], "gap_frac": 0.031}})
    assert outcome.missed == ("gap_frac", "plan_wall_s")
    assert not outcome.ok


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"figures": {}}, "no figure at all"),
        ({"figures": None}, "no figures"),
        ({"goals": None}, "no goals"),
        ({"more": 1}, "unknown part 'more'"),
        ({"figures": {**GOOD["figures"], "a_s": nan}}, "a_s is nan, not a finite number"),
        ({"figures": {**GOOD["figures"], "a_s": inf}}, "a_s is inf, not a finite number"),
        ({"figures": {**GOOD["figures"], "a_s": None}}, "a_s is None, not a finite number"),
        ({"figures": {**GOOD["figures"], "a_s": True}}, "a_s is True, not a finite number"),
        ({"figures": {**GOOD["figures"], "a_s": "3"}}, "a_s is '3', not a finite number"),
        ({"figures": {**GOOD["figures"], "speed": 3.0}}, "speed does not end in a unit"),
        ({"goals": {"b_s": GOOD["goals"]["gap_frac"]}}, "a goal on b_s and no such figure"),
        ({"goals": {"gap_frac": {"op": "<=", "value": 1.0}}}, "the goal on gap_frac is not"),
        ({"goals": {"gap_frac": {"op": "~", "value": 1.0, "gating": True}}}, "compares by '~'"),
        ({"goals": {"gap_frac": {"op": "<=", "value": nan, "gating": True}}}, "asks for nan"),
        ({"goals": {"gap_frac": {"op": "<=", "value": 1.0, "gating": 1}}}, "does not say whether it gates"),
        ({"used": "all days"}, "`used` is not a list of texts"),
        ({"absent": {"speed": "no radio"}}, "speed does not end in a unit"),
        ({"absent": {"gap_frac": "no solver"}}, "gap_frac is a figure and absent"),
        ({"absent": {"b_s": ""}}, "b_s is absent without a reason"),
    ],
)
def test_what_is_no_result_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(BenchmarkError, match=r".") as refused:
        read_outcome({**GOOD, **change})
    assert said in str(refused.value)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(BenchmarkError) as refused:
        read_outcome({"figures": {"speed": nan}, "goals": {"b_s": {"op": "?", "value": 1.0, "gating": True}}})
    assert len(str(refused.value).split("; ")) == 4


@pytest.mark.parametrize(
    ("key", "fits"),
    [
        ("a_s", True),
        ("false_incidents_per_site_month", True),
        ("readings_per_cpu_s", True),
        ("mae_eur_per_mwh", True),
        ("covered_95_frac", True),
        ("s", False),
        ("a_frac_error", False),
        ("A_s", False),
        ("a_per_fortnight", False),
        ("a_seconds", False),
    ],
)
def test_a_key_ends_in_a_unit(key: str, fits: bool) -> None:
    assert ends_in_unit(key) is fits


@pytest.mark.parametrize(
    ("op", "below", "at", "above"),
    [
        ("<", True, False, False),
        ("<=", True, True, False),
        ("==", False, True, False),
        (">=", False, True, True),
        (">", False, False, True),
    ],
)
def test_a_goal_compares_as_it_says(op: str, below: bool, at: bool, above: bool) -> None:
    goal = Goal(op=op, value=2.0, gating=True)
    assert (goal.met(1.0), goal.met(2.0), goal.met(3.0)) == (below, at, above)


def test_the_document_says_what_ran_where_and_whether_each_goal_is_met() -> None:
    made = document(
        benchmark(GOOD),
        Request(seed=3, small=True),
        read_outcome(GOOD),
        commit="abc",
        machine={"cpu": "x"},
        started_at=STARTED,
        seconds=1.236,
    )
    assert made == {
        "name": "plan",
        "kind": "bench",
        "commit": "abc",
        "machine": {"cpu": "x"},
        "seed": 3,
        "small": True,
        "simulated": True,
        "started_at": "2026-03-10T12:00:00+00:00",
        "seconds": 1.24,
        "figures": {"plan_wall_s": 2.5, "gap_frac": 0.01, "broken_count": 0.0},
        "goals": {
            "gap_frac": {"op": "<=", "value": 0.03, "gating": True, "met": True},
            "plan_wall_s": {"op": "<=", "value": 2.0, "gating": False, "met": False},
            "broken_count": {"op": "==", "value": 0.0, "gating": True, "met": True},
        },
        "used": ["days 1-7"],
        "ok": True,
    }


def test_a_run_without_its_files_is_skipped_and_a_broken_one_is_not_ok() -> None:
    assert failed(benchmark(GOOD), Request(), "no files", skipped=True) == {
        "name": "plan",
        "kind": "bench",
        "seed": 7,
        "skipped": "no files",
    }
    assert failed(benchmark(GOOD), Request(), "boom", skipped=False)["ok"] is False


def test_the_users_folder_holds_a_set_or_is_one(tmp_path: Path) -> None:
    with pytest.raises(DataAbsentError, match="needs --data DIR, a folder that holds prices or loads"):
        Request().data("prices", "loads")
    with pytest.raises(DataAbsentError, match="prices is not in the folder"):
        Request(data_dir=tmp_path).data("prices")
    (tmp_path / "prices").mkdir()
    assert Request(data_dir=tmp_path).data("loads", "prices") == tmp_path
    assert Request(data_dir=tmp_path / "prices").data("prices") == tmp_path / "prices"


def test_every_entry_has_a_key_of_its_own_and_a_known_kind() -> None:
    keys = [each.key for each in benchmarks()]
    assert len(set(keys)) == len(keys)
    assert {each.kind for each in benchmarks()} <= set(KINDS)
    assert not {each.name for each in benchmarks()} & {"all", "readme", "list"}
    assert find("backtest", "price").key == "backtest-price"
    with pytest.raises(BenchmarkError, match="there is: dispatch"):
        find("bench", "price")


def test_no_benchmark_is_forgotten() -> None:
    folder = Path(registry.__file__).parent
    runs = {
        path.stem for path in folder.glob("*.py") if re.search(r"^def run\(", path.read_text(), re.MULTILINE)
    }
    named_here = set(re.findall(r"from ui\.bench\.(\w+) import (?:\w+, )*run$", _source(), re.MULTILINE))
    assert len(runs) >= 9
    assert runs == named_here, "add an entry to ui/bench/registry.py"


def _source() -> str:
    return Path(registry.__file__).read_text()


@pytest.mark.parametrize("each", [b for b in benchmarks() if b.kind == "backtest"], ids=lambda b: str(b.key))
def test_a_backtest_asks_for_its_files(each: Benchmark) -> None:
    with pytest.raises(DataAbsentError, match="needs --data DIR"):
        each.run(Request(small=True), lambda _: None)


def test_the_small_safety_benchmark_is_a_result_and_meets_its_goals() -> None:
    outcome = read_outcome(find("bench", "safety").run(Request(small=True, sites=40), lambda _: None))
    assert outcome.ok
    assert outcome.figures["safety_sites"] == 40.0
    assert outcome.figures["safety_sites_with_breach_count"] == 40.0
    assert not outcome.goals["safety_validate_wall_s"].gating


def test_keys_get_the_benchmarks_name_and_a_unit() -> None:
    raw = {
        "figures": {
            "sites": 3,
            "approved": True,
            "growth": 1.5,
            "late_s": None,
            "early_s": None,
            "data": "simulated",
            "why": ["late", "lost"],
        },
        "goals": {
            "approved": {"op": "==", "value": True, "gating": True},
            "late_s": {"op": "<=", "value": 1.0, "gating": True},
        },
    }
    fixed = named(raw, "x", {"growth": "ratio"})
    assert fixed["figures"] == {
        "x_sites": 3,
        "x_approved_count": 1.0,
        "x_growth_ratio": 1.5,
        "x_late_s": None,
    }
    assert fixed["goals"]["x_approved_count"] == {"op": "==", "value": 1.0, "gating": True}
    assert fixed["used"] == ["why: late, lost"]
    with pytest.raises(BenchmarkError, match="x_late_s is None"):
        read_outcome(fixed)


def test_a_goal_that_is_reported_only_keeps_its_value() -> None:
    goals = reported(GOOD, "gap_frac", "plan_wall_s")["goals"]
    assert {key: goal["gating"] for key, goal in goals.items()} == {
        "gap_frac": False,
        "plan_wall_s": False,
        "broken_count": True,
    }
    assert goals["gap_frac"]["value"] == 0.03


def test_progress_goes_to_runs_that_can_tell_it() -> None:
    told: list[float] = []

    def silent(seed: int) -> None: ...

    def telling_run(seed: int, progress: object = None) -> None: ...

    assert telling(silent, told.append) == {}
    assert telling(telling_run, told.append) == {"progress": told.append}


def test_the_machine_is_described_without_names() -> None:
    said = describe_machine()
    assert said["cores_count"] >= 1
    assert said["memory_gb"] > 0.1
    assert said["cpu"]
    assert said["load_average_1min"] >= 0.0
    assert set(said) == {"cpu", "cores_count", "memory_gb", "python", "system", "load_average_1min"}


def test_outside_of_a_checkout_the_commit_is_unknown(tmp_path: Path) -> None:
    assert project_commit(tmp_path) == "unknown"


def test_all_leaves_the_soaks_out_unless_they_are_named() -> None:
    keys = [each.key for each in selected(None)]
    assert len(keys) == len(benchmarks()) - 7
    assert not {"edge-hour", "gateway-hour", "edge-many", "edge-cut"} & set(keys)
    assert not {"eval-agent-embedded", "eval-attacks", "eval-attacks-embedded"} & set(keys)
    assert [each.key for each in selected(" edge-cut, safety ")] == ["safety", "edge-cut"]
    with pytest.raises(BenchmarkError, match="--only: no edge-day; there is: dispatch"):
        selected("safety,edge-day")


def test_an_engine_named_in_the_analytics_page_can_be_backtested() -> None:
    page = (Path(__file__).parents[3] / "docs" / "analytics.md").read_text()
    told = re.search(r"cellwatt backtest ([a-z|]+)", page)
    assert told is not None
    names = {name.strip() for name in told[1].split("|")}
    assert {"forecast", "price", "anomaly", "outage", "health", "energy", "pv"} <= names
    assert names <= {each.name for each in benchmarks() if each.kind == "backtest"}
