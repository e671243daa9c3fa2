"""All words of the phone's pages in one place, for translation; what is in braces is filled in.

The errors of the API itself, which these pages show too, are English wherever they come from.
"""

TEXTS = {
    "app": "CellWatt",
    "app_name": "CellWatt approvals",
    # the login
    "login": "Log in",
    "name": "Name",
    "password": "Password",
    "logout": "Log out",
    "sign_in": "Sign in with {label}",
    "not_in": "You are not signed in",
    "to_login": "Back to the login",
    "to_console": "Back to the console",
    # the list and the stop
    "plans": "Plans to decide",
    "none": "No plan waits for a decision.",
    "stop": "Stop for all",
    "stop_lead": "Every site returns to float and every plan under way ends, until somebody clears the stop.",
    "stopped": "The fleet is stopped.",
    "one_site": "{sites} site",
    "many_sites": "{sites} sites",
    # the card
    "power": "Power",
    "energy": "Energy",
    "sites": "Sites",
    "reserve": "Reserve left",
    "cost": "Cost",
    "who": "Who decides",
    "feeder": "Feeder {feeder}",
    "all_simulated": "{sites}, all simulated",
    "some_real": "{sites}, {real} real",
    "reserve_left": "at least {hours:.1f} h above what must be kept",
    "cost_is": "{money} · {cycles:.2f} cycles",
    "gives": "batteries give up to {kw:.1f} kW",
    "takes": "batteries take up to {kw:.1f} kW",
    "both": "{gives} and {takes}",
    "rests": "batteries rest",
    "out": "{kwh:.1f} kWh out",
    "in": "{kwh:.1f} kWh in",
    "no_energy": "none",
    "no_money": "not known",
    "money": "{total:.2f} {currency}",
    "feeder_is": "{without:.0f} → {with_:.0f} kW of {limit:.0f} kW",
    "tier_none": "nobody may",
    "tier_automatic": "the policy",
    "tier_one_person": "one person",
    "tier_two_persons": "two persons",
    "more_needed": ", {missing} more needed",
    "yes_from": "; yes from {names}",
    "back": "Back to the list",
    # the decision
    "approve": "Approve",
    "approve_check": "I have looked at the window, the power and the reserve",
    "decline": "Decline",
    "more": "{what} …",
    "reason": "Why",
    "approved": "Your yes is recorded.",
    "declined": "Your no is recorded.",
    "stop_done": "The stop is sent to every site.",
    "stop_refused": "The control process refused the stop.",
    "stop_pending": "The stop is ordered; the control process has not answered yet.",
    # an incident
    "incident": "{severity}: {kind} at {site}",
    "incident_state": "{state}.",
    "no_incident": "no such incident",
    # what is refused
    "tick_first": "tick the box first",
    "needs_role": "this takes the role {needed}; yours is {own}",
    "for_people": "this page is for people",
    "other_session": "the form is not this session's; go back and try again",
    "other_page": "the form came from another page",
    "unreadable": "the form cannot be read; go back and try again",
    "field_wrong": "{field}: {why}",
}


def words(key: str, **values: object) -> str:
    """Return a text with its blanks filled in."""
    return TEXTS[key].format(**values)
