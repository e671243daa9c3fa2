"""What the graph is given by the composition root. The callables of `tools.deps.Deps` are async where they wait."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from agents.model_client import ChatModel
from knowledge.documents import Document
from telemetry.model.clock import Clock
from telemetry.model.incident import Incident
from tools.deps import Deps


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """How long and how often. Wall time where the name says so, else domain time.

    Attributes:
        max_rounds: Plans tried when the validator rejects.
        horizon: How far ahead the automated cycle looks for a peak.
        lead: A plan's window starts at least this far ahead, so that approval and sending fit in.
        step_timeout: Wall time for one node, forecasting included.
        look_every: Between two looks at control's answer and the sites' acknowledgements.
        patience: Wall time that one look at them may take before the run is laid aside for a while.
        acknowledge_within: How long after the request control and the sites have to answer.
        grace: How long after a plan's end the telemetry is given to arrive.
        read_only_steps: Tool calls in one chat turn.
    """

    max_rounds: int = 3
    horizon: timedelta = timedelta(hours=24)
    lead: timedelta = timedelta(minutes=2)
    step_timeout: timedelta = timedelta(minutes=5)
    look_every: timedelta = timedelta(milliseconds=500)
    patience: timedelta = timedelta(seconds=20)
    acknowledge_within: timedelta = timedelta(minutes=5)
    grace: timedelta = timedelta(minutes=2)
    read_only_steps: int = 4


async def nothing_standing() -> Sequence[Mapping[str, Any]]:
    """Return no standing objective."""
    return ()


async def forget(_documents: Sequence[Document], _at: datetime) -> None:
    """Keep nothing."""


async def none_changed(_since: datetime) -> Sequence[Incident]:
    """Return no incident."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentDeps:
    """The tools, the model behind its seam, and the clock.

    `model` is the policy planner itself or a model wrapped by `model_client.WithFallback`; `extra` names further facts
    that go into a plan's provenance. `standing` returns what operators want kept true (documents with `objective_id`,
    `who`, and any of `text`, `exclude_site_ids`, `pause`), see `thread_store.ThreadStore.standing_objectives`. `remember` keeps
    incidents and decisions in the library, so that they are found again; `changed_incidents` returns those that began, ended or
    were worked on since an instant, closed ones too.
    """

    tools: Deps
    model: ChatModel
    clock: Clock
    settings: AgentSettings = field(default_factory=AgentSettings)
    extra: Mapping[str, str] = field(default_factory=dict)
    standing: Callable[[], Awaitable[Sequence[Mapping[str, Any]]]] = nothing_standing
    remember: Callable[[Sequence[Document], datetime], Awaitable[None]] = forget
    changed_incidents: Callable[[datetime], Awaitable[Sequence[Incident]]] = none_changed
