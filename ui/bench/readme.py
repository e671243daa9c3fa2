"""Figures in documents come from the results file: blocks between markers are written and checked, never typed.

A block is `<!-- figures:NAME -->` ... `<!-- /figures -->`, NAME being a key of the results file. After the name may
stand keys of figures, then the block shows these in that order: `<!-- figures:dispatch dispatch_gap_frac -->`.
"""

import re
from collections.abc import Mapping
from typing import Any

from ui.bench.runner import format_number, goal_words

_OPEN = re.compile(r"<!-- figures:(?P<name>[a-z0-9-]+)(?P<keys>(?: [a-z0-9_]+)*) -->")
_CLOSE = "<!-- /figures -->"
_ROW = re.compile(r"\| `(?P<key>[a-z0-9_]+)` \|")

Results = Mapping[str, Any]


def faults(text: str, results: Results) -> list[str]:
    """Return what is wrong with a document's blocks, each with the figure it is about; empty when all is right."""
    found: list[str] = []
    _, problems = _walk(text, results, found)
    return [*problems, *found]


def rewritten(text: str, results: Results) -> str:
    """Return the document with every block as the results have it; a block that cannot be filled stays as it is."""
    return _walk(text, results, [])[0]


def block(name: str, keys: tuple[str, ...], results: Results) -> str:
    """Return the inside of a block.

    Raises:
        KeyError: There is no such result or figure.
    """
    result = results["results"][name]
    if "figures" not in result:
        raise KeyError(f"{name} has no figures: {result.get('skipped') or result.get('error')}")
    shown = keys or tuple(result["figures"])
    rows = [_row(key, result["figures"][key], result["goals"].get(key)) for key in shown]
    return "\n".join(
        ["", "| figure | value | goal | met |", "|---|---:|---|---|", *rows, "", _caption(result), ""]
    )


def _row(key: str, value: float, goal: Mapping[str, Any] | None) -> str:
    if goal is None:
        return f"| `{key}` | {format_number(value)} | | |"
    return f"| `{key}` | {format_number(value)} | {goal_words(goal)} | {'yes' if goal['met'] else 'no'} |"


def _caption(result: Mapping[str, Any]) -> str:
    kind = "Simulated" if result["simulated"] else "On real data"
    form = ", small form" if result["small"] else ""
    machine = result["machine"]
    where = f"{machine['cores_count']} cores of {machine['cpu']}, {machine['memory_gb']} GB, Python {machine['python']}"
    return f"{kind}{form}, seed {result['seed']}, commit {result['commit']}, {where}."


def _walk(text: str, results: Results, different: list[str]) -> tuple[str, list[str]]:
    """Return the document with its blocks filled and what stood in the way; note the rows that differ."""
    written: list[str] = []
    problems: list[str] = []
    at = 0
    while start := _OPEN.search(text, at):
        stop = text.find(_CLOSE, start.end())
        following = _OPEN.search(text, start.end())
        name = start["name"]
        if stop < 0 or (following is not None and following.start() < stop):
            problems.append(f"the block {name} is not closed")
            written.append(text[at : start.end()])
            at = start.end()
            continue
        inside = text[start.end() : stop]
        try:
            fresh = "\n" + block(name, tuple(start["keys"].split()), results)
        except KeyError as error:
            problems.append(f"the block {name} cannot be filled: {error.args[0]} is not in the results")
            fresh = inside
        different += _differences(name, inside, fresh)
        written.append(f"{text[at : start.end()]}{fresh}{_CLOSE}")
        at = stop + len(_CLOSE)
    opened = len(_OPEN.findall(text))
    # A marker that is misspelt would leave its figures unchecked.
    if (text.count("<!-- figures"), text.count("/figures -->")) != (opened, opened):
        problems.append("a marker is misspelt, or a block is opened or closed alone")
    return "".join(written) + text[at:], problems


def _differences(name: str, shown: str, fresh: str) -> list[str]:
    if shown == fresh:
        return []
    is_row = {match["key"]: line for line in shown.splitlines() if (match := _ROW.match(line))}
    should = {match["key"]: line for line in fresh.splitlines() if (match := _ROW.match(line))}
    found = [
        f"{name}: {key} is shown as {is_row.get(key, 'nothing')}, measured {should.get(key, 'nothing')}"
        for key in [*should, *(key for key in is_row if key not in should)]
        if is_row.get(key) != should.get(key)
    ]
    return found or [f"{name}: the block's words differ from what `cellwatt bench readme` writes"]
