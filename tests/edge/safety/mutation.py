"""Flips each comparison in `edge/safety`, one at a time, and runs the quick safety tests: none may live.

    python -m tests.edge.safety.mutation                  every mutant
    python -m tests.edge.safety.mutation --sample 12      a seeded sample

`<` and `<=`, `>` and `>=`, `==` and `!=`, `in` and `not in`, `is` and `is not`, `and` and `or` change places, `not x`
becomes `x`, and `min` and `max` change places. A mutant is compiled in memory in a forked child: no file is touched.
"""

import argparse
import ast
import importlib.abc
import importlib.machinery
import importlib.util
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
CORE = ROOT / "edge" / "safety"
# What needs no random search: these alone must kill every mutant.
QUICK_TESTS = (
    "test_validator.py",
    "test_eligibility.py",
    "test_plan_rules.py",
    "test_site_rules.py",
    "test_feeder_rules.py",
    "test_recharge.py",
    "test_envelope_rules.py",
    "test_outlook.py",
    "test_verdict.py",
    "test_policy.py",
    "test_approval.py",
    "test_feedback.py",
)
# Where a module's mutants most likely die; the rest runs only for those that live on.
NEAREST = {
    "battery": ("test_site_rules.py",),
    "case": ("test_plan_rules.py", "test_envelope_rules.py", "test_site_rules.py"),
    "cluster_rules": ("test_feeder_rules.py",),
    "products": ("test_site_rules.py",),
    "report": ("test_verdict.py",),
    "track": ("test_recharge.py", "test_feeder_rules.py", "test_site_rules.py"),
    **{name.removeprefix("test_").removesuffix(".py"): (name,) for name in QUICK_TESTS},
}
FLIPPED: dict[type[ast.AST], Any] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.And: ast.Or,
    ast.Or: ast.And,
}
SWAPPED = {"min": "max", "max": "min"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """The `index`-th possible change in one module."""

    module: str
    index: int
    line: int
    what: str


def spots(tree: ast.AST) -> Iterator[tuple[ast.AST, int, str]]:
    """Yield every place that can be flipped: the node, which operator of it, and what happens, in a fixed order."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            for number, op in enumerate(node.ops):
                yield node, number, f"{type(op).__name__} -> {FLIPPED[type(op)].__name__}"
        elif isinstance(node, ast.BoolOp):
            yield node, 0, f"{type(node.op).__name__} -> {FLIPPED[type(node.op)].__name__}"
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield node, 0, "not removed"
        elif isinstance(node, ast.Name) and node.id in SWAPPED:
            yield node, 0, f"{node.id} -> {SWAPPED[node.id]}"


def mutants(modules: Sequence[Path]) -> list[Mutant]:
    """Return every mutant of the modules."""
    return [
        Mutant(module=f"edge.safety.{path.stem}", index=index, line=getattr(node, "lineno", 0), what=what)
        for path in modules
        for index, (node, _, what) in enumerate(spots(ast.parse(path.read_text())))
    ]


def mutated(source: str, index: int, filename: str) -> CodeType:
    """Return the module's code with its `index`-th spot flipped."""
    tree = ast.parse(source)
    node, number, _ = list(spots(tree))[index]
    if isinstance(node, ast.Compare):
        node.ops[number] = FLIPPED[type(node.ops[number])]()
    elif isinstance(node, ast.BoolOp):
        node.op = FLIPPED[type(node.op)]()
    elif isinstance(node, ast.Name):
        node.id = SWAPPED[node.id]
    elif isinstance(node, ast.UnaryOp):
        # Keep the node: `not x` becomes `not not x`, which is the truth of x.
        node.operand = ast.UnaryOp(op=ast.Not(), operand=node.operand)
    return compile(ast.fix_missing_locations(tree), filename, "exec")


class _OneMutant(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Serves one module from changed code."""

    def __init__(self, name: str, path: Path, code: CodeType) -> None:
        self._name, self._path, self._code = name, path, code

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        return importlib.util.spec_from_loader(fullname, self, origin=str(self._path))

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = str(self._path)
        exec(self._code, module.__dict__)


def _run_child(mutant: Mutant | None, limit_s: int) -> None:
    """Run the quick tests on one mutant in this (forked) process and leave with their exit code."""
    import pytest

    signal.alarm(limit_s)  # a mutant that never ends is killed, in both senses
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    if mutant is not None:
        path = CORE / f"{mutant.module.rpartition('.')[2]}.py"
        changed = mutated(path.read_text(), mutant.index, str(path))
        sys.meta_path.insert(0, _OneMutant(mutant.module, path, changed))
    here = Path(__file__).parent
    near = NEAREST.get(mutant.module.rpartition(".")[2], ()) if mutant is not None else ()
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # plugins cost more than the tests
    options = ["-c", os.devnull, "--rootdir", str(ROOT), "-x", "-q", "--tb=no", "-p", "no:cacheprovider"]
    for names in (near, [name for name in QUICK_TESTS if name not in near]):
        code = int(pytest.main([*options, *(str(here / name) for name in names)])) if names else 0
        if code != 0:
            break
    os._exit(code)


def _spawn(mutant: Mutant | None, limit_s: int) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            _run_child(mutant, limit_s)
        finally:
            os._exit(70)
    return pid


def survivors(chosen: Sequence[Mutant], jobs: int = 2, limit_s: int = 120) -> list[Mutant]:
    """Return the mutants that every quick test lets through.

    Raises:
        RuntimeError: The quick tests fail on the unchanged core, or the core is already imported here.
    """
    if any(name.startswith("edge.safety") for name in sys.modules):
        raise RuntimeError("edge.safety is already imported: run this in a process of its own")
    _warm_up()
    if os.waitstatus_to_exitcode(os.waitpid(_spawn(None, limit_s), 0)[1]) != 0:
        raise RuntimeError("the quick tests fail on the unchanged core")
    living: list[Mutant] = []
    running: dict[int, Mutant] = {}
    waiting = list(reversed(chosen))
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            running[_spawn(mutant, limit_s)] = mutant
        pid, status = os.wait()
        if pid in running and os.waitstatus_to_exitcode(status) == 0:
            living.append(running[pid])
        running.pop(pid, None)
    return living


def _warm_up() -> None:
    """Import what every child needs and no mutant touches."""
    for name in (
        "pytest",
        "hypothesis",
        "zoneinfo",
        "edge.plan",
        "telemetry.model.site",
        "telemetry.model.reading",
    ):
        importlib.import_module(name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print survivors; exit 1 if there is one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sample", type=int, default=0, help="how many mutants, drawn by seed (0: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--module", action="append", default=[], help="only these modules, such as verdict")
    options = parser.parse_args(arguments)
    paths = sorted(path for path in CORE.glob("*.py") if not options.module or path.stem in options.module)
    chosen = mutants(paths)
    if options.sample:
        chosen = random.Random(options.seed).sample(chosen, min(options.sample, len(chosen)))
    began = time.monotonic()
    living = survivors(chosen, options.jobs)
    tell = sys.stdout.write
    for mutant in sorted(living, key=lambda one: (one.module, one.line)):
        tell(f"SURVIVED {mutant.module}:{mutant.line} {mutant.what} (spot {mutant.index})\n")
    tell(f"{len(chosen)} mutants, {len(living)} survivors, {time.monotonic() - began:.0f} s\n")
    return 1 if living else 0


if __name__ == "__main__":
    sys.exit(main())
