"""Every tool that the agent may call: its arguments, what it changes, and what runs. Grouped into sets of at most eight."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tools.arguments import Arguments, NoArguments
from tools.compare_plans import ComparePlansArguments, compare_plans
from tools.data_quality import data_quality
from tools.deps import Deps
from tools.dispatch_request import DispatchArguments, dispatch_request
from tools.explain_rejection import PlanArguments, explain_rejection
from tools.fleet_state import fleet_state
from tools.forecast import ForecastArguments, forecast
from tools.goal import PlanGoal
from tools.health_battery import health_battery
from tools.health_replacements import ReplacementArguments, health_replacements
from tools.incidents import IncidentArguments, incidents
from tools.knowledge_search import KnowledgeArguments, knowledge_search
from tools.outage_risk import OutageArguments, outage_risk
from tools.picture import PictureArguments, picture
from tools.pv import PvArguments, pv
from tools.site_autonomy import site_autonomy
from tools.site_state import SiteArguments, site_state
from tools.telemetry_window import WindowArguments, telemetry_window


class SideEffect(StrEnum):
    """What calling a tool changes."""

    READ = "read"  # nothing
    PROPOSE = "propose"  # a proposed plan is kept
    REQUEST = "request"  # control is asked to look at a plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool; `run` is None for `plan`, which the graph carries out step by step."""

    name: str
    arguments: type[Arguments]
    side_effect: SideEffect
    run: Callable[[Any, Deps], Awaitable[Mapping[str, object]]] | None


def _read(
    name: str, arguments: type[Arguments], run: Callable[[Any, Deps], Awaitable[Mapping[str, object]]]
) -> Tool:
    return Tool(name=name, arguments=arguments, side_effect=SideEffect.READ, run=run)


TOOLS: Mapping[str, Tool] = {
    tool.name: tool
    for tool in (
        _read("fleet_state", NoArguments, fleet_state),
        _read("site_state", SiteArguments, site_state),
        _read("site_autonomy", SiteArguments, site_autonomy),
        _read("telemetry_window", WindowArguments, telemetry_window),
        _read("data_quality", SiteArguments, data_quality),
        _read("incidents", IncidentArguments, incidents),
        _read("forecast", ForecastArguments, forecast),
        _read("pv", PvArguments, pv),
        _read("outage_risk", OutageArguments, outage_risk),
        _read("picture", PictureArguments, picture),
        _read("knowledge_search", KnowledgeArguments, knowledge_search),
        _read("health_battery", SiteArguments, health_battery),
        _read("health_replacements", ReplacementArguments, health_replacements),
        _read("compare_plans", ComparePlansArguments, compare_plans),
        _read("explain_rejection", PlanArguments, explain_rejection),
        Tool(name="plan", arguments=PlanGoal, side_effect=SideEffect.PROPOSE, run=None),
        Tool(
            name="dispatch_request",
            arguments=DispatchArguments,
            side_effect=SideEffect.REQUEST,
            run=dispatch_request,
        ),
    )
}
SETS: Mapping[str, tuple[str, ...]] = {
    "watch": (
        "fleet_state",
        "site_state",
        "site_autonomy",
        "telemetry_window",
        "data_quality",
        "incidents",
        "forecast",
        "knowledge_search",
    ),
    "act": ("fleet_state", "forecast", "plan", "compare_plans", "explain_rejection", "dispatch_request"),
    "ahead": ("pv", "outage_risk", "picture", "forecast", "site_autonomy", "fleet_state"),
    "know": ("knowledge_search", "incidents", "health_battery", "health_replacements"),
}
