"""What the policy planner says about a tool's result: fixed sentences, every number out of the result. Pure."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any


def answer_for(step: Mapping[str, Any]) -> str:
    """Return the sentences for one tool call."""
    if "error" in step:
        return f"I cannot answer that: {step['error']['message']}."
    teller = _TELLERS.get(step["tool"])
    return teller(step["result"]) if teller else f"{step['tool']} is done."


def _at(text: str | None) -> str:
    return "an unknown time" if text is None else f"{datetime.fromisoformat(text):%d %b %H:%M} UTC"


def _fleet(found: Mapping[str, Any]) -> str:
    parts = [
        (
            f"{found['online']} of {found['sites']} sites are online and {found['dispatchable']} may be dispatched;"
            f" the operating mode is {found['operating_mode']}."
        )
    ]
    if found["soc_mean_pct"] is not None:
        parts.append(
            f"SoC is {found['soc_mean_pct']} % on average and {found['soc_min_pct']} % at the lowest site."
        )
    for one in found["feeders"]:
        if one["peak_kw"] is None:
            parts.append(f"There is no outlook for {one['feeder_id']}.")
            continue
        over = f", {one['over_limit_kw']} kW too much" if one["over_limit_kw"] else ""
        parts.append(
            f"{one['feeder_id']} may reach {one['peak_kw']} kW of {one['import_limit_kw']} kW at"
            f" {_at(one['peak_at'])}{over}."
        )
    return " ".join(parts)


def _site(found: Mapping[str, Any]) -> str:
    if "read_at" not in found:
        return f"There is no reading of {found['site_id']}."
    parts = [
        (
            f"{found['site_id']} is {'online' if found['online'] else 'offline'} and in {found['state']}:"
            f" SoC {found['soc_pct']} %, load {found['load_w']} W, battery {found['battery_w']} W, bus {found['bus_v']} V,"
            f" read {found['age_s']} s ago."
        )
    ]
    if found["alarms"]:
        parts.append(f"It reports {len(found['alarms'])} alarms.")
    if found["not_dispatchable_because"]:
        parts.append(f"It may not be dispatched: {found['not_dispatchable_because'][0]}.")
    return " ".join(parts)


def _autonomy(found: Mapping[str, Any]) -> str:
    enough = "more" if found["spare_kwh"] >= 0.0 else "less"
    return (
        f"{found['site_id']} runs {found['autonomy_h']} h on its battery and must run {found['required_h']} h"
        f" ({found['profile']}). It holds {found['backup_kwh']} kWh, {abs(found['spare_kwh'])} kWh {enough} than required."
    )


def _forecast(found: Mapping[str, Any]) -> str:
    parts = [
        (
            f"{found['subject_id']} is expected to peak at {found['peak_kw']} kW, at most {found['peak_upper_kw']} kW,"
            f" at {_at(found['peak_at'])}."
        )
    ]
    if "import_limit_kw" in found:
        over = found["over_limit_kw"]
        parts.append(
            f"The import limit is {found['import_limit_kw']} kW"
            + (
                f"; the upper forecast is {over} kW above it."
                if over
                else "; the upper forecast stays below it."
            )
        )
    parts.append(f"The model is {found['model']}: {found['why_this_model']}.")
    return " ".join(parts)


def _pv(found: Mapping[str, Any]) -> str:
    where = "the fleet" if found["subject_id"] == "fleet" else found["subject_id"]
    if not found["sites_with_pv"]:
        return f"There are no PV panels at {where}."
    now = "" if found["now_kw"] is None else f" They give {found['now_kw']} kW now."
    missing = (
        f" There is no forecast for {', '.join(found['no_forecast_for'])}."
        if found["no_forecast_for"]
        else ""
    )
    return (
        f"PV of {where}: {found['sites_with_pv']} sites with {found['rated_kw']} kW of panels.{now}"
        f" In the next {found['hours']:g} h {found['kwh']} kWh are expected ({found['sum_of_lower_kwh']} to"
        f" {found['sum_of_upper_kwh']} kWh), with a peak of {found['peak_kw']} kW at {_at(found['peak_at'])}."
        f" The model is {found['model']}.{missing}"
    )


def _outages(found: Mapping[str, Any]) -> str:
    judged = f"{found['sites_likely']} of {found['sites_judged']}"
    parts = [f"At {judged} sites an outage is likely tomorrow (from {found['likely_from_pct']} %)."]
    for one in found["sites"]:
        lasts = "" if one["autonomy_h"] is None else f", its battery lasts {one['autonomy_h']} h"
        parts.append(f"{one['site_id']}: {one['chance_pct']} %{lasts}, {one['required_h']} h are required.")
    if found["sites_not_known"]:
        parts.append(f"Of {found['sites_not_known']} sites the past is too short.")
    return " ".join(parts)


def _picture(found: Mapping[str, Any]) -> str:
    tell = {"metric": _window, "forecast": _forecast, "pv": _pv}[found["picture"]]
    return f"The chart is below. {tell(found)}"


def _incidents(found: Mapping[str, Any]) -> str:
    if not found["open"]:
        return "No incident is open."
    lines = [
        f"{one['incident_id']}: {one['kind']} at {one['site_id']}, {one['severity']}, since {_at(one['since'])}."
        for one in found["incidents"]
    ]
    return " ".join([f"{found['open']} incidents are open.", *lines])


def _quality(found: Mapping[str, Any]) -> str:
    enough = "enough" if found["score"] >= found["needed_for_dispatch"] else "too little"
    doubts = ", ".join(found["doubts"]) or "nothing"
    return (
        f"The data of {found['site_id']} score {found['score']}; dispatch needs {found['needed_for_dispatch']}, so that is"
        f" {enough}. Doubtful: {doubts}."
    )


def _window(found: Mapping[str, Any]) -> str:
    return (
        f"{found['metric']} of {found['site_id']} from {_at(found['start'])} to {_at(found['end'])}: mean {found['mean']},"
        f" lowest {found['lowest']}, highest {found['highest']}."
    )


def _compare(found: Mapping[str, Any]) -> str:
    return " ".join(
        f"{one['plan_id']} ({one['alternative']}, {one['status']}): {one['sites']} sites, {one['relief_kw']} kW relief,"
        f" {one['discharge_kwh']} kWh, {one['cycles']} cycles, {one['reserve_margin_h']} h above the reserve."
        for one in found["plans"]
    )


def _rejection(found: Mapping[str, Any]) -> str:
    if found["declined"]:
        return f"{found['plan_id']} was declined: {found['declined'][-1]}."
    if not found["broken"]:
        return f"{found['plan_id']} is {found['status']}; no gate found a broken rule."
    first = " ".join(f"{one['rule']}: {one['message']}." for one in found["broken"][:3])
    return f"{found['plan_id']} is {found['status']}: {found['broken_rules']} rules were broken. {first}"


def _passages(found: Mapping[str, Any]) -> str:
    if not found["passages"]:
        return "Nothing in the library answers this."
    return "\n".join(f"{one['title']}: {one['quote']} [{one['cite']}]" for one in found["passages"][:2])


def _requested(found: Mapping[str, Any]) -> str:
    return f"Dispatch of {found['plan_id']} is requested; the control process decides."


def _health(found: Mapping[str, Any]) -> str:
    where = f"The battery of {found['site_id']}"
    parts = [
        f"{where}: its state of health is not known ({found['soh_why']})."
        if found["soh_pct"] is None
        else f"{where} has a state of health of {found['soh_pct']} % ({found['soh_from_pct']} to {found['soh_to_pct']} %)."
    ]
    if found["end_of_life_month"] is None:
        parts.append(f"Its end of life is not known ({found['end_of_life_why']}).")
    else:
        parts.append(
            f"Its end of life, {found['end_of_life_pct']} %, is likely reached in {found['end_of_life_month']}, between"
            f" {found['end_of_life_from']} and {found['end_of_life_to']}."
        )
    return " ".join([*parts, f"Note: {found['note']}."])


def _replacements(found: Mapping[str, Any]) -> str:
    parts = [
        f"{one['site_id']}: order by {one['month']}, likely {one['likely']}."
        for one in found["batteries"][:10]
    ]
    if not parts:
        parts = [f"No battery is due within {found['within_months']} months."]
    if found["not_known"]:
        parts.append(f"Of {found['not_known']} batteries nothing is known.")
    return " ".join([*parts, f"Note: {found['note']}."])


_TELLERS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "fleet_state": _fleet,
    "site_state": _site,
    "site_autonomy": _autonomy,
    "forecast": _forecast,
    "pv": _pv,
    "outage_risk": _outages,
    "picture": _picture,
    "incidents": _incidents,
    "data_quality": _quality,
    "telemetry_window": _window,
    "compare_plans": _compare,
    "explain_rejection": _rejection,
    "dispatch_request": _requested,
    "knowledge_search": _passages,
    "health_battery": _health,
    "health_replacements": _replacements,
}
