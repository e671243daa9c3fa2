"""Runs benchmarks: one in this process, or all of them each in a process of its own; writes what came out."""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import TimeoutExpired
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.table import Table

from ui.bench.harness import (
    Benchmark,
    BenchmarkError,
    DataAbsentError,
    Request,
    document,
    failed,
    read_outcome,
)
from ui.bench.machine import describe_machine, project_commit
from ui.bench.picture import bars
from ui.ops.files import write_atomic
from ui.ops.process import ProcessSpec, spawn, stop
from ui.ops.steps import Steps

_LONGEST = timedelta(
    minutes=40
)  # of one benchmark in its full form; one that hangs must not hold up the rest


def run_one(benchmark: Benchmark, request: Request, steps: Steps) -> dict[str, Any]:
    """Run a benchmark here and return its document.

    Raises:
        DataAbsentError: It needs files that were not given.
        BenchmarkError: What it returned is not a result.
    """
    commit, machine = project_commit(), describe_machine()
    started_at, start_s = datetime.now(UTC), time.monotonic()
    with steps.step(f"{benchmark.kind} {benchmark.name}") as step:
        raw = benchmark.run(request, step.reach)
    return document(
        benchmark,
        request,
        read_outcome(raw),
        commit=commit,
        machine=machine,
        started_at=started_at,
        seconds=time.monotonic() - start_s,
    )


def write_document(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file for everybody to read; a reader sees the old one or the new one, never a part.

    Raises:
        BenchmarkError: There is no such folder.
    """
    if not path.absolute().parent.is_dir():
        raise BenchmarkError(f"--json {path}: there is no folder {path.parent}")
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomic(path, text.encode(), mode=0o644)


def show(content: Mapping[str, Any], console: Console) -> None:
    """Print a document as a table, with what was used below it."""
    kind = "simulated" if content["simulated"] else "on real data"
    form = "small form" if content["small"] else "full form"
    title = f"{content['kind']} {content['name']}, {kind}, {form}, seed {content['seed']}, {content['seconds']:.0f} s"
    table = Table(title=title, title_justify="left")
    table.add_column("figure", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("goal", no_wrap=True)
    table.add_column("met", no_wrap=True)
    for key, value in content["figures"].items():
        goal = content["goals"].get(key)
        table.add_row(
            key, format_number(value), *(("", "") if goal is None else (goal_words(goal), _met(goal)))
        )
    for key, why in content.get("absent", {}).items():
        table.add_row(key, why, "", "")
    console.print(table)
    if content["kind"] == "backtest":
        console.print("\n".join(bars(content["figures"])), markup=False, highlight=False)
    for text in content["used"]:
        console.print(f"used: {text}", style="dim", markup=False, highlight=False)


def _met(goal: Mapping[str, Any]) -> str:
    if goal["met"]:
        return "[green]yes"
    return "[red]MISSED" if goal["gating"] else "[yellow]no (reported only)"


def goal_words(goal: Mapping[str, Any]) -> str:
    """Return a goal as people read it."""
    return f"{goal['op']} {format_number(goal['value'])}"


def format_number(value: float) -> str:
    """Return a figure as people read it: three digits that count, and whole numbers in full."""
    if abs(value) < 1e-9:  # what rounding leaves of nothing
        return "0"
    if value == int(value) or abs(value) >= 1000.0:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def run_all(
    chosen: Sequence[Benchmark],
    request: Request,
    target: Path,
    console: Console,
    *,
    argv: Callable[[Benchmark, Path], Sequence[str]] | None = None,
    longest: timedelta = _LONGEST,
) -> bool:
    """Run benchmarks one after the other, each in a process of its own, and write the combined file after each.

    Entries of the file that are not chosen stay; each names its own commit and machine.

    Args:
        chosen: What to run.
        request: How; the same for all.
        target: The combined file.
        console: Where the outcome of each is told.
        argv: The command for one of them that writes its document to the path; by default ours.
        longest: After this long a run is stopped and counts as failed.

    Returns:
        Whether all of them came to a result, or were skipped for lack of data, and met every gating goal.
    """
    command = argv or (lambda each, path: _argv(each, request, path))
    kept = json.loads(target.read_text())["results"] if target.exists() else {}
    results: dict[str, Any] = dict(kept)
    sound = True
    with TemporaryDirectory() as folder:
        for each in chosen:
            path = Path(folder) / f"{each.key}.json"
            entry = _in_own_process(each, request, command(each, path), path, longest)
            # A run without its data says nothing against the figures of an earlier one that had them.
            if "skipped" not in entry or "figures" not in results.get(each.key, {}):
                results[each.key] = _without_records(entry)
            sound = sound and entry.get("ok", True)
            console.print(f"{each.key}: {verdict(entry)}", markup=False)
            _write_combined(target, results)
    return sound


def put_into(target: Path, benchmark: Benchmark, entry: Mapping[str, Any]) -> None:
    """Put a result that was made alone into the combined file, under its key; the others stay.

    Raises:
        BenchmarkError: There is no such folder.
    """
    kept = json.loads(target.read_text())["results"] if target.exists() else {}
    _write_combined(target, {**kept, benchmark.key: _without_records(entry)})


def _without_records(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "records"}


def _write_combined(target: Path, results: Mapping[str, Any]) -> None:
    write_document(
        target, {"commit": project_commit(), "machine": describe_machine(), "results": dict(results)}
    )


def verdict(entry: Mapping[str, Any]) -> str:
    """Return in a few words what became of a run."""
    if "skipped" in entry:
        return f"SKIPPED: {entry['skipped']}"
    if "error" in entry:
        return f"FAILED: {entry['error']}"
    missed = [key for key, goal in entry["goals"].items() if goal["gating"] and not goal["met"]]
    return f"MISSED: {', '.join(missed)}" if missed else f"ok, {entry['seconds']:.0f} s"


def _argv(benchmark: Benchmark, request: Request, path: Path) -> list[str]:
    words = [sys.executable, "-m", "ui.cli", benchmark.kind, benchmark.name]
    words += ["--json", str(path), "--seed", str(request.seed)]
    words += ["--small"] if request.small else []
    words += ["--data", str(request.data_dir)] if request.data_dir else []
    return words


def _in_own_process(
    benchmark: Benchmark, request: Request, argv: Sequence[str], path: Path, longest: timedelta
) -> dict[str, Any]:
    """Run one so that its memory is its own, and that a crash of it is its own."""
    spec = ProcessSpec(name=benchmark.key, argv=tuple(argv))
    process = spawn(spec)
    try:
        status = process.wait(timeout=longest.total_seconds())
    except TimeoutExpired:
        return failed(benchmark, request, f"stopped after {longest}", skipped=False)
    finally:
        stop(process, spec)
    if path.exists():
        entry: dict[str, Any] = json.loads(path.read_text())
        return entry
    return failed(benchmark, request, f"ended with status {status} and no result", skipped=False)


def run_and_write(
    benchmark: Benchmark, request: Request, target: Path | None, steps: Steps
) -> dict[str, Any]:
    """Run one benchmark and write its document, or why there is none.

    Raises:
        DataAbsentError: It needs files that were not given.
        BenchmarkError: What it returned is not a result, or the file cannot be written.
    """
    try:
        content = run_one(benchmark, request, steps)
    except BenchmarkError as error:
        if target is not None:
            skipped = isinstance(error, DataAbsentError)
            with suppress(BenchmarkError):  # the run's own fault is the one to tell
                write_document(target, failed(benchmark, request, str(error), skipped=skipped))
        raise
    if target is not None:
        write_document(target, content)
    return content
