"""`cellwatt bench | backtest | eval`: their arguments, and what they call."""

import argparse
import json
import sys
from pathlib import Path

from ui.bench.harness import BenchmarkError, Request

RESULTS = Path("benchmarks/results.json")
README = Path("README.md")
_WORDS = {
    "bench": "measure a part of the system, print figures and goals (exit 1: a gating goal is missed)",
    "backtest": "score forecasts and plans on your own files (--data DIR)",
    "eval": "score the agent on written cases",
}


def add_bench_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the three commands."""
    for kind, words in _WORDS.items():
        _add(commands, kind, words)


def _add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", kind: str, words: str) -> None:
    one = commands.add_parser(
        kind, help=words, description=f"{words[0].upper()}{words[1:]}. Without a name: what there is."
    )
    one.add_argument("name", nargs="?", default="list", help="what to run" + _special(kind))
    one.add_argument("--json", type=Path, metavar="FILE", help="write the result there")
    one.add_argument("--seed", type=int, default=7, help="of everything random (default: %(default)s)")
    one.add_argument("--small", action="store_true", help="the small form: seconds instead of minutes")
    one.add_argument(
        "--data", type=Path, metavar="DIR", help="your files; what needs them is skipped without"
    )
    one.add_argument("--sites", type=int, help="another number of sites")
    if kind == "bench":
        one.add_argument("--only", metavar="A,B", help="with `all`: run these and keep the other results")
        one.add_argument(
            "--file", type=Path, action="append", help=f"with `readme`: documents (default: {README})"
        )
    if kind == "eval":
        one.add_argument(
            "--model", help="embedded, policy or endpoint; for attacks also stub, which obeys every order"
        )
        one.add_argument(
            "--cases",
            type=Path,
            metavar="FILE",
            help="other cases than the committed ones (a file or folder)",
        )
        one.add_argument(
            "--part", metavar="K/N", help="only every N-th case from the K-th on, for a slow model"
        )
        one.add_argument(
            "--merge", metavar="F1,F2", help="ask nothing: make one result of parts written with --json"
        )
        one.add_argument(
            "--results", type=Path, metavar="FILE", help="put the whole result into this combined file too"
        )
    one.set_defaults(run=run_bench, kind=kind)


def _special(kind: str) -> str:
    if kind != "bench":
        return ""
    return "; `all`: everything but the soaks, into one file; `readme`: write the results' figures into README.md"


def run_bench(args: argparse.Namespace) -> int:
    """Run one of the commands; return its exit status."""
    try:
        return _run_bench(args)
    except KeyboardInterrupt:
        return 130


def _run_bench(args: argparse.Namespace) -> int:
    if args.sites is not None and args.sites < 1:
        raise BenchmarkError("--sites needs one or more")
    if args.name == "list":
        return _list(args.kind)
    if args.kind == "bench" and args.name == "readme":
        return _readme(args.json or RESULTS, args.file or [README])
    options = {
        key: str(value)
        for key in ("model", "cases", "part", "merge")
        if (value := getattr(args, key, None)) is not None
    }
    request = Request(
        seed=args.seed, small=args.small, data_dir=args.data, sites=args.sites, options=options or None
    )
    if args.kind == "bench" and args.name == "all":
        return _all(request, args.json or RESULTS, args.only)
    return _one(args.kind, args.name, request, args.json, getattr(args, "results", None))


def _list(kind: str) -> int:
    from ui.bench.registry import benchmarks

    for each in benchmarks():
        if each.kind == kind:
            print(f"{each.name:<12} {each.summary}{' (simulated)' if each.simulated else ''}")
    return 0


def _one(kind: str, name: str, request: Request, target: Path | None, combined: Path | None = None) -> int:
    from rich.console import Console

    from ui.bench.registry import find_for_model
    from ui.bench.runner import put_into, run_and_write, show
    from ui.ops.steps import steps_for

    options = request.options or {}
    if combined is not None and {"part", "cases"} & options.keys():
        raise BenchmarkError("--results takes whole results of the committed cases; join parts with --merge")
    own = find_for_model(kind, name, options.get("model"), strict=combined is not None)
    steps = steps_for()
    try:
        content = run_and_write(own, request, target, steps)
    finally:
        steps.close()
    if combined is not None:
        put_into(combined, own, content)
    # A pipe has no width: the table is then as wide as its longest key needs.
    show(content, Console(width=None if sys.stdout.isatty() else 160))
    return 0 if content["ok"] else 1


def _all(request: Request, target: Path, only: str | None) -> int:
    from rich.console import Console

    from ui.bench.registry import selected
    from ui.bench.runner import run_all

    if request.sites is not None:
        raise BenchmarkError("--sites fits one benchmark, not all of them")
    chosen = selected(only)
    target.parent.mkdir(parents=True, exist_ok=True)
    return 0 if run_all(chosen, request, target, Console()) else 1


def _readme(source: Path, documents: list[Path]) -> int:
    from ui.bench.readme import faults, rewritten

    if not source.exists():
        raise BenchmarkError(f"there is no {source}; `cellwatt bench all --json {source}` makes it")
    results = json.loads(source.read_text())
    left: list[str] = []
    for path in documents:
        old = path.read_text()
        new = rewritten(old, results)
        if new != old:
            path.write_text(new)
        print(f"{path}: {'written anew' if new != old else 'unchanged'}")
        left += [f"{path}: {fault}" for fault in faults(new, results)]
    print("\n".join(left), end="\n" if left else "", file=sys.stderr)
    return 1 if left else 0
