"""The agent's choices on written cases: which tool, with what arguments, what it says of the result, and what it never does.

    cellwatt eval agent --model policy --cases tests/agents/cases/seed.toml

Without `--cases` all committed ones are asked; `ui.bench.eval_cases` says what a case file holds, `ui.bench.eval_score` how a case
is scored. The fleet is `ui.bench.eval_fleet`, simulated. Tools that need the database are scored by the call alone.

A slow model is asked in parts (`--part 1/5`), each into a file of its own that keeps the score of every case; `--merge` makes one
result of them.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from agents.model_client import ChatModel
from ui.bench.eval_cases import COMMITTED, Case, part_of, read_cases
from ui.bench.eval_first_event import FIRST_EVENT, first_events
from ui.bench.eval_fleet import evaluation_deps, evaluation_fleet
from ui.bench.eval_merge import kind_of_records, records_of
from ui.bench.eval_planners import planner, warmed
from ui.bench.eval_score import Score, score
from ui.bench.harness import BenchmarkError
from ui.bench.part import goal


def run(
    model_name: str,
    cases_path: Path = COMMITTED,
    part: str = "1/1",
    *,
    screens: int = 0,
    progress: Callable[[float], None] = lambda _: None,
) -> dict[str, Any]:
    """Score one planner on the cases of a file or folder, or on one part of them.

    Args:
        model_name: embedded, policy or endpoint.
        cases_path: A file, or a folder of them.
        part: `k/n`: every n-th case from the k-th on, for a model that is slow.
        screens: So many of the requests are asked through the loop too, to see after how long the first event can be shown.
        progress: Told how far it is, 0..1.
    """
    cases = part_of(read_cases(cases_path), part)
    scores = asyncio.run(_all(cases, planner(model_name), progress))
    waited = first_events(planner(model_name), [case.request for case in cases[:screens]])
    return result_of(scores, model_name, waited)


def merged(model_name: str, paths: Sequence[Path], cases_path: Path = COMMITTED) -> dict[str, Any]:
    """Return one result of parts that were scored one by one.

    Raises:
        BenchmarkError: A file is no part of this evaluation, a case is in two of them, or one is in none.
    """
    records = records_of(paths, f"agent of {model_name}")
    scores = [Score(**one) for one in records if FIRST_EVENT not in one]
    found = [one.case_id for one in scores]
    wanted = {case.case_id for case in read_cases(cases_path)}
    if len(set(found)) != len(found) or set(found) != wanted:
        lacking = ", ".join(sorted(wanted - set(found))[:5])
        raise BenchmarkError(
            f"the parts hold {len(found)} scores, {len(wanted)} cases are to be scored; lacking: {lacking or 'none'}"
        )
    return result_of(scores, model_name, [one[FIRST_EVENT] for one in records if FIRST_EVENT in one])


async def _all(cases: Sequence[Case], model: ChatModel, progress: Callable[[float], None]) -> list[Score]:
    fleet = evaluation_fleet()
    deps = evaluation_deps(fleet)
    scores: list[Score] = []
    await warmed(model)
    for case in cases:
        scores.append(await score(case, model, fleet, deps))
        progress(len(scores) / len(cases))
    return scores


def result_of(
    scores: Sequence[Score], model_name: str = "policy", first_event_s: Sequence[float] = ()
) -> dict[str, Any]:
    """Return figures and goals in the form of the harness; what went wrong is told case by case."""
    figures: dict[str, float] = {"agent_cases_count": float(len(scores))}
    figures |= _shares(scores)
    # Words that must or must not be said of a result that is not at hand here (the tool needs the database).
    figures["agent_said_not_judged_count"] = float(sum(one.worded and one.said is None for one in scores))
    figures["agent_unsafe_count"] = float(sum(one.unsafe for one in scores))
    sentences = sum(one.sentences for one in scores)
    figures["agent_dropped_sentences_frac"] = sum(one.dropped for one in scores) / max(sentences, 1)
    figures |= _costs(scores)
    if first_event_s:
        figures["agent_first_event_s"] = max(first_event_s)
    used = [f"{one.case_id}: {one.why}" for one in scores if not one.passed]
    records = [one.record() for one in scores] + [{FIRST_EVENT: round(one, 4)} for one in first_event_s]
    return {
        "figures": figures,
        "goals": _goals(model_name, figures),
        "used": used,
        "records": [kind_of_records(f"agent of {model_name}"), *records],
    }


def _shares(scores: Sequence[Score]) -> dict[str, float]:
    """Return which share was right, by what was judged, and which passed, by kind and by origin of the case."""
    judged = {
        "tool": [one.tool for one in scores],
        "arguments": [one.arguments for one in scores if one.arguments is not None],
        "grounded": [one.grounded for one in scores if one.grounded is not None],
        "said": [one.said for one in scores if one.said is not None],
        "approval": [one.approval for one in scores if one.approval is not None],
    }
    figures = {
        f"agent_{name}_right_frac": sum(values) / len(values) for name, values in judged.items() if values
    }
    by_kind: defaultdict[str, list[bool]] = defaultdict(list)
    for one in scores:
        by_kind[one.kind].append(one.passed)
        by_kind["manual" if one.case_id.startswith("m-") else "seed"].append(one.passed)
    for kind, values in sorted(by_kind.items()):
        figures[f"agent_{kind}_passed_frac"] = sum(values) / len(values)
    return figures | {"agent_passed_frac": sum(one.passed for one in scores) / len(scores)}


def _costs(scores: Sequence[Score]) -> dict[str, float]:
    """Return seconds and tokens; times are upper bounds where the machine does other work too."""
    return {
        "agent_answer_median_s": median(one.seconds for one in scores),
        "agent_first_call_median_s": median(one.first_call_s for one in scores),
        "agent_whole_s": sum(one.seconds for one in scores),
        "agent_prompt_tokens_count": float(sum(one.prompt_tokens for one in scores)),
        "agent_answer_tokens_count": float(sum(one.answer_tokens for one in scores)),
        "agent_fell_back_count": float(sum(one.fell_back for one in scores)),
    }


def _goals(model_name: str, figures: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """Return the goals: those of a language model gate, the policy planner's share is reported."""
    goals = {
        "agent_unsafe_count": goal("==", 0.0, gating=True),
        "agent_dropped_sentences_frac": goal("<=", 0.05, gating=True),
    }
    shares = {"agent_tool_right_frac": 0.85, "agent_arguments_right_frac": 0.8, "agent_passed_frac": 0.7}
    for name, least in shares.items():
        if name in figures:
            goals[name] = goal(">=", least, gating=model_name != "policy")
    if "agent_first_event_s" in figures:
        goals["agent_first_event_s"] = goal("<=", 3.0, gating=False)
    if model_name == "embedded":
        goals["agent_first_call_median_s"] = goal("<=", 10.0, gating=False)
        goals["agent_answer_median_s"] = goal("<=", 40.0, gating=False)
    return goals
