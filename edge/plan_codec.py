"""Plan to JSON document and back, exactly: what is stored is what was planned, and nothing else can be read.

The document is the plan field by field; instants are ISO 8601 in UTC. Reading is strict by a round trip: a document
that is not, value by value, what the plan that it yields would be written as is refused. So a misspelt, unknown or
missing key, a wrong type and an instant in another form are all errors.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from math import isfinite
from typing import Any

import msgspec

from edge.plan import Plan, PlanStatus
from telemetry.model.errors import ControlError

PlanDoc = dict[str, Any]


class PlanDocError(ControlError):
    """A document holds no plan, or a plan has no document; the message says what is wrong."""


def plan_to_doc(plan: Plan) -> PlanDoc:
    """Return the document of a plan.

    Raises:
        PlanDocError: A number is not finite, or an instant is not aware.
    """
    doc: PlanDoc = _plain(msgspec.to_builtins(plan, builtin_types=(datetime,)))
    return doc


def plan_from_doc(doc: Mapping[str, Any], status: PlanStatus | None = None) -> Plan:
    """Return the plan that a document holds.

    Args:
        doc: As `plan_to_doc` wrote it; JSON's whole numbers are taken for doubles.
        status: Where the plan is now; by default what the document says.

    Raises:
        PlanDocError: Anything in it is not as it would have been written.
    """
    try:
        plan = msgspec.convert(doc, Plan)
        again = plan_to_doc(plan)
    except (msgspec.ValidationError, ValueError, OverflowError) as error:
        raise PlanDocError(f"no plan: {error}") from error
    if again != doc:
        raise PlanDocError(f"no plan: {_first_difference(doc, again, '$')}")
    return plan if status is None else replace(plan, status=status)


def record_of(value: object) -> Any:
    """Return any of our values as JSON for a record that people read; what is not finite becomes its name."""
    return _plain(msgspec.to_builtins(value, builtin_types=(datetime,), str_keys=True), strict=False)


def _plain(value: Any, *, strict: bool = True) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item, strict=strict) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, strict=strict) for item in value]
    if isinstance(value, str):
        return _plain_text(value, strict=strict)
    if isinstance(value, float):
        return _plain_number(value, strict=strict)
    return _plain_instant(value) if isinstance(value, datetime) else value


def _plain_text(text: str, *, strict: bool) -> str:
    if "\0" not in text and (text.isprintable() or not _lone_surrogate(text)):
        return text
    if strict:
        raise PlanDocError("a text holds what no database can store")
    return text.replace("\0", "?").encode("utf-8", "replace").decode()


def _plain_number(number: float, *, strict: bool) -> float | str:
    if isfinite(number):
        return number + 0.0  # minus zero does not survive a database's JSON
    if strict:
        raise PlanDocError(f"a plan needs finite numbers, not {number}")
    return str(number)


def _plain_instant(at: datetime) -> str:
    if at.tzinfo is None:
        raise PlanDocError(f"instant {at} is not aware")
    return at.astimezone(UTC).isoformat()


def _lone_surrogate(text: str) -> bool:
    return any("\ud800" <= letter <= "\udfff" for letter in text)


def _first_difference(found: Any, expected: Any, path: str) -> str:
    if isinstance(found, Mapping) and isinstance(expected, Mapping):
        for key in sorted({*found, *expected}, key=str):
            if key not in expected:
                return f"unknown key {path}.{key}"
            if key not in found:
                return f"missing key {path}.{key}"
            if found[key] != expected[key]:
                return _first_difference(found[key], expected[key], f"{path}.{key}")
    if isinstance(found, list) and isinstance(expected, list):
        for index, (one, other) in enumerate(zip(found, expected, strict=False)):
            if one != other:
                return _first_difference(one, other, f"{path}[{index}]")
    return f"{path} is {found!r:.80}, expected {expected!r:.80}"
