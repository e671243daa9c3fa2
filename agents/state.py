"""What a run remembers between steps: ids, numbers and words, all plain JSON. Big things stay in the stores."""

from operator import add
from typing import Annotated, Any, TypedDict

Step = dict[str, Any]
"""One tool call: tool, arguments, result or error, seconds."""


class State(TypedDict, total=False):
    """A run: one chat turn, or one cycle of the automated loop.

    Attributes:
        run_id: Names everything that the run writes, so that doing it twice does it once.
        thread_id: The conversation or cycle that people see.
        kind: `chat`, `cycle` or `replan`.
        supersedes: The running plan that a re-plan is about.
        request: What the operator wrote, or why the cycle woke.
        history: Earlier turns of the thread, oldest first; long threads begin with a summary.
        reader: The role of the person who asks: as such the library is read.
        steps: Tool calls so far.
        stage: How the last node ended; routing looks at nothing else.
        topic: Which set of tools a chat turn chooses from.
        goal: A `tools.goal.PlanGoal` as JSON.
        constraints: `tools.goal.Constraint`s as JSON, from rejections.
        round: Plans tried so far, less one.
        plan_ids: The plans compared in this round.
        plan_id: The one chosen.
        tier: Who must approve it.
        asked_again: Control wants a person's approval although the policy had approved.
        requested_at: When dispatch was requested.
        outcome: What verify found, as JSON.
        notes: What an operator should know: which planner took over and why, what was dropped.
        planner: Who made the last choice.
        weighed: What a decision to do nothing was about: a feeder above its limit that no plan covers, with its figures.
        why: Why this goal, plan or non-action, in the planner's words.
        message: The answer.
    """

    run_id: str
    thread_id: str
    kind: str
    supersedes: str
    request: str
    history: list[dict[str, str]]
    reader: str
    steps: Annotated[list[Step], add]
    stage: str
    topic: str
    goal: dict[str, Any] | None
    constraints: Annotated[list[dict[str, Any]], add]
    round: int
    plan_ids: list[str]
    plan_id: str
    tier: str
    asked_again: bool
    requested_at: str
    outcome: dict[str, Any]
    notes: Annotated[list[str], add]
    planner: str
    weighed: dict[str, Any]
    why: str
    message: str
