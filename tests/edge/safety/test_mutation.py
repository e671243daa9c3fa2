"""A seeded sample of mutants of the trusted core; `make proof` runs them all."""

import ast
import subprocess
import sys

import pytest

from tests.edge.safety.mutation import CORE, ROOT, mutants, spots

SAMPLE = 6


def test_a_sample_of_mutants_is_noticed() -> None:
    command = [sys.executable, "-m", "tests.edge.safety.mutation", "--sample", str(SAMPLE), "--seed", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{SAMPLE} mutants, 0 survivors" in done.stdout


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("0 <= a < b", 2),
        ("a and b or c", 2),
        ("not a", 1),
        ("a in b", 1),
        ("a is None", 1),
        ("min(a, b)", 1),
        ("a + b", 0),
    ],
)
def test_every_spot_is_found(source: str, count: int) -> None:
    assert len(list(spots(ast.parse(source)))) == count


def test_the_whole_core_is_mutated() -> None:
    assert len(mutants(sorted(CORE.glob("*.py")))) > 400
