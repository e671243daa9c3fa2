"""Every word of the console in one place. A translation is a module with the same names."""

# --- everywhere ---
APP = "CellWatt"
SIMULATED = "simulated"
ALL_SIMULATED = "Every site shown here is **simulated**."
SOME_SIMULATED = "{count} of {sites} sites shown here are **simulated**."
TIMES_IN = "Times: {zone}"
LOG_OUT = "Log out"
WHO = "{name} · {role}"
RETRY = "Try again"
LOADING = "Asking the API …"
REASON = "Reason (kept in the audit trail)"
REASON_SHORT = "Give a reason of at least three letters."
OPEN = "Open"
BACK = "Back to the list"
NOBODY = "nobody"
MODE = "operating mode: {mode}"
STOPPED = "**A stop for all is in force.** Every site holds at float; nothing is dispatched until somebody clears it."
NO_SITES = (
    "There is no site yet. Start simulated ones with `cellwatt up`, or register sites (`cellwatt --help`)."
)

# --- errors: what happened, what to do ---
SESSION_OVER = "Your session is over. Log in again to go on."
API_AWAY = (
    "The API does not answer ({why}). What you see may be old. Wait a moment and reload;"
    " if it stays so, run `cellwatt status` and `cellwatt doctor` on the server."
)
MAY_NOT = "You may not do that: {why}. Ask somebody who has the role."
NOT_THERE = "It is not there (any more): {why}. Go back to the list."
NOT_NOW = "Not possible now: {why}. Look again at its state before you go on."
TOO_FAST = "Too many requests: {why}. Wait a few seconds."
WRONG_INPUT = "The API did not accept that: {why}. Correct it and try again."
NO_API = "CELLWATT_API_URL is not set, so this console does not know where the API is. Start it with `cellwatt console`."

# --- login ---
LOGIN_TITLE = "CellWatt"
LOGIN_LEAD = "The backup batteries of cellular base stations as a fleet, never spending the backup."
LOGIN_NAME = "Name"
LOGIN_PASSWORD = "Password"  # noqa: S105 a label
LOGIN_BUTTON = "Log in"
LOGIN_HINT = (
    "`cellwatt up` prints the first login. Five wrong passwords lock an account for a quarter of an hour."
)
LOGIN_EMPTY = "Give a name and a password."

# --- stop for all ---
STOP = "Stop for all"
STOP_TITLE = "Stop every site?"
STOP_LEAD = (
    "Every site returns to float and every running plan is over. Nothing is dispatched again until an approver"
    " clears the stop. Sites that are offline obey when they come back."
)
STOP_CONFIRM = "Stop every site now"
STOP_CANCEL = "Cancel"
CLEAR = "Clear the stop"
CLEAR_TITLE = "Let the fleet take commands again?"
CLEAR_LEAD = "Sites take commands again. No plan is taken up again: what is still needed is planned anew."
CLEAR_CONFIRM = "Clear the stop now"
ORDER_DONE = {
    "stop": "Stopped. Every site has been told to return to float.",
    "clear": "Cleared. Sites take commands again.",
    "abort": "Aborted. The plan's sites have been released.",
    "mode": "The site's mode is changed.",
}
ORDER_REFUSED = "The control process refused: {why}."
ORDER_PENDING = (
    "Asked (order {number}); the control process has not answered yet. Look at the audit trail, and make sure that"
    " `cellwatt control` runs."
)

# --- pages ---
PAGE_FLEET = "Fleet"
PAGE_SITE = "Site"
PAGE_CHAT = "Chat"
PAGE_PLANS = "Plans"
PAGE_AUDIT = "Control log"
PAGE_INCIDENTS = "Incidents"
PAGE_FORECASTS = "Forecasts"
PAGE_QUALITY = "Data quality"
PAGE_SETTINGS = "Settings"
SECTION_NOW = "Now"
SECTION_ACT = "Ask and act"
SECTION_TRUST = "Can I believe it?"

# --- fleet ---
FLEET_QUESTION = "Is everything all right?"
FLEET_SITES = "Online"
FLEET_SITES_OF = "{online} of {sites}"
FLEET_LOAD = "Load"
FLEET_GRID = "From the grid"
FLEET_AVAILABLE = "Available power"
FLEET_AVAILABLE_HELP = "Discharge that batteries and loads allow while there is energy above the reserve."
FLEET_SPARE = "Energy above the reserve"
FLEET_SPARE_HELP = "What batteries hold beyond the backup that every site must keep."
FLEET_BELOW = "Below reserve"
FLEET_MAP = "Where they are"
FLEET_MAP_NOTE = (
    "Place is longitude and latitude; no map tiles are fetched. Shape and colour both say the state."
)
FLEET_TABLE = "Sites"
FLEET_TABLE_FILTER = "State"
FLEET_TABLE_HINT = "Select a row to open the site."
FLEET_NONE_IN_STATE = "No site is in this state. Choose another state above."
FLEET_BACKUP = "Hours of backup"
FLEET_BACKUP_NOTE = "How long each battery carries its site at the upper load forecast."
FLEET_BACKUP_NONE = "No site has reported its battery yet. Wait for the first readings."
FLEET_WORST = "Least margin over the reserve"
FLEET_FEEDERS = "Feeders: import against limit"
FLEET_FEEDERS_NONE = "No feeder is registered, so nothing can be said about the grid's limits."
FLEET_PLANS = "Active plans"
FLEET_PLANS_NONE = "No plan is active. Ask for one in the chat, or wait for the automated cycle."
FLEET_INCIDENTS = "Open incidents"
FLEET_INCIDENTS_NONE = "No incident is open."
FLEET_AGE = "Fleet at {at}, refreshed every {every} s"

COLUMN = {
    "site_id": "Site",
    "name": "Name",
    "state": "State",
    "mode": "Mode",
    "feeder_id": "Feeder",
    "load_kw": "Load, kW",
    "battery_kw": "Battery, kW (+ charging)",
    "soc_pct": "SoC, %",
    "autonomy_h": "Backup, h",
    "margin_h": "Above reserve, h",
    "spare_kwh": "Spare, kWh",
    "incidents": "Incidents",
    "simulated": "Simulated",
    "subject_id": "Site or feeder",
    "model": "Model",
    "made": "Made",
    "reach_h": "Reaches, h",
    "reason": "Why this model",
    "version": "Version",
    "score": "Score",
    "doubts": "Doubts",
    "count": "Messages",
    "last": "Last",
    "plan_id": "Plan",
    "status": "Status",
    "objective": "Objective",
    "window": "Window",
    "sites": "Sites",
    "created": "Made",
    "kind": "Kind",
    "severity": "Severity",
    "since": "Since",
    "assignee": "Assigned to",
    "at": "At",
    "who": "Who",
    "action": "Action",
    "subject": "Of",
    "detail": "What changed",
    "verdict": "Verdict",
    "sent": "Sent",
    "acknowledged": "Acknowledged",
    "read_back_v": "Read back, V",
    "limited_wh": "Lost to limits, Wh",
    "seq": "No.",
    "role": "Role",
    "rule": "Rule",
    "message": "What is wrong",
    "where": "Where",
    "direction": "Direction",
    "discharge_kwh": "Discharge, kWh",
    "relief_kw": "Relief, kW",
    "active": "Active",
    "locked": "Locked until",
    "label": "Label",
    "expires": "Expires",
    "revoked": "Withdrawn",
    "token_id": "Token",
    "chosen": "Chosen",
    "alternative": "Alternative",
    "peak_kw": "Peak, kW",
    "reserve_margin_h": "Above reserve, h",
}
STATE = {
    "float": "float",
    "dispatch": "dispatch",
    "recharge": "recharge",
    "outage": "outage",
    "recovery": "recovery",
    "fault": "fault",
    "offline": "offline",
    "unknown": "unknown",
}
FLEET_FEEDERS_UNKNOWN = "The other load of {feeders} is not known, so its import is not either."
