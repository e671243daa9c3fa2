"""Benchmarks in processes of their own: what the combined file holds after good, missed, broken and skipped runs."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.ui.bench.test_harness import GOOD, benchmark
from ui.bench.harness import Benchmark, BenchmarkError, DataAbsentError, Raw, Request, read_outcome
from ui.bench.runner import format_number, run_all, run_and_write, show, write_document
from ui.ops.steps import LineSteps

MISSED = {**GOOD, "figures": {**GOOD["figures"], "gap_frac": 0.5}}


def quiet() -> LineSteps:
    return LineSteps(io.StringIO())


def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def written(raw: dict[str, Any], name: str, folder: Path) -> str:
    """Return the text that a run of this name would leave."""
    path = folder / "made.json"
    run_and_write(benchmark(raw, name), Request(small=True), path, quiet())
    return path.read_text()


def leaving(texts: dict[str, str | None]) -> Callable[[Benchmark, Path], list[str]]:
    """Return a command for each name: it leaves that text, or ends without (None)."""
    script = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(sys.argv[2])"

    def argv(each: Benchmark, path: Path) -> list[str]:
        text = texts[each.name]
        if text is None:
            return [sys.executable, "-c", "import os; os.abort()"]
        return [sys.executable, "-c", script, str(path), text]

    return argv


def results(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())["results"]
    return found


def test_all_results_stand_in_one_file(tmp_path: Path) -> None:
    one, two = benchmark(GOOD, "one"), benchmark(GOOD, "two")
    texts: dict[str, str | None] = {name: written(GOOD, name, tmp_path) for name in ("one", "two")}
    target = tmp_path / "all.json"
    assert run_all([one, two], Request(), target, console(), argv=leaving(texts))
    combined = json.loads(target.read_text())
    assert set(combined) == {"commit", "machine", "results"}
    assert combined["results"]["two"]["figures"]["plan_wall_s"] == 2.5
    assert list(combined["results"]) == ["one", "two"]


def test_a_missed_goal_and_a_crash_fail_the_whole_and_the_rest_still_runs(tmp_path: Path) -> None:
    names = ("crashes", "misses", "fine")
    texts = {
        "crashes": None,
        "misses": written(MISSED, "misses", tmp_path),
        "fine": written(GOOD, "fine", tmp_path),
    }
    target = tmp_path / "all.json"
    told = console()
    assert not run_all([benchmark(GOOD, n) for n in names], Request(), target, told, argv=leaving(texts))
    found = results(target)
    assert found["crashes"]["error"] == "ended with status -6 and no result"
    assert (found["crashes"]["ok"], found["misses"]["ok"], found["fine"]["ok"]) == (False, False, True)
    assert isinstance(told.file, io.StringIO)
    assert "misses: MISSED: gap_frac" in told.file.getvalue()


def test_a_run_that_hangs_is_stopped(tmp_path: Path) -> None:
    target = tmp_path / "all.json"
    slow = [sys.executable, "-c", "import time; time.sleep(60)"]
    done = run_all(
        [benchmark(GOOD, "slow")],
        Request(),
        target,
        console(),
        argv=lambda _each, _path: slow,
        longest=timedelta(seconds=0.3),
    )
    assert not done
    assert "stopped after" in results(target)["slow"]["error"]


def test_what_is_not_run_again_stays_and_a_skip_takes_no_figures_away(tmp_path: Path) -> None:
    target = tmp_path / "all.json"
    texts: dict[str, str | None] = {name: written(GOOD, name, tmp_path) for name in ("one", "two")}
    both = [benchmark(GOOD, "one"), benchmark(GOOD, "two")]
    run_all(both, Request(), target, console(), argv=leaving(texts))
    skipped = json.dumps({"name": "two", "kind": "bench", "seed": 7, "skipped": "needs --data DIR"})
    told = console()
    assert run_all(both[1:], Request(), target, told, argv=leaving({"two": skipped}))
    assert results(target)["one"]["ok"]
    assert results(target)["two"]["figures"]["gap_frac"] == 0.01
    assert isinstance(told.file, io.StringIO)
    assert "two: SKIPPED: needs --data DIR" in told.file.getvalue()


def test_a_skip_is_not_blamed_for_what_an_earlier_run_missed(tmp_path: Path) -> None:
    target = tmp_path / "all.json"
    two = [benchmark(GOOD, "two")]
    assert not run_all(
        two, Request(), target, console(), argv=leaving({"two": written(MISSED, "two", tmp_path)})
    )
    skipped = json.dumps({"name": "two", "kind": "bench", "seed": 7, "skipped": "needs --data DIR"})
    assert run_all(two, Request(), target, console(), argv=leaving({"two": skipped}))


def test_a_skip_without_earlier_figures_is_said_in_the_file(tmp_path: Path) -> None:
    target = tmp_path / "all.json"
    skipped = json.dumps({"name": "two", "kind": "bench", "seed": 7, "skipped": "needs --data DIR"})
    assert run_all([benchmark(GOOD, "two")], Request(), target, console(), argv=leaving({"two": skipped}))
    assert results(target)["two"]["skipped"] == "needs --data DIR"


def test_one_run_leaves_why_it_has_no_result(tmp_path: Path) -> None:
    def no_files(request: Request, progress: object) -> Raw:
        request.data("prices")
        return GOOD

    path = tmp_path / "one.json"
    needs = Benchmark(kind="backtest", name="price", summary="", simulated=False, run=no_files)
    with pytest.raises(DataAbsentError):
        run_and_write(needs, Request(), path, quiet())
    assert json.loads(path.read_text())["skipped"] == "needs --data DIR, a folder that holds prices"
    with pytest.raises(BenchmarkError, match="no figure at all"):
        run_and_write(benchmark({**GOOD, "figures": {}}), Request(), path, quiet())
    assert json.loads(path.read_text())["ok"] is False


def test_a_file_in_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match="there is no folder"):
        write_document(tmp_path / "absent" / "x.json", {})


def test_the_table_shows_figures_goals_and_what_was_used(tmp_path: Path) -> None:
    told = console()
    show(run_and_write(benchmark(MISSED), Request(), None, quiet()), told)
    assert isinstance(told.file, io.StringIO)
    text = told.file.getvalue()
    assert "bench plan, simulated, full form, seed 7" in text
    assert "MISSED" in text
    assert "no (reported only)" in text
    assert "used: days 1-7" in text


def test_a_figure_that_cannot_be_made_here_is_listed_with_why(tmp_path: Path) -> None:
    told = console()
    raw = {**GOOD, "absent": {"deep_frac": "not installed"}}
    content = run_and_write(benchmark(raw), Request(), tmp_path / "one.json", quiet())
    show(content, told)
    assert isinstance(told.file, io.StringIO)
    row = next(line for line in told.file.getvalue().splitlines() if "deep_frac" in line)
    assert "not installed" in row
    assert json.loads((tmp_path / "one.json").read_text())["absent"] == {"deep_frac": "not installed"}
    assert content["ok"] is True
    assert "absent" not in run_and_write(benchmark(GOOD), Request(), None, quiet())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0044, "0.0044"),
        (0.12345, "0.123"),
        (2.0, "2"),
        (99.96, "100"),
        (-3.8e-15, "0"),
        (1234.5, "1,234"),
        (10_000.0, "10,000"),
    ],
)
def test_numbers_are_written_as_people_read_them(value: float, text: str) -> None:
    assert format_number(value) == text


def test_the_command_writes_a_result_and_its_status_says_whether_goals_are_met(tmp_path: Path) -> None:
    path = tmp_path / "safety.json"
    words = [
        sys.executable,
        "-m",
        "ui.cli",
        "bench",
        "safety",
        "--small",
        "--sites",
        "24",
        "--json",
        str(path),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())
    assert (
        read_outcome({key: found[key] for key in ("figures", "used")} | {"goals": {}}).figures["safety_sites"]
        == 24
    )
    assert found["ok"] is True
    assert "safety_sites_with_breach_count" in done.stdout
