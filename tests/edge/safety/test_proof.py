"""The full proofs of the trusted core, hours of work on a small machine: `make proof`, or `pytest -m proof`.

`CELLWATT_PROOF_MINUTES` says how long the comparison with brute force may take (30 by default); what was compared by then
is what counts, and it is printed.
"""

import os
import re
import subprocess
import sys

import pytest

from tests.edge.safety.mutation import CORE, ROOT, mutants

pytestmark = pytest.mark.proof
MINUTES = os.environ.get("CELLWATT_PROOF_MINUTES", "30")
PLANS = 10_000
FLOOD = 1_000


def run(*words: str, **environment: str) -> str:
    """Return what a command of the project says; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    sys.stdout.write(done.stdout[-1000:])
    return done.stdout


def test_every_mutant_of_the_core_is_noticed() -> None:
    said = run("tests.edge.safety.mutation")
    assert f"{len(mutants(sorted(CORE.glob('*.py'))))} mutants, 0 survivors" in said


def test_brute_force_finds_no_accepted_plan_that_goes_wrong() -> None:
    said = run("tests.edge.safety.compare", "--plans", str(PLANS), "--seed", "1", "--minutes", MINUTES)
    found = re.search(
        r"^(\d+) plans, (\d+) accepted, (\d+) of them wrong; (\d+) safe with 5% to spare, (\d+) of them accepted$",
        said,
        re.MULTILINE,
    )
    assert found is not None, said
    plans, accepted, wrong, safe, kept = map(int, found.groups())
    assert plans >= 500  # what the small form of the issue asks for; fewer prove too little
    assert (wrong, accepted > plans // 3) == (0, True)
    assert kept >= 0.95 * safe > 0


def test_nothing_of_a_hostile_planner_reaches_a_gateway() -> None:
    test = "tests/edge/control/test_hostile.py"
    said = run("pytest", test, "-q", "-p", "no:cacheprovider", CELLWATT_FLOOD=str(FLOOD))
    assert re.search(r"^\d+ passed", said, re.MULTILINE), said
