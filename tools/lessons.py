"""What a rejection teaches the next attempt: the gate's machine constraints in the terms of the problem. Pure."""

from edge.safety.feedback import Constraint as GateConstraint
from edge.safety.feedback import ConstraintKind, constraints
from edge.safety.verdict import Broken, Rejected, Scope
from tools.goal import Constraint

_STRICTER = 1.02  # a little further than asked, so that rounding does not bring the same rejection again


def lessons(rejected: Rejected) -> tuple[Constraint, ...]:
    """Return what to change, each place and kind once, at its largest amount."""
    why = {(one.rule, one.where): one.message for one in reversed(rejected.broken)}
    found: dict[tuple[str, str], Constraint] = {}
    for one in constraints(rejected):
        lesson = _lesson(one, why.get((one.rule, one.where), one.rule))
        key = (lesson.kind, lesson.where)
        if key not in found or found[key].amount < lesson.amount:
            found[key] = lesson
    return tuple(found.values())


def _lesson(one: GateConstraint, because: str) -> Constraint:
    amount = max(one.value, 0.0) * _STRICTER + 1.0
    at_site = one.scope is Scope.SITE
    match one.kind:
        case ConstraintKind.EXCLUDE_SITE:
            return Constraint(kind="exclude", where=one.where, because=because)
        case ConstraintKind.RAISE_FLOOR_WH | ConstraintKind.CAP_DISCHARGE_WH if at_site:
            return Constraint(kind="raise_floor", where=one.where, amount=amount, because=because)
        case ConstraintKind.CAP_DISCHARGE_W | ConstraintKind.CAP_CHARGE_W | ConstraintKind.CAP_RAMP_W if (
            at_site
        ):
            return Constraint(kind="lower_cap", where=one.where, amount=amount, because=because)
        case ConstraintKind.CAP_CHARGE_W | ConstraintKind.CAP_REBOUND_W if one.scope is Scope.FEEDER:
            return Constraint(kind="lower_feeder", where=one.where, amount=amount, because=because)
        case ConstraintKind.LIMIT_LOW_SITES:
            return Constraint(kind="limit_low", where=one.where, because=because)
        case _:
            return Constraint(kind="change_plan", where=one.where, because=because)


def in_words(broken: tuple[Broken, ...], most: int = 3) -> str:
    """Return the first broken rules as one phrase."""
    first = "; ".join(f"{one.rule} {one.message}" for one in broken[:most])
    return first if len(broken) <= most else f"{first}; and {len(broken) - most} more"
