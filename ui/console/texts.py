"""Every word of the console in one place. A translation is a module with the same names."""

# --- everywhere ---
APP = "CellWatt"
SIMULATED = "simulated"
ALL_SIMULATED = "all sites simulated"
SOME_SIMULATED = "{count} of {sites} sites simulated"
TIMES_IN = "Times: {zone}"
LOG_OUT = "Log out"
WHO = "{name} · {role}"
RETRY = "Try again"
LOADING = "Asking the API …"
ACTING = "Doing it, and waiting for the answer …"
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
LOGIN_PROVIDER = "Sign in with {label}"
LOGIN_NOT_SIGNED_IN = "The sign-in did not come to its end: it took too long, or began in another browser. Try again, or log in by password."

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
PAGE_HEALTH = "Battery health"
PAGE_QUALITY = "Data quality"
PAGE_KNOWLEDGE = "Library"
PAGE_SETTINGS = "Settings"
SECTION_NOW = "Now"
SECTION_ACT = "Ask and act"
SECTION_TRUST = "Can I believe it?"

# --- knowledge ---
KNOWLEDGE_QUESTION = "What did people write down about this?"
KNOWLEDGE_ASK = "Ask in your own words"
KNOWLEDGE_EXAMPLE = "rectifier alarm after a thunderstorm"
KNOWLEDGE_KIND = "Kind"
KNOWLEDGE_KINDS = {
    "": "everything",
    "procedure": "procedures",
    "note": "notes",
    "market": "market rules",
    "incident": "incidents",
    "decision": "decisions",
    "manual": "manual",
}
KNOWLEDGE_SEARCH = "Search"
KNOWLEDGE_NOT_FOUND = "Nothing in the library answers that. Try other words, or another kind."
KNOWLEDGE_PLACE = "{document}, {section}"
KNOWLEDGE_OPEN = "Read it whole"
KNOWLEDGE_UPLOAD = "Add documents"
KNOWLEDGE_UPLOAD_LEAD = (
    "Markdown, text, PDF, Word or CSV, at most 20 MB each. A file of the same name replaces the one before;"
    " a file with the same text as another is left out. Everybody with your role can find it."
)
KNOWLEDGE_FILES = "Files"
KNOWLEDGE_TAKE_IN = "Take into the library"
KNOWLEDGE_TAKING = "Reading {name} …"
KNOWLEDGE_OUTCOMES = {
    "added": "added",
    "replaced": "replaced the one before",
    "unchanged": "was there already",
    "twin": "left out: another document has the same text",
}
KNOWLEDGE_WHO_UPLOADS = "Adding documents takes the role operator."
KNOWLEDGE_ALL = "All documents ({count})"
KNOWLEDGE_NONE = "The library is empty. Add documents above, or run `cellwatt import documents FOLDER`."
KNOWLEDGE_HINT = "Select a row to read the document."
KNOWLEDGE_ABOUT = "{document} · {kind} · for {role} and above · taken in {at}"
KNOWLEDGE_REMOVE = "Remove"
KNOWLEDGE_REMOVE_LEAD = (
    "The document and its passages leave the library; the audit trail keeps who removed it."
)
KNOWLEDGE_REMOVE_CONFIRM = "Remove it now"
KNOWLEDGE_REMOVED = "Removed from the library."

# --- fleet ---
FLEET_QUESTION = "Is everything all right?"
FLEET_SITES = "Online"
FLEET_SITES_OF = "{online} of {sites}"
FLEET_LOAD = "Load"
FLEET_GRID = "From the grid"
FLEET_AVAILABLE = "Available"
FLEET_AVAILABLE_HELP = "Discharge that batteries and loads allow while there is energy above the reserve."
FLEET_SPARE = "Spare energy"
FLEET_SPARE_HELP = "What batteries hold beyond the backup that every site must keep."
FLEET_BELOW = "Below reserve"
FLEET_MAP = "Where they are"
FLEET_MAP_NOTE = (
    "Place is longitude and latitude; no map tiles are fetched. Shape and colour both say the state."
)
FLEET_DECK_NOTE = (
    "Colour says the state, and what is in trouble is larger: {states}. The map comes from the server that this installation"
    " names; without it the sites remain."
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
FLEET_PLAN = "{objective}, {window}, sites: {sites}"
FLEET_PLANS_NONE = "No plan is active. Ask for one in the chat, or wait for the automated cycle."
FLEET_ALERT = "{left}: {kind} at {subject} ({severity})"
FLEET_MORE_ALERTS = "{count} more stand under Incidents."
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
    "reason": "Reason",
    "why_model": "Why this model",
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
    "oidc_subject": "Subject at the provider",
    "label": "Label",
    "expires": "Expires",
    "target": "To",
    "service": "By",
    "at_least": "From severity",
    "kinds": "Kinds",
    "title": "Message",
    "made_at": "Made at",
    "attempts": "Attempts",
    "ok": "Arrived",
    "document": "Document",
    "in_time": "In",
    "due": "Expected at",
    "says": "What",
    "forecasts": "Forecasts",
    "subjects": "Sites or feeders",
    "mae": "Mean error, W",
    "wape_pct": "Error of load, %",
    "over_naive": "Against last week",
    "covered_80_pct": "In the 80 % band, %",
    "covered_95_pct": "In the 95 % band, %",
    "document_id": "Document",
    "written": "Written",
    "taken_in": "Taken in",
    "outcome": "What became of it",
    "passages": "Passages",
    "revoked": "Withdrawn",
    "token_id": "Token",
    "chosen": "Chosen",
    "alternative": "Alternative",
    "peak_kw": "Peak, kW",
    "reserve_margin_h": "Above reserve, h",
    "tier": "Tier",
    "most_kw": "Power, at most kW",
    "most_sites": "Sites, at most",
    "depth_pct": "Discharge, at most %",
    "objectives": "Objectives",
    "modes": "Operating modes",
    "which": "Which",
    "valid_h": "Approval lasts, h",
    "answers": "Answers",
    "tokens": "Tokens",
    "money": "Money",
    "replace_by": "Replace by",
    "likely": "Likely at its end",
    "latest": "At the latest",
    "soh": "State of health",
    "resistance_mohm": "Resistance, mΩ",
    "cycles_28": "Full cycles in 28 d",
    "wear_pct": "Wear, % of life a year",
    "battery_c": "Mean battery, °C",
}
# --- words of the API, as people read them ---
AGO = "{length} ago"
NOW = "now"
MODES = {"monitor": "monitor", "shadow": "shadow", "remote": "remote"}
OPERATING_MODES = {"normal": "normal", "storm": "storm", "emergency": "emergency"}
STATUS = {
    "proposed": "proposed",
    "validated": "validated",
    "rejected": "rejected",
    "approved": "approved",
    "declined": "declined",
    "dispatched": "dispatched",
    "completed": "completed",
    "aborted": "aborted",
}
VERDICT = {
    "accepted": "accepted",
    "limited": "limited",
    "superseded": "superseded",
    "expired": "expired",
    "refused": "refused",
    "completed": "completed",
    "waiting": "waiting",
}
SEVERITY = {"critical": "critical", "warning": "warning", "info": "info"}
INCIDENT_STATE = {"open": "open", "acknowledged": "acknowledged", "closed": "closed"}
OBJECTIVE_KINDS = {
    "peak_shaving": "peak shaving",
    "demand_response": "demand response",
    "arbitrage": "arbitrage",
    "grid_reserve": "grid reserve",
    "emergency_support": "emergency support",
    "recharge": "recharge",
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
FLEET_INCIDENT = "{severity}: {kind} at {site}, {age}"
FLEET_FEEDERS_UNKNOWN = "The other load of {feeders} is not known, so its import is not either."

# --- site ---
SITE_QUESTION = "What is happening here?"
SITE_CHOOSE = "Site"
SITE_UNKNOWN = "There is no site {site}. Choose one from the list."
SITE_SILENT = "This site has not sent a reading yet. Look at its gateway and its link; `cellwatt doctor` checks the broker."
SITE_MODE = "mode {mode}"
SITE_LOCKED = "locked at the site"
SITE_FLOW = "Power flow now"
FLOW = {
    "grid": "Grid",
    "genset": "Genset",
    "rectifier": "Rectifier",
    "load": "Load",
    "battery": "Battery",
    "pv": "PV",
}
FLOW_MAINS = {True: "mains present", False: "mains lost", None: "mains unknown"}
FLOW_RECTIFIER = "AC to DC"
FLOW_LOAD = "radio and more"
FLOW_SOC = "SoC {soc}"
FLOW_PV = "sun"
FLOW_GENSET = {True: "running", False: "stands by"}
FLOW_SPOKEN = "Power flow of {site}: {flows}; battery positive is charging"
SITE_READ = "Read {ago}. Battery: positive is charging, negative is discharging."
SITE_SOC = "State of charge against the reserve"
SITE_NO_SOC = "The battery does not report its SoC."
SITE_BACKUP = "Backup"
SITE_RESERVE = "Must keep"
SITE_SPARE = "Spare"
SITE_VOLTAGE = "Bus voltage"
SITE_TEMPERATURE = "Battery"
SITE_SOH = "SoH"
SITE_HISTORY = "History"
SITE_VIEW = "Show"
HISTORY_LINES = {
    "load_w": "load",
    "grid_w": "grid",
    "battery_w": "battery (+ charging)",
    "pv_w": "PV",
    "soc_frac": "SoC",
    "bus_v": "bus voltage",
    "battery_c": "battery",
    "ambient_c": "ambient",
}
SITE_POINT = "SoC {soc}, backup {backup}, above reserve {margin}"
SITE_POINT_STATE = "{state}, {mode}"
SITE_INCIDENT = "{severity}: {kind}, {age}"
SITE_FACT_RECTIFIERS = "{count} x {power}"
SITE_FACT_AUTONOMY = "{hours} ({name}; {jurisdiction})"
SITE_VIEWS = {"power": "Power", "soc": "SoC", "voltage": "Voltage", "temperature": "Temperature"}
SITE_SPAN = "Last"
SITE_NO_HISTORY = "Nothing was measured in this time. Choose a longer one."
SITE_FORECAST = "Forecast by {model}: {why}. Drag to zoom, double-click to see all."
SITE_NO_FORECAST = "There is no load forecast for this site yet; the automated cycle makes one. Drag to zoom, double-click to see all."
SITE_COMMANDS = "Commands of recent plans"
SITE_NO_COMMANDS = "No recent plan has sent a command to this site."
SITE_INCIDENTS = "Incidents not closed"
SITE_NO_INCIDENTS = "None."
SITE_FACTS = {
    "battery": "Battery",
    "soc_band": "SoC band",
    "rectifiers": "Rectifiers",
    "must_keep": "Must keep",
    "grid": "Grid connection",
    "pv": "PV",
    "feeder": "Feeder",
    "radio_cluster": "Radio cluster",
    "time_zone": "Time zone of the site",
    "dispatch_path": "Dispatch path",
}
SITE_FACT_RATED = "{chemistry}, {rated} rated"
SITE_FACT_BAND = "{least} to {most}"
SITE_ABOUT = "What stands here"
SITE_PEERS = "Other sites on {feeder} ({count})"
SITE_NO_PEERS = "This is the feeder's only site."

# --- battery health ---
HEALTH_QUESTION = "Which batteries need replacing, and when?"
HEALTH_NOTE = (
    "How far to believe this: {note}. Looked at: the last {days:.0f} days, and every capacity test on record."
)
HEALTH_LOOKING = "Looking at batteries: {done} of {sites} …"
HEALTH_OHMS = "With resistance"
HEALTH_OHMS_HELP = (
    "Out of the load steps of the last six hours, battery by battery: about a minute for every 2,000 sites. Empty: too few load"
    " steps, the page of the site says how many."
)
HEALTH_WITHIN = "Within"
HEALTH_MONTHS = "{count} months"
HEALTH_DUE = "To replace, by month"
HEALTH_DUE_NOTE = (
    "A battery stands in the month in which one in ten like it is at its end of life: have the new one by then."
    " What is overdue stands in the first month."
)
HEALTH_NONE_DUE = "No battery that could be judged is due within {months} months."
HEALTH_ALT = "{count} batteries are due within {months} months"
HEALTH_BATTERIES = "batteries"
HEALTH_WEAKEST = "The weakest batteries"
HEALTH_WEAKEST_NOTE = "Dot: state of health; bar: its 95 % interval; dashed line: end of life."
HEALTH_SOH_AXIS = "share of rated capacity"
HEALTH_UNKNOWN = "Not judged ({count})"
HEALTH_ALL = "All batteries ({count})"
HEALTH_LATER = "later"
SITE_HEALTH = "Battery health"
SITE_HEALTH_WHY = "State of health: {soh}. Remaining life: {life}."
SITE_HEALTH_SIMULATED = "This battery is simulated."
SITE_HEALTH_SEEN = "What it rests on ({count})"
SITE_HEALTH_NOT_COUNTED = "not counted: {why}"
SITE_HEALTH_RESISTANCE = "Resistance"
SITE_HEALTH_CYCLES = "Full cycles in 28 d"
SITE_HEALTH_WEAR = "Wear a year"

# --- plan card ---
PLAN_SIMULATED = "{count} of {sites} sites simulated"
PLAN_DISCHARGES = "▼ Discharges up to {power} (negative setpoints)"
PLAN_CHARGES = "▲ Charges up to {power} (positive setpoints)"
PLAN_RESTS = "Moves no energy by schedule"
PLAN_FEEDERS = "Peak import of each feeder without and with the plan"
PLAN_SITES = "Sites"
PLAN_ENERGY = "Energy"
PLAN_RELIEF = "Relief"
PLAN_RELIEF_HELP = "How much lower the worst peaks are expected to be."
PLAN_MARGIN = "Above reserve"
PLAN_MARGIN_HELP = "The least backup that any site keeps above what it must keep ({reserve})."
PLAN_CYCLES = "Cycles"
PLAN_CYCLES_HELP = "Full cycles that the batteries take part in, on average."
PLAN_COST = "Cost"
PLAN_COST_UNKNOWN = "no tariff"
PLAN_COST_HELP = "Expected bill and battery wear, by tariff and median forecast; below zero it earns. The plan's score is within {gap} of the best."
PLAN_RULES = "Safety rules"
PLAN_RULES_HELP = "What the deterministic validator found; no plan is sent that breaks a rule."
PLAN_APPROVER = "Approval"
TIER = {"automatic": "by policy", "one_person": "1 person", "two_persons": "2 persons"}
TIER_NONE = "nobody may"
PLAN_NOT_CHECKED = "not checked"
PLAN_PASSED = "{count} passed"
PLAN_BROKEN = "{count} broken"
PLAN_REJECTED = "Rejected by the safety validator:"
PLAN_RULES_SHOW = "The rules that were passed, and by how much ({gate})"
PLAN_NOT_COUNTED = " (does not count: for another envelope, expired, or the same person)"
PLAN_APPROVED_BY = "Approved by {who}{counted}"
PLAN_DECLINED_BY = "Declined by {who}: {reason}"
PLAN_MISSING = "Approvals still needed: {count}"
PLAN_WHO_APPROVES = "An approver decides this."
PLAN_WHY_NOT = "You cannot approve it: {why}."
PLAN_APPROVE = "Approve"
PLAN_APPROVE_LEAD = "{way}, {when}, {sites} sites. Your yes binds to exactly this envelope."
PLAN_APPROVE_CONFIRM = "Yes, approve"
PLAN_APPROVED = "Approved. The agent goes on; the control process checks the plan again before it sends."
PLAN_DECLINE = "Decline"
PLAN_DECLINE_CONFIRM = "Decline this plan"
PLAN_DECLINED = "Declined. The agent has been told why."

# --- chat ---
CHAT_QUESTION = "Ask, and act. The agent proposes; the validator and people decide."
CHAT_THREAD = "Conversation"
CHAT_AUTOMATED = "Show the automated cycles' conversations"
CHAT_NEW = "New conversation"
CHAT_KIND = {"chat": "chat", "loop": "automated"}
CHAT_READ_ONLY = "You may read conversations. Asking takes the role operator."
CHAT_INPUT = "Ask about sites, feeders, incidents, or ask for a plan"
CHAT_EMPTY = "Ask something below, or start with one of these:"
CHAT_EMPTY_VIEWER = "Choose a conversation above to read it."
CHAT_SUGGESTIONS = (
    "What is the state of the fleet?",
    "How long does {site} run on its battery?",
    "What is the forecast of {feeder}?",
    "Which incidents are open?",
    "Make a plan for {feeder} this evening",
)
CHAT_NOTHING_YET = (
    "Nothing has been said here yet. If your question stays unanswered, make sure that `cellwatt loop` runs."
)
CHAT_WORKING = "working: {what} …"
CHAT_MODEL = "Answered by: {model}"
CHAT_NEEDS_APPROVAL = "This plan waits for approval until {until}."
CHAT_WAITS = "Waits ({what}) until {until}."
CHAT_FAILED = "The agent could not go on: {why}. Ask again, or differently."
CHAT_ASKED = "Asked with"
CHAT_GOT = "Found"
CHAT_ERROR = "Failed with"
CHAT_OPEN_PLAN = "Open the chosen plan"

# --- plans ---
PLANS_QUESTION = "What was planned, sent and delivered?"
PLANS_STATUS = "Status"
PLANS_NONE = "There is no plan yet. Ask for one in the chat, or wait for the automated cycle."
PLANS_NONE_WITH = "No plan has this status. Choose another one above."
PLANS_TIMELINE = "Timeline (alternatives that were not chosen are in the table only)"
PLANS_HINT = "Select a row to open the plan."
PLANS_ABORT = "Abort this plan"
PLANS_ABORT_LEAD = "Its sites are released: they return to float, then recharge slowly. Other plans go on."
PLANS_ABORT_CONFIRM = "Abort now"
PLANS_THREAD = "Conversation"
PLANS_AUDIT = "Audit trail"
PLANS_SUPERSEDES = "Takes the place of {plan}"
PLANS_DELIVERY = "Commanded against delivered"
PLANS_NO_DELIVERY = (
    "Nothing is delivered yet: bars appear with the first quarter hour of the window that is over."
)
PLANS_DELIVERED = (
    "{share} of the commanded energy was delivered, by the sites that have a meter value;"
    " {part} of {planned} planned sites take part."
)
PLANS_COMMANDS = "Commands and acknowledgements"
PLANS_NOT_ASKED = "No command was sent: nobody has asked for the dispatch of this plan."
PLANS_NOT_SENT = "No command was sent. The control process answered: {outcome}; {why}"
PLANS_ACKNOWLEDGED = "{count} {verdict}"
PLANS_GATE = "{at}, {gate}: **{verdict}**"
PLANS_VERDICTS = "Verdicts ({count}) and provenance"
PLANS_NO_VERDICT = "The validator has not been asked: it was compared and another plan was chosen."
PLANS_PASSED = "passed"
PLANS_BROKE = "rejected"
PLANS_REPORT = "Report"

# --- control log ---
AUDIT_QUESTION = "Who did what, and does the record hold?"
AUDIT_NOT_YOURS = "The audit trail takes the role operator."
AUDIT_SUBJECT = "Of (plan, site, user; empty: everything)"
AUDIT_PLACEHOLDER = "for instance cbs-0001"
AUDIT_VERIFY = "Check the hash chain"
AUDIT_NONE = "Nothing is recorded about that. Check the name, or leave it empty."
AUDIT_HINT = "Select a row to see everything that changed. The newest is first."
AUDIT_FAULT = "no. {seq}: {kind}, {detail}"
AUDIT_SOUND = "Sound: all {count} entries follow from each other. `cellwatt audit verify` checks the signed heads besides."
AUDIT_FAULTY = "The record does not hold at {count} entries. Keep the database as it is and tell who runs it."

# --- incidents ---
INCIDENTS_QUESTION = "What is wrong, how sure is it, who looks after it?"
ALERTS_TITLE = "Expected, if nobody acts"
ALERTS_NONE = "Nothing is expected to go wrong."
INCIDENTS_STATE = "State"
INCIDENTS_STATES = {"open": "Open", "acknowledged": "Acknowledged", "closed": "Closed"}
INCIDENTS_NONE = {
    "open": "No incident is open. Nothing to do.",
    "acknowledged": "Nobody is looking after an incident now.",
    "closed": "No incident has been closed yet.",
}
INCIDENTS_HINT = "Select a row for evidence and history. The most severe is first."
INCIDENTS_GOES_ON = "it goes on"
INCIDENTS_TITLE = "{kind} at {site}"
INCIDENTS_ENTRY = "{at} **{who}**: {state}, {why}"
INCIDENTS_WHEN = "Since {since} ({ago}), until: {until}. Score {score:.2f}."
INCIDENTS_ASSIGNED = "Looked after by: {who}"
INCIDENTS_SITE = "Open {site}"
INCIDENTS_EVIDENCE = "Evidence"
INCIDENTS_NO_EVIDENCE = "No plain figures; see below."
INCIDENTS_HISTORY = "History"
INCIDENTS_ACK = "Acknowledge"
INCIDENTS_ACKED = "Acknowledged: everybody sees that you look after it."
INCIDENTS_MINE = "Assign to me"
INCIDENTS_TAKEN = "It is yours."
INCIDENTS_ASSIGN = "Assign"
INCIDENTS_ASSIGN_WHO = "To whom (name of a user)"
INCIDENTS_ASSIGN_CONFIRM = "Assign it"
INCIDENTS_GIVEN = "It is {who}'s now."
INCIDENTS_CLOSE = "Close"
INCIDENTS_CLOSED = "Closed."

# --- forecasts ---
FORECASTS_QUESTION = "What is expected, by which model, and why that one?"
FORECASTS_QUANTITY = "Of"
QUANTITIES = {"load_w": "Site load", "pv_w": "PV", "background_w": "Other load on feeders"}
FORECASTS_NONE = (
    "There is no such forecast yet. The automated cycle makes one; make sure that `cellwatt loop` runs."
)
FORECASTS_SUBJECT = "Site or feeder"
FORECASTS_ALL = "Which model serves whom"
FORECASTS_MEASURED = "measured"
FORECASTS_LIMIT = "import limit"
FORECASTS_WHY = "{model}: {why} ({version})"
FORECASTS_ACCURACY = "Served forecasts against what happened (last {days:.0f} days)"
FORECASTS_WORST = "Where they missed most"
FORECASTS_OWN = "Served forecasts of {subject} against what happened"
FORECASTS_OWN_NONE = "No served forecast of {subject} has been measured out in the last {days:.0f} days."
FORECASTS_NO_ACCURACY = (
    "No served forecast has been measured out yet. Its first day has to pass; then its error stands here."
)
FORECASTS_ACCURACY_NOTE = "Below 1 against last week means better than repeating the same week day; coverage should lie near 80 and 95 %."
FORECASTS_DRIFT = "Errors grew at: {subjects}. The loop chose their model anew."

# --- quality ---
QUALITY_QUESTION = "How far can I believe what I see?"
QUALITY_NONE = "No site has been scored yet. Scores come with the first readings."
QUALITY_SITES = "Sites scored"
QUALITY_MEAN = "Mean score"
QUALITY_BELOW = "Too low for dispatch"
QUALITY_NEEDED = "Dispatch needs a score of {needed}; other sites are left out of plans."
QUALITY_WORST = "The worst sites"
QUALITY_GOOD = "No site's data is doubted."
QUALITY_ASIDE = "Messages set aside in the last day"
QUALITY_NOTHING_ASIDE = "Every message could be read."

# --- settings ---
SETTINGS_QUESTION = "Who am I, and how is the fleet run?"
SETTINGS_ME = "My account"
SETTINGS_MODES = "Modes"
SETTINGS_USERS = "Users"
SETTINGS_TOKENS = "Tokens"
SETTINGS_ZONE = "Time zone of all instants shown"
SETTINGS_OLD = "Old password"
SETTINGS_NEW = "New password (at least 10 characters)"
SETTINGS_SHORT = "The new password needs at least 10 characters."
SETTINGS_CHANGE = "Change my password"
SETTINGS_CHANGED = "Your password is changed and all your sessions are over. Log in again."
SETTINGS_MODE = "Operating mode of the fleet"
SETTINGS_NO_MODE = "No mode is set; nothing may be planned."
SETTINGS_MODE_NOW = "In force: {mode}, by {who} since {since}."
SETTINGS_TO_MODE = "New mode"
SETTINGS_SET_MODE = "Put in force"
SETTINGS_MODE_SET = "The mode is now {mode}."
SETTINGS_SITE_MODE = "Mode of one site"
SETTINGS_SITE_MODE_HELP = (
    "monitor: watched only. shadow: planned and checked, never commanded. remote: commanded; takes a recorded"
    " commissioning test."
)
SETTINGS_ASK_MODE = "Ask the control process"
SETTINGS_ADD_USER = "Add a user"
SETTINGS_FIRST_PASSWORD = "First password (at least 10 characters)"  # noqa: S105 a label
SETTINGS_SITE_NOW = "{site} ({mode})"
SETTINGS_ROLE = "Role"
ROLE = {"viewer": "viewer", "operator": "operator", "approver": "approver", "admin": "admin"}
SETTINGS_ADD = "Add"
SETTINGS_ADDED = "{name} is added."
SETTINGS_CHANGE_USER = "Change a user (their sessions end)"
SETTINGS_AS_IT_IS = "as it is"
SETTINGS_ACCOUNT = "Account"
SETTINGS_ACCOUNTS: dict[str, bool | None] = {"as it is": None, "open": True, "closed": False}
SETTINGS_APPLY = "Apply"
SETTINGS_USER_CHANGED = "{name} is changed."
SETTINGS_SUBJECT_TITLE = "Who is who at {label}"
SETTINGS_SUBJECT = "Subject (`sub`); empty: no sign-in through the provider"
SETTINGS_SUBJECT_HELP = "Somebody who is not known yet reads their subject on the page that refuses them. The role comes from the provider."
SETTINGS_SUBJECT_SET = "{name} is known by this sign-in now."
SETTINGS_SUBJECT_GONE = "{name} signs in through the provider no longer; their sessions have ended."
SETTINGS_NO_TOKENS = "There is no token yet. Make one below."
SETTINGS_GRANT = "Make a token"
SETTINGS_GRANT_LABEL = "What it is for (a name without spaces)"
SETTINGS_GRANT_USE = "What it may"
SETTINGS_GRANT_USES = {
    "site": "upload the telemetry of one site",
    "viewer": "read everything a viewer reads",
    "operator": "read and act as an operator",
}
SETTINGS_GRANT_SITE = "Site (for a token of one site)"
SETTINGS_GRANT_DAYS = "Days until it expires"
SETTINGS_GRANT_MAKE = "Make it"
SETTINGS_GRANT_EMPTY = "Say what the token is for."
SETTINGS_GRANT_MADE = "{label}: this is shown once. Copy it now and keep it where secrets are kept."
SETTINGS_GRANT_GONE = "{label} was made, but its secret had been shown already. Withdraw it and make another."
TOKEN_KIND = {"site": "site", "service": "service"}
SETTINGS_TOKEN = "Token"  # noqa: S105 a label
SETTINGS_REVOKE = "Withdraw it"
SETTINGS_REVOKED = "Withdrawn; it does not work any more."
CHAT_CHOICES = "How the planner chose ({count})"
CHAT_CARD = "The chosen plan"

# --- notifications ---
SETTINGS_NOTICES = "Messages"
NOTICES_TARGETS = "Who is told"
NOTICES_NOBODY = "Nobody is told of anything. On the server, `cellwatt notify init` writes the file, `cellwatt notify test` tries it."
NOTICES_FAULT = "The notification file cannot be used, so nobody is told of anything: {why}"
NOTICES_FILE_NOTE = (
    "Addresses and passwords stay in the file on the server; neither the console nor the agent sees them."
)
NOTICES_TEST = "Send a test to everybody"
NOTICES_RECENT = "Messages sent"
NOTICES_NONE = "Nothing has been sent yet."
NOTICES_ALL_KINDS = "all"

# --- what governs the agent ---
SETTINGS_POLICY = "Approval policy"
POLICY_LEAD = (
    "A plan takes the least tier that holds it in every respect; beyond all tiers nobody may approve it. The policy is a"
    " file on the server, read afresh for every plan; neither the console nor the agent can change it."
)
POLICY_NONE = "Nobody may approve anything: {why}. Put a sound policy file in place on the server."
POLICY_SIMULATED = "simulated sites only"
POLICY_ANY = "all sites"
SETTINGS_MODEL = "Model"
MODEL_PLANNERS = {
    "endpoint": "The language model {name} at {host} is asked first; the policy planner takes over where it fails.",
    "embedded": "The embedded language model on this machine is asked first; the policy planner takes over where it fails.",
    "policy": "The policy planner answers alone: fixed rules, no language model.",
}
MODEL_LAST = "The newest answer came from: {model}"
MODEL_LAST_NONE = "Nothing has been answered yet."
MODEL_TOKENS = "Tokens in 24 h"
MODEL_MONEY = "Money in 24 h"
MODEL_OF = "{used} of {limit}"
MODEL_PER_THREAD = "Limits of one conversation: tokens {tokens}, money {money}."
MODEL_NO_LIMIT = "no limit"
MODEL_UNUSED = "No language model has been used in the last 24 hours."
MODEL_NOTE = (
    "Limits and prices are set where CellWatt is started (CELLWATT_TOKENS_PER_DAY, CELLWATT_MONEY_PER_DAY,"
    " OPENAI_PRICE_PER_MILLION_PROMPT …). Once one is used up the policy planner answers alone."
)

# --- changing a plan, pictures in the chat ---
PLAN_CHANGE = "Change"
PLAN_CHANGE_HELP = (
    "Opens the chat with a request for a plan like this one, which you change before you send it."
)
CHANGE_TITLE = "Ask for a changed plan"
CHANGE_IS = "{plan} is now: {what}, {window}, sites: {sites}."
CHANGE_LEAD = (
    "Change the words below and send them; the agent makes a new plan, which is checked and approved like any other."
    " Times are on the sites' clock ({zone}). The present plan stays as it is until somebody declines or aborts it."
)
CHANGE_ASK = "Your request"
CHANGE_SEND = "Send"
CHANGE_LEAVE = "Leave it as it is"
CHANGE_REQUEST = "Make a plan to {what} for {feeders} on {day} from {start} to {end}"
CHANGE_WORDS = {"peak_shaving": "shave the peak", "demand_response": "give power", "recharge": "recharge"}
CHANGE_POWER = "give {power} kW"
CHANGE_AND = " and "
CHART_LOAD = "load forecast"
CHART_FORECAST = "forecast"
CHART_LIMIT = "limit"
CHART_OTHER_LOAD = "other load"
CHART_OUR_SITES = "our sites"
CHART_BACKUP_HOURS = "hours of backup"
CHART_SITES = "sites"
CHART_SITES_COUNT = "{hours}: {sites} sites"
CHART_MARGIN = "hours above the reserve"
CHART_MARGIN_POINT = "{site}: {hours} h above the reserve"
CHART_SETPOINT = "setpoint"
CHART_OTHER_FEEDERS = "{count} other feeders"
PLAN_CURVES = "Setpoints by feeder and quarter hour: {feeders}. {way}"
CHART_CHARGING_UP = "kW (charging up)"
CHART_WITHOUT = "without"
CHART_WITH = "with the plan"
CHART_PV = "PV forecast"
CHART_COMMANDED = "commanded"
CHART_DELIVERED = "delivered"
CHART_MARGIN_OF = "backup {backup}, must keep {reserve}"
CHART_PEAK = "peak import, kW (axis does not start at zero)"
CHART_RESERVE = "reserve (about)"
CHART_IMPORT = "expected import"
CHART_BAND = "{what}, 95 % band"
CHART_MEDIAN = "{what}, median"
CHART_REPLACED = (
    "A newer forecast has taken the place of the one that this answer rests on; it stands under Forecasts."
)

# --- what a forecast is made of ---
COMPONENTS = {"trend_w": "Trend", "daily_w": "The day adds", "weekly_w": "The week adds"}
COMPONENTS_SHOW = "What this forecast is made of"
COMPONENTS_NONE = "Only Prophet's forecasts come apart into trend, day and week; another model serves here."
COMPONENTS_FITTING = "Fitting Prophet again on the same past …"
COMPONENTS_NOTE = (
    "A week ahead of the forecast made at {made}. Fitted again on the same four weeks; data that came late may move it a"
    " little."
)

# --- sites with the same shape of load ---
PEERS_TITLE = "Sites with the same shape of load"
PEERS_NONE_YET = "Shapes are compared once two weeks of history are there."
PEERS_NOT_IN_ONE = "This site has too little history of its own; it is taken to be like its neighbours."
PEERS_ABOUT = "Group {label} of {count}, {sites} sites; typical: {medoid}. Groups are found again in other days to {stability:.0%}."
PEERS_MOVED = "Moved here from group {before}: {reason}"
PEERS_GO = "Go to one of them"
PEERS_WORKING = "working day"
PEERS_WEEKEND = "weekend"
PEERS_OF_MEAN = "of the mean"
PEERS_HOUR = "hour, local"

# --- events ---
EVENTS_TITLE = "What sites and ingest told of"
EVENTS_NONE = "Nothing was told of yet: no lost mains, no shed load, no lock, no message that had to wait."
EVENTS_GRAVE = "**{who}**: {what}. {detail}"

# --- standing objectives ---
OBJECTIVES = "Standing objectives"
OBJECTIVES_LEAD = (
    "What should always hold. The automated loop keeps them until their day comes or somebody ends them; only what was read out"
    " of the words binds."
)
OBJECTIVES_NONE = "None is in force."
OBJECTIVE_READ = "read as: {read} ({who}, {at})"
OBJECTIVE_PAUSES = "nothing is dispatched"
OBJECTIVE_LEAVES_OUT = "leaves out {sites}"
OBJECTIVE_UNTIL = "until {until}"
OBJECTIVE_FOR_GOOD = "until somebody ends it"
OBJECTIVE_WORDS = "Say it in words (in English)"
OBJECTIVE_EXAMPLE = "never use site-1 until friday; no dispatch until 2026-12-24"
OBJECTIVE_KEEP = "Keep this"
OBJECTIVE_KEPT = "Kept, read as: {read}."
OBJECTIVE_EMPTY = "Say what should hold."
OBJECTIVE_END = "End it"
OBJECTIVE_ENDED = "Ended; the automated loop keeps to it no longer."
