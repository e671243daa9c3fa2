"""The policy planner in a chat: which tool an operator's words ask for, and an answer from its result. Pure.

It reads English in plain wordings, mends slips, asks for what is missing, and says what it can do when it understands nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agents import fixed
from agents.answers import answer_for
from agents.model_client import Option
from agents.questions import TOPICS, FinalAnswer
from agents.times import read_window
from agents.wording import continued, id_like, is_foreign, mended, named, relief_kw_in
from tools.arguments import NoArguments
from tools.catalogue import SETS
from tools.compare_plans import ComparePlansArguments
from tools.dispatch_request import DispatchArguments
from tools.explain_rejection import PlanArguments
from tools.forecast import ForecastArguments
from tools.goal import PlanGoal
from tools.health_replacements import ReplacementArguments
from tools.incidents import IncidentArguments
from tools.knowledge_search import KnowledgeArguments
from tools.outage_risk import OutageArguments
from tools.picture import PictureArguments
from tools.pv import PvArguments
from tools.site_state import SiteArguments
from tools.telemetry_window import WindowArguments

_PLAN_ID = re.compile(r"\bplan-[\w.:/-]*\w")
_PLAN = re.compile(r"\b(plan|shav\w*|reduce|relie\w*|discharg\w*|recharg\w*|charge|lower|cut|take)\b")
_METRICS = {
    "soc": "soc_frac", "state of charge": "soc_frac", "charge level": "soc_frac", "voltage": "bus_v", "temperature": "battery_c", "grid": "grid_w",
    "pv": "pv_w", "solar": "pv_w", "battery power": "battery_w", "load": "load_w", "consumption": "load_w",
}  # fmt: skip
_LIBRARY = re.compile(
    r"\b(what now|what to do|what (?:do|should) (?:i|we)|how (?:do|can|should) (?:i|we)|procedure|steps? for|(?<!your )rules?|requirement\w*|regulation\w*|"
    r"manual|library|document\w*|guideline\w*|allowed to|minimum bid|before\?|seen (?:this|that|a|an|such|it)|happened before|explain (?!plan-)|"
    r"what (?:is|are|does) (?:a |an |the )?(?:fcr|ffr|afrr|mfrr|droop|float|walk-in|autonomy rule|local lock|shadow))"
)
_HEALTH = re.compile(
    r"\b(soh|state of health|battery health|health of|healthy|worn|wear|ageing|aging|degrad\w*|end of life|remaining life|internal resistance)\b"
)
_REPLACE = re.compile(
    r"\breplac\w*\b.*\bbatter\w*|\bbatter\w*\b.*\breplac\w*|\bbatter\w*\b.*\bend of life\b|\bnew batter\w*"
)
_BACK = re.compile(r"\b(?:last|past|previous) (\d+(?:\.\d+)?) ?(h|hours?|d|days?)\b")
_PICTURE = re.compile(
    r"\b(?:charts?|graphs?|plot|diagram|pictures?)\b|^(?:please |now )?draw\b|\bdraw (?:me|us|a|an|the)\b"
)
_SUN = re.compile(r"\b(?:pv|solar|sun|sunshine|panels?|photovoltaics?)\b")
_OUTAGE = re.compile(
    r"\b(?:outages?|blackouts?|power cuts?|mains)\b.*\b(?:risks?|chances?|likely|likelihood|probab\w*|may fail|will fail)\b"
    r"|\b(?:risks?|chances?|likely|likelihood|probab\w*)\b.*\b(?:outages?|blackouts?|power cuts?|mains)\b"
)
# What nobody may have of the assistant, with what it says instead; looked for before anything else.
_NEVER: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b(password|passwords|secret|signing key|private key|api key|token)\b"), fixed.NO_SECRETS),
    (
        re.compile(r"\b(your|the|system) (instructions|prompt|system prompt)\b|\bprompt\b.*\bword for word\b"),
        fixed.NO_SECRETS,
    ),
    (re.compile(r"\bstop (?:everything|all|the fleet|now|it all)\b|\bshut (?:it |everything )?down\b|\bred button\b"), fixed.STOP),
    (re.compile(r"\b(abort|cancel|end) (?:the )?plan\b|\babort plan-|\bcancel plan-|\babort\b"), fixed.ABORT),
    (
        re.compile(r"\b(?:i|we|you|please|hereby|may|to|and|now) ?(?:may |can )?(?:approve|authorise|decline)\b|^approve\b|\bapprove (?:plan|the|it)"),
        fixed.NO_APPROVAL,
    ),
    (
        re.compile(
            r"\b(?:set|change|lower|raise|reduce|disable|switch off|turn off|loosen|edit|delete|remove|drop)\b.*"
            r"\b(reserve|limits?|policy|modes?|settings?|gate|validator|floor|users?|roles?|budget|threshold)\b"
        ),
        fixed.NO_SETTINGS,
    ),
)  # fmt: skip
_SETPOINT = re.compile(
    r"\b(?:set|put|discharge|charge|drive|run)\b.*?\b(?:to|with|at)\b.*?-?\d+(?:\.\d+)? ?(?:kw|w|watts?)\b"
)


def choose_tool(facts: Mapping[str, Any], options: set[str]) -> tuple[str, Option]:
    """Return the next tool, or the answer once there is a result (or an error) to tell."""
    done = facts["done"]
    if done:
        return _says(answer_for(done[-1])[:2000])
    name, option = _intent(facts)
    return (name, option) if name in options else _says(fixed.HELP)


def choose_topic(facts: Mapping[str, Any]) -> tuple[str, Option]:
    """Return the tool set that holds the tool which the words ask for."""
    name, _ = _intent(facts)
    topic = next((one for one in ("watch", "know", "act", "ahead") if name in SETS[one]), "watch")
    return topic, TOPICS[topic]()


def _says(text: str) -> tuple[str, Option]:
    return "final_answer", FinalAnswer(text=text)


def _intent(facts: Mapping[str, Any]) -> tuple[str, Option]:
    asked = continued(str(facts["request"]), facts.get("history", []))
    if is_foreign(asked):
        return _says(fixed.ENGLISH_ONLY)
    text = mended(asked)
    if refused := refusal_in(asked):
        return _says(refused)
    # A question: what is asked for in words, never what a quoted name says.
    return _about(re.sub(r"'[^']*'|\"[^\"]*\"", " ", text), asked, facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A request: in small letters with slips mended, as written, and the ids that it names."""

    text: str
    raw: str
    site_ids: tuple[str, ...]
    feeder_ids: tuple[str, ...]


def metric_in(text: str) -> str | None:
    """Return the metric that a text (small letters) names."""
    return next((value for word, value in _METRICS.items() if word in text), None)


def refusal_in(asked: str) -> str:
    """Return what is said to a request for what nobody may have of the assistant; empty for any other (English only)."""
    text = mended(asked)
    return next((words for pattern, words in _NEVER if pattern.search(text)), "")


def _about(text: str, raw: str, facts: Mapping[str, Any]) -> tuple[str, Option]:
    feeder_ids = named(facts["feeder_ids"], text)
    if re.search(r"\b(?:all|both|every|each)(?: the)? feeders?\b", text):
        feeder_ids = list(facts["feeder_ids"])
    asked = _Asked(
        text=text,
        raw=raw,
        site_ids=tuple(named(facts["site_ids"], text)),
        feeder_ids=tuple(feeder_ids),
    )
    for look in (_plans, _health, _library, _pictures, _outages, _sun, _incidents, _feeders, _sites):
        if found := look(asked, facts):
            return found
    if re.search(
        r"\b(fleet|overview|status|state|all right|ok|online|feeders?|sites?|towers?|how are|picture)\b", text
    ):
        return "fleet_state", NoArguments()
    return _says(fixed.HELP)


def _plans(asked: _Asked, _: Mapping[str, Any]) -> tuple[str, Option] | None:
    plan_ids = _PLAN_ID.findall(re.sub(r"'[^']*'|\"[^\"]*\"", " ", asked.raw))  # ids keep their capitals
    if plan_ids:
        return _about_plan(asked.text, plan_ids)
    if asked.site_ids and not asked.feeder_ids and _SETPOINT.search(asked.text):
        return _says(fixed.NO_SETPOINT)
    if re.search(r"\b(compare|alternatives?)\b", asked.text):
        return "compare_plans", ComparePlansArguments()
    return None


def _health(asked: _Asked, _: Mapping[str, Any]) -> tuple[str, Option] | None:
    wear, replace = _HEALTH.search(asked.text), _REPLACE.search(asked.text)
    if not (wear or replace) or re.search(r"\bhow (?:do|can|should) (?:i|we)\b", asked.text):
        return None
    if asked.site_ids:
        return "health_battery", SiteArguments(site_id=asked.site_ids[0])
    return "health_replacements", ReplacementArguments()


def _library(asked: _Asked, _: Mapping[str, Any]) -> tuple[str, Option] | None:
    if _LIBRARY.search(asked.text) and not (asked.feeder_ids and _asks_for_plan(asked.text)):
        return "knowledge_search", KnowledgeArguments(question=asked.raw[:400])
    return None


def _pictures(asked: _Asked, _: Mapping[str, Any]) -> tuple[str, Option] | None:
    named = (*asked.site_ids, *asked.feeder_ids)
    if not named or not _PICTURE.search(asked.text) or _asks_for_plan(asked.text):
        return None
    ahead = _asks_for_forecast(asked.text) or not asked.site_ids
    what = "forecast" if ahead and not _SUN.search(asked.text) else "pv" if ahead else "metric"
    given: dict[str, object] = {
        "subject_id": named[0],
        "what": what,
        "metric": metric_in(asked.text) or "load_w",
    }
    if (back := _BACK.search(asked.text)) is not None:
        given["hours"] = min(max(_hours(back), 0.25), 96.0)
    return "picture", PictureArguments.model_validate(given)


def _outages(asked: _Asked, _: Mapping[str, Any]) -> tuple[str, Option] | None:
    if _OUTAGE.search(asked.text) and not _asks_for_plan(asked.text):
        return "outage_risk", OutageArguments(site_id=next(iter(asked.site_ids), None))
    return None


def _sun(asked: _Asked, _: Mapping[str, Any]) -> tuple[str, Option] | None:
    if not _SUN.search(asked.text) or _BACK.search(asked.text) or _asks_for_plan(asked.text):
        return None
    hours = 48.0 if "tomorrow" in asked.text else 24.0
    subject = next(iter((*asked.site_ids, *asked.feeder_ids)), None)
    return "pv", PvArguments(subject_id=subject, hours=hours)


def _incidents(asked: _Asked, _: Mapping[str, Any]) -> tuple[str, Option] | None:
    if re.search(
        r"\b(incidents?|alarms?|wrong|broken|faults?|anomal\w*|problems?|odd|detected)\b", asked.text
    ):
        return "incidents", IncidentArguments(site_id=next(iter(asked.site_ids), None))
    return None


def _feeders(asked: _Asked, facts: Mapping[str, Any]) -> tuple[str, Option] | None:
    text, plan = asked.text, _asks_for_plan(asked.text)
    if asked.feeder_ids and plan and not _asks_for_forecast(text):
        return _plan(text, asked.feeder_ids, asked.site_ids, facts)
    if asked.site_ids:
        return None
    if _asks_for_forecast(text) or (re.search(r"\b(tomorrow|peak)\b", text) and not plan):
        if not asked.feeder_ids:
            return "fleet_state", NoArguments()
        hours = 48.0 if "tomorrow" in text else 24.0
        return "forecast", ForecastArguments(subject_id=asked.feeder_ids[0], hours=hours)
    if plan and not id_like(text):
        known = tuple(facts["feeder_ids"])
        return _plan(text, known, (), facts) if len(known) == 1 else _says(fixed.ASK_FEEDER)
    return None


def _sites(asked: _Asked, facts: Mapping[str, Any]) -> tuple[str, Option] | None:
    return _about_site(asked.text, asked.site_ids[0], facts) if asked.site_ids else None


def _asks_for_plan(text: str) -> bool:
    return _PLAN.search(text) is not None or relief_kw_in(text) is not None


def _asks_for_forecast(text: str) -> bool:
    return re.search(r"\b(forecast|expect\w*|predict\w*)\b", text) is not None


def _about_plan(text: str, plan_ids: list[str]) -> tuple[str, Option]:
    plan_id = plan_ids[0]
    if re.search(r"\b(dispatch|send|run|start|execute)\b", text):
        return "dispatch_request", DispatchArguments(plan_id=plan_id)
    if re.search(r"\b(why|reject\w*|refus\w*|declin\w*)\b", text):
        return "explain_rejection", PlanArguments(plan_id=plan_id)
    return "compare_plans", ComparePlansArguments(plan_ids=tuple(dict.fromkeys(plan_ids))[:4])


def _about_site(text: str, site_id: str, facts: Mapping[str, Any]) -> tuple[str, Option]:
    back = _BACK.search(text)
    if back is None and re.search(
        r"\b(autonomy|backup|how long|how many hours|hold\w*|last\b|survive|without mains|mains)", text
    ):
        return "site_autonomy", SiteArguments(site_id=site_id)
    if re.search(r"\b(quality|trust\w*|believe|completeness|good enough|reliable)\b", text):
        return "data_quality", SiteArguments(site_id=site_id)
    if re.search(r"\b(forecast|expect\w*|predict\w*|tomorrow)\b", text):
        return "forecast", ForecastArguments(subject_id=site_id)
    if back or re.search(r"\b(history|telemetry|trend|curve|course)\b", text):
        metric = metric_in(text) or "load_w"
        hours = 6.0 if back is None else _hours(back)
        return "telemetry_window", WindowArguments.model_validate(
            {"site_id": site_id, "metric": metric, "hours": min(max(hours, 0.25), 744.0), "end": facts["now"]}
        )
    return "site_state", SiteArguments(site_id=site_id)


def _hours(back: re.Match[str]) -> float:
    return float(back[1]) * (24.0 if back[2].startswith("d") else 1.0)


def _plan(
    text: str, feeder_ids: tuple[str, ...], site_ids: tuple[str, ...], facts: Mapping[str, Any]
) -> tuple[str, Option]:
    """Return what the words ask, recharge, a named relief, or the peak; or what is missing of it, asked for."""
    goal = goal_in(text, feeder_ids, site_ids, facts)
    return _says(fixed.ASK_TIME) if goal is None else ("plan", goal)


def goal_in(
    text: str, feeder_ids: tuple[str, ...], site_ids: tuple[str, ...], facts: Mapping[str, Any]
) -> PlanGoal | None:
    """Return the goal that the words name; None where they name no time that is understood."""
    earliest = datetime.fromisoformat(facts["earliest_start"])
    window = read_window(text, earliest, str(facts["time_zone"]))
    if window is None:
        return None
    relief_kw = relief_kw_in(text)
    recharge = re.search(r"\brecharg\w*|\bcharge\b", text) is not None and "discharg" not in text
    objective = "recharge" if recharge else "demand_response" if relief_kw else "peak_shaving"
    leaves_out = re.search(r"\b(without|except|leave out|not using|but not|exclud\w*|spare)\b", text)
    return PlanGoal.model_validate(
        {
            "objective": objective,
            "feeder_ids": feeder_ids,
            "start": window.start,
            "end": window.end,
            "relief_kw": None if recharge else relief_kw,
            "exclude_site_ids": site_ids if leaves_out else (),
            "why": f"asked for by the operator{'; ' if window.assumed else ''}{window.assumed}",
        }
    )
