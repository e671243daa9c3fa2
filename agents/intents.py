"""The policy planner in a chat: which tool an operator's words ask for, and an answer from its result. Pure.

It reads English in plain wordings and says what it can do when it understands nothing.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from agents.answers import HELP, answer_for
from agents.model_client import Option
from agents.questions import Act, FinalAnswer, Watch
from tools.arguments import NoArguments
from tools.catalogue import SETS
from tools.compare_plans import ComparePlansArguments
from tools.dispatch_request import DispatchArguments
from tools.explain_rejection import PlanArguments
from tools.forecast import ForecastArguments
from tools.goal import PlanGoal
from tools.incidents import IncidentArguments
from tools.outlook import floor_step
from tools.site_state import SiteArguments
from tools.telemetry_window import WindowArguments

_PLAN_ID = re.compile(r"\bplan-[\w.:/-]*\w")
_PLAN = re.compile(r"\b(plan|shav\w*|reduce|relie\w*|discharg\w*|recharg\w*|charge|lower|cut)\b")
_METRICS = {
    "soc": "soc_frac", "state of charge": "soc_frac", "charge level": "soc_frac", "voltage": "bus_v", "temperature": "battery_c", "grid": "grid_w",
    "pv": "pv_w", "solar": "pv_w", "battery power": "battery_w", "load": "load_w", "consumption": "load_w",
}  # fmt: skip
_POWER = re.compile(r"\b(\d+(?:\.\d+)?) ?(kw|mw|w|watts?)\b")
_KW = {"kw": 1.0, "mw": 1e3}  # what is neither is W
_PARTS = {"morning": (6, 10), "noon": (11, 14), "afternoon": (13, 17), "evening": (17, 22), "night": (22, 24)}


def choose_tool(facts: Mapping[str, Any], options: set[str]) -> tuple[str, Option]:
    """Return the next tool, or the answer once there is a result (or an error) to tell."""
    done = facts["done"]
    if done:
        return "final_answer", FinalAnswer(text=answer_for(done[-1])[:2000])
    text = str(facts["request"]).lower()
    name, option = _intent(text, facts)
    return (name, option) if name in options else ("final_answer", FinalAnswer(text=HELP))


def choose_topic(facts: Mapping[str, Any]) -> tuple[str, Option]:
    """Return the tool set that holds the tool which the words ask for."""
    name, _ = _intent(str(facts["request"]).lower(), facts)
    return ("act", Act()) if name in SETS["act"] and name not in SETS["watch"] else ("watch", Watch())


def _intent(text: str, facts: Mapping[str, Any]) -> tuple[str, Option]:  # noqa: PLR0911 (a table of cases)
    plan_id = _PLAN_ID.search(str(facts["request"]))  # ids keep their capitals
    site_id = next((name for name in facts["site_ids"] if _named(name, text)), None)
    feeder_ids = [name for name in facts["feeder_ids"] if _named(name, text)]
    if plan_id is not None:
        return _about_plan(text, _PLAN_ID.findall(str(facts["request"])))
    if re.search(r"\b(compare|alternatives?)\b", text):
        return "compare_plans", ComparePlansArguments()
    if re.search(r"\b(incidents?|alarms?|wrong|broken|faults?|anomal\w*|problems?)\b", text):
        return "incidents", IncidentArguments(site_id=site_id)
    if site_id is not None:
        return _about_site(text, site_id, facts)
    if re.search(r"\b(forecast|expect\w*|predict\w*|peak|tomorrow)\b", text) and not _asks_for_plan(text):
        if feeder_ids:
            return "forecast", ForecastArguments(
                subject_id=feeder_ids[0], hours=48.0 if "tomorrow" in text else 24.0
            )
        return "fleet_state", NoArguments()
    if _asks_for_plan(text) and (feeder_ids or len(facts["feeder_ids"]) == 1):
        return "plan", _goal(text, tuple(feeder_ids or facts["feeder_ids"]), facts)
    if re.search(r"\b(fleet|overview|status|state|all right|ok|online|feeders?|sites?|how are)\b", text):
        return "fleet_state", NoArguments()
    return "final_answer", FinalAnswer(text=HELP)


def _named(name: str, text: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(name.lower())}(?![\w-])", text) is not None


def _asks_for_plan(text: str) -> bool:
    return _PLAN.search(text) is not None or _POWER.search(text) is not None


def _about_plan(text: str, plan_ids: list[str]) -> tuple[str, Option]:
    plan_id = plan_ids[0]
    if re.search(r"\b(dispatch|send|run|start|execute)\b", text):
        return "dispatch_request", DispatchArguments(plan_id=plan_id)
    if re.search(r"\b(why|reject\w*|refus\w*|declin\w*)\b", text):
        return "explain_rejection", PlanArguments(plan_id=plan_id)
    return "compare_plans", ComparePlansArguments(plan_ids=tuple(dict.fromkeys(plan_ids))[:4])


def _about_site(text: str, site_id: str, facts: Mapping[str, Any]) -> tuple[str, Option]:
    if re.search(r"\b(autonomy|backup|how long|hold\w*|last\b|survive)", text) and not re.search(
        r"\b(last|past) \d", text
    ):
        return "site_autonomy", SiteArguments(site_id=site_id)
    if re.search(r"\b(quality|trust|believe|completeness)\b", text):
        return "data_quality", SiteArguments(site_id=site_id)
    if re.search(r"\b(forecast|expect\w*|predict\w*|tomorrow)\b", text):
        return "forecast", ForecastArguments(subject_id=site_id)
    hours = re.search(r"\b(?:last|past) (\d+(?:\.\d+)?) ?h(?:ours?)?\b", text)
    if hours or re.search(r"\b(history|telemetry|trend|curve)\b", text):
        metric = next((value for word, value in _METRICS.items() if word in text), "load_w")
        wanted = min(max(float(hours.group(1)), 0.25), 744.0) if hours else 6.0
        return "telemetry_window", WindowArguments.model_validate(
            {"site_id": site_id, "metric": metric, "hours": wanted, "end": facts["now"]}
        )
    return "site_state", SiteArguments(site_id=site_id)


def _goal(text: str, feeder_ids: tuple[str, ...], facts: Mapping[str, Any]) -> PlanGoal:
    """Return what the words ask: recharge, a named relief, or the peak; and when."""
    start, end = window_in(text, datetime.fromisoformat(facts["earliest_start"]), str(facts["time_zone"]))
    relief = _POWER.search(text)
    relief_kw = None if relief is None else float(relief.group(1)) * _KW.get(relief.group(2), 1e-3)
    recharge = re.search(r"\brecharg\w*|\bcharge\b", text) is not None and "discharg" not in text
    objective = "recharge" if recharge else "demand_response" if relief_kw else "peak_shaving"
    return PlanGoal.model_validate(
        {
            "objective": objective,
            "feeder_ids": feeder_ids,
            "start": start,
            "end": end,
            "relief_kw": None if recharge else relief_kw,
            "why": "asked for by the operator",
        }
    )


def window_in(text: str, earliest: datetime, time_zone: str) -> tuple[datetime, datetime]:
    """Return the window that the words name, in the sites' time zone; by default the next four hours.

    Understands `from 17:00 to 19:30`, `at 6 pm for 2 hours`, `1730h`, `this evening`, `tomorrow morning`, `for 90 minutes`.
    """
    text = _on_24_hours(text)
    zone = ZoneInfo(time_zone)
    day = earliest.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    if "tomorrow" in text:
        day += timedelta(days=1)
    lasts = _duration(text)
    part = next(
        (hours for word, hours in _PARTS.items() if word in text), (22, 24) if "tonight" in text else None
    )
    times = [
        (int(h), int(m or 0)) for h, m in re.findall(r"\b([01]?\d|2[0-3])(?::([0-5]\d)| ?o'?clock)", text)
    ]
    start = earliest
    end = None
    if times:
        start = day + timedelta(hours=times[0][0], minutes=times[0][1])
        end = day + timedelta(hours=times[1][0], minutes=times[1][1]) if len(times) > 1 else None
    elif part is not None:
        start, end = day + timedelta(hours=part[0]), day + timedelta(hours=part[1])
    if end is not None and end <= start:
        end += timedelta(days=1)
    if end is not None and end <= earliest:
        start, end = start + timedelta(days=1), end + timedelta(days=1)
    start = max(start.astimezone(earliest.tzinfo), earliest)
    if lasts is not None:
        end = start + lasts
    return floor_step(start), end or start + timedelta(hours=4)


def _on_24_hours(text: str) -> str:
    """Return the text with `6 pm`, `6:30pm` and `1730h` written as 18:00, 18:30 and 17:30."""

    def afternoon(found: re.Match[str]) -> str:
        hour = int(found[1]) % 12 + (12 if found[3] == "pm" else 0)
        return f"{hour}:{found[2] or '00'}"

    text = re.sub(r"\b(1[0-2]|0?[1-9])(?::([0-5]\d))? ?(am|pm)\b", afternoon, text)
    return re.sub(r"\b([01]\d|2[0-3])([0-5]\d) ?h(?:ours|rs)?\b", r"\1:\2", text)


_NUMBER_WORDS = {
    "half an": 0.5,
    "an": 1.0,
    "one": 1.0,
    "two": 2.0,
    "three": 3.0,
    "four": 4.0,
    "five": 5.0,
    "six": 6.0,
}


def _duration(text: str) -> timedelta | None:
    words = "|".join(sorted(_NUMBER_WORDS, key=len, reverse=True))
    found = re.search(
        rf"\bfor (?:the next )?(\d+(?:\.\d+)?|{words}) ?(h|hours?|min|minutes?)(?: and a (half|quarter))?\b",
        text,
    )
    if found is None:
        return None
    number = _NUMBER_WORDS.get(found.group(1))
    amount = float(found.group(1)) if number is None else number
    hours = amount / (60.0 if found.group(2).startswith("min") else 1.0)
    hours += {"half": 0.5, "quarter": 0.25}.get(found.group(3) or "", 0.0)
    return timedelta(hours=min(max(hours, 0.25), 24.0))
