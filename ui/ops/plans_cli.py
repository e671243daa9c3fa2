"""Plans as `cellwatt plans` shows them, from data alone: a line each, and the card that a yes or no rests on. Pure."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

from ui.console import texts
from ui.console.api_client import ApiAwayError, ApiError, Doc, LoggedOutError, RefusedError
from ui.console.formats import kilo, moment, plain, span, words

WHO_ASKS = (
    "CELLWATT_TOKEN is not set: it holds the token of your own login (POST /v1/session answers with one, good for some hours);"
    " or give --user NAME and type your password"
)
_LOGGED_OUT = "the API does not know this login, or it is over ({why}); log in again: set CELLWATT_TOKEN anew, or give --user NAME"
_REFUSED = {
    403: "you may not do this: {why}",
    404: "{why}; `cellwatt plans list` names those that wait",
    409: "this is not possible now: {why}",
    422: "the API cannot use this: {why}",
    429: "too many requests: {why}",
}
_AWAY = "the API does not answer ({why}); is CELLWATT_API_URL right, and does the installation run?"


def printable(text: str) -> str:
    """Return what a model or a person wrote as one line that gives a terminal no orders."""
    return "".join(one if one.isprintable() else " " for one in text).strip()


def lines_of(plans: Sequence[Doc], zone: ZoneInfo) -> list[str]:
    """Return a line for each plan: id, status, objective, window, sites."""
    return [
        f"{one['plan_id']}  {one['status']:<10} {words(one['objective']):<16}"
        f" {span(one['window_start'], one['window_end'], zone)}  {one['sites']} sites"
        for one in plans
    ]


def card_of(plan: Doc, zone: ZoneInfo) -> str:
    """Return a plan's card: which way and how strongly, when, where, what is left, what it costs, who must say yes."""
    rows = [
        ("plan", f"{plan['plan_id']} ({words(plan['objective'])}, {plan['status']})"),
        ("in words", printable(plan["objective_text"])),
        ("window", span(plan["window_start"], plan["window_end"], zone)),
        ("power", power_words(plan)),
        ("energy", energy_words(plan)),
        ("sites", f"{plan['sites']}, of them {plan['simulated_sites']} simulated"),
        ("reserve left", reserve_words(plan)),
        ("cost", cost_words(plan)),
        ("safety rules", rules_words(plan)),
        ("approvers", approvers_words(plan)),
        ("envelope", f"{plan['envelope_digest'][:16]}..., valid until {moment(plan['valid_until'], zone)}"),
    ]
    return "\n".join(f"{name:<13}{text}" for name, text in rows if text)


def power_words(plan: Doc) -> str:
    """Return which way energy flows and how strongly at most, W made kW: the sign, in words."""
    gives = f"discharges up to {kilo(plan['peak_discharge_w'], 'W')} (negative setpoints)"
    takes = f"charges up to {kilo(plan['peak_charge_w'], 'W')} (positive setpoints)"
    known = {"discharge": gives, "charge": takes, "charge and discharge": f"{gives}; {takes}"}
    return known.get(plan["direction"], "moves no energy by schedule")


def energy_words(plan: Doc) -> str:
    """Return how much is given and taken, Wh made kWh."""
    parts = [
        f"{kilo(plan[name], 'Wh')} {verb}"
        for name, verb in (("discharge_wh", "given"), ("charge_wh", "taken"))
        if plan[name]
    ]
    return ", ".join(parts)


def reserve_words(plan: Doc) -> str:
    """Return how many hours of backup are left above what must be kept."""
    left, kept = plain(plan["reserve_margin_h"], "h", 2), plain(plan["reserve_h"], "h", 2)
    return f"at the worst site {left} above the {kept} that it must keep"


def cost_words(plan: Doc) -> str:
    """Return what the plan is expected to cost; below zero it earns."""
    money = plan["money"]
    return "not known: no tariff" if money is None else f"{money['total']:,.2f} {money['currency']}"


def rules_words(plan: Doc) -> str:
    """Return what the newest verdict of the safety validator says."""
    if not plan["verdicts"]:
        return "not checked"
    last = plan["verdicts"][-1]
    broken = "; ".join(f"{one['rule']} {one['message']}" for one in last["doc"].get("broken", []))
    return "passed" if last["approved"] else f"BROKEN: {printable(broken)}"


def approvers_words(plan: Doc) -> str:
    """Return who must say yes, who has, how many are missing and who said no."""
    needed = texts.TIER.get(plan["tier"] or "", texts.TIER_NONE)
    parts = [f"needs {needed}" if plan["tier"] else needed]
    parts += [
        f"yes of {printable(one['approver'])}{'' if one['counts'] else ' (does not count)'}"
        for one in plan["approvals"]
    ]
    parts += [f"no of {printable(one['who'])}: {printable(one['reason'])}" for one in plan["declines"]]
    return "; ".join([*parts, f"{plan['approvals_missing']} missing"])


def in_words(error: ApiError) -> str:
    """Return what the API said as a person at a terminal reads it: what happened, then what to do."""
    form = "{why}"
    if isinstance(error, LoggedOutError):
        form = _LOGGED_OUT
    elif isinstance(error, ApiAwayError):
        form = _AWAY
    elif isinstance(error, RefusedError):
        form = _REFUSED.get(error.status, form)
    return form.format(why=printable(str(error)))
