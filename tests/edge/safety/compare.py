"""Compares the validator with brute force on random and adversarial plans (simulated).

    python -m tests.edge.safety.compare --plans 10000 --seed 1 --jobs 2 --minutes 30

With `--minutes` no new plans are begun after that; how many were compared is told, never how many were asked for.

Every second plan is adversarial: scaled up until the validator only just accepts it, which is where it would be wrong.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from random import Random

from edge.plan import Plan
from edge.safety.limits import FleetState, Limits
from edge.safety.validator import validate
from edge.safety.verdict import Approved
from tests.edge.safety.brute_force import breaches
from tests.edge.safety.examples import NOW
from tests.edge.safety.scenarios import random_case, scaled

SLACK = 0.05  # a plan counts as safe beyond doubt if every limit could be this much tighter


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What was found: `wrong` are accepted plans that go wrong, by number and what goes wrong."""

    plans: int
    accepted: int
    wrong: tuple[tuple[int, tuple[str, ...]], ...]
    safe: int
    safe_accepted: int
    refused_for: tuple[str, ...]


def compare(plans: int, seed: int, *, first: int = 0, trust_all: bool = False) -> Comparison:
    """Return how validator and brute force agree on `plans` plans; with `trust_all` every plan counts as accepted."""
    wrong, refused_for = [], []
    accepted = safe = safe_accepted = 0
    for number in range(first, first + plans):
        plan, state, limits = a_case(number, seed)
        verdict = validate(plan, state, limits, NOW)
        passed = trust_all or isinstance(verdict, Approved)
        bad = breaches(plan, state, limits)
        accepted += passed
        if passed and bad:
            wrong.append((number, tuple(sorted(bad))))
        if not bad and not breaches(plan, state, limits, SLACK):
            safe += 1
            safe_accepted += passed
            if not passed:
                refused_for += [f"{one.rule} {one.name}" for one in getattr(verdict, "broken", ())]
    return Comparison(
        plans=plans,
        accepted=accepted,
        wrong=tuple(wrong),
        safe=safe,
        safe_accepted=safe_accepted,
        refused_for=tuple(refused_for),
    )


def a_case(number: int, seed: int) -> tuple[Plan, FleetState, Limits]:
    """Return one case: as it came, scaled down, or (every second one) at the edge of what is accepted."""
    random = Random(f"{seed}-{number}")
    plan, state, limits = random_case(random)
    if number % 2:
        return at_the_edge(plan, state, limits), state, limits
    return (scaled(plan, random.uniform(0.05, 0.6)) if number % 4 else plan), state, limits


def at_the_edge(plan: Plan, state: FleetState, limits: Limits) -> Plan:
    """Return the plan scaled to the most that the validator accepts, found by halving."""
    low, high = 0.0, 1.5
    for _ in range(10):
        middle = (low + high) / 2.0
        if isinstance(validate(scaled(plan, middle), state, limits, NOW), Approved):
            low = middle
        else:
            high = middle
    return scaled(plan, low)


def _part(task: tuple[int, int, int]) -> Comparison:
    plans, seed, first = task
    return compare(plans, seed, first=first)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was found; exit 1 if an accepted plan goes wrong or too few safe plans are accepted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plans", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no more after so long")
    options = parser.parse_args(arguments)
    size = 25
    tasks = [(min(size, options.plans - at), options.seed, at) for at in range(0, options.plans, size)]
    parts: list[Comparison] = []
    ends = time.monotonic() + 60.0 * options.minutes
    with ProcessPoolExecutor(options.jobs) as pool:
        while tasks and (not parts or time.monotonic() < ends):
            parts += pool.map(_part, tasks[: options.jobs])
            del tasks[: options.jobs]
    wrong = [one for part in parts for one in part.wrong]
    safe, kept = sum(part.safe for part in parts), sum(part.safe_accepted for part in parts)
    for number, what in wrong:
        sys.stdout.write(f"WRONG plan {number} (seed {options.seed}): {', '.join(what)}\n")
    for reason in sorted({reason for part in parts for reason in part.refused_for}):
        sys.stdout.write(f"refused though safe: {reason}\n")
    sys.stdout.write(
        f"{sum(part.plans for part in parts)} plans, {sum(part.accepted for part in parts)} accepted, {len(wrong)} of them wrong; "
        f"{safe} safe with {SLACK:.0%} to spare, {kept} of them accepted\n"
    )
    return 1 if wrong or kept < 0.95 * safe else 0


if __name__ == "__main__":
    sys.exit(main())
