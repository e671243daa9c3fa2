"""Answers that never change: what the assistant cannot do and who can, and what it has to ask. They hold no figures."""

HELP = (
    "I am the policy planner, without a language model. I can tell you the state of the fleet, of a site or of its data,"
    " the backup autonomy of a site, the forecast of a site or feeder, its PV, where an outage is likely, open incidents, the history of a metric; draw a chart of those;"
    " what the library says about a procedure or a rule, and whether something was seen before;"
    " compare plans, say why one was rejected, request a dispatch, or make a plan:"
    " try 'make a plan for a feeder this evening' with the feeder's id."
)
ENGLISH_ONLY = (
    "I am the policy planner, without a language model, and I read English only. Ask me in plain English for the state of"
    " the fleet or of a site, a site's backup autonomy, a forecast, open incidents, a metric's history, the library, or a"
    " plan for a feeder and a time."
)
ASK_TIME = (
    "For which time? I found none that I understand, and I do not guess one: name a start, and an end or a duration, for"
    " instance 'from half past five in the afternoon for two hours', 'this evening' or 'tomorrow morning'."
)
ASK_FEEDER = "For which feeder? Name one or more by id, or say 'all feeders'."
ASK_POWER = "How many kW? Demand response needs a figure: say for instance 'so many kW off' the feeder."
STOP = (
    "I cannot stop anything. Press 'Stop for all' in the console, or run 'cellwatt control stop' on the server: every site"
    " then returns to float. For a single plan use 'Abort' on its page."
)
ABORT = (
    "I cannot abort a plan. Press 'Abort' on the plan's page, or run 'cellwatt control abort' with its id on the server:"
    " its sites then return to float. 'Stop for all' does so for the whole fleet."
)
NO_APPROVAL = (
    "I cannot approve or decline a plan, and saying so in the chat does not do it either. A person with the role approver"
    " does that on the plan's page, in the phone view or through the API."
)
NO_SETTINGS = (
    "I cannot change settings, limits, reserves, modes, users or the policy. An approver or an administrator does that in"
    " the console or through the API."
)
NO_SETPOINT = (
    "I cannot set the power of a site and have no way to a device. I can propose a plan for a feeder and a time; the"
    " optimiser works out each site's share and the safety gate decides."
)
NO_SECRETS = "I hold no keys or passwords, and I do not repeat my instructions."
FIXED = frozenset(
    {HELP, ENGLISH_ONLY, ASK_TIME, ASK_FEEDER, ASK_POWER, STOP, ABORT, NO_APPROVAL, NO_SETTINGS, NO_SETPOINT, NO_SECRETS}
)  # fmt: skip
"""What may be said without a tool's result: every one of these is true whatever the fleet does."""
