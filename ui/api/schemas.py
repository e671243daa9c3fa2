"""What goes in and out of the API, with units in names: charging positive, discharging negative, instants UTC.

Unknown keys are errors in what comes in. Lists come in pages: pass `next_cursor` as `cursor` to get the next one.
"""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from telemetry.model.site import SiteMode
from tools.goal import PlanGoal

ItemT = TypeVar("ItemT")
_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


def storable(text: str) -> str:
    """Return a text that a database can hold.

    Raises:
        ValueError: It holds what none can.
    """
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError("must not hold NUL or lone surrogates")
    return text


def _in_range(at: datetime) -> datetime:
    if not _FIRST <= at < _LAST:
        raise ValueError("must lie between the years 2000 and 2100")
    return at.astimezone(UTC)


Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]*$")]
UserName = Annotated[str, Field(min_length=2, max_length=64, pattern=r"^[a-z0-9][a-z0-9._-]*$")]
Text = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(storable)]
Reason = Annotated[str, Field(min_length=3, max_length=500), AfterValidator(storable)]
Verifier = Annotated[str, Field(pattern=r"^[A-Za-z0-9_~.-]{43,128}$")]  # RFC 7636, section 4.1
Challenge = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]
SubjectName = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(storable)]
Password = Annotated[str, Field(min_length=10, max_length=256), AfterValidator(storable)]
Instant = Annotated[AwareDatetime, AfterValidator(_in_range)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
RoleName = Literal["viewer", "operator", "approver", "admin"]


def with_example(example: dict[str, Any]) -> ConfigDict:
    """Return the configuration of a body that is shown with an example."""
    return ConfigDict(extra="forbid", frozen=True, json_schema_extra={"examples": [example]})


class Schema(BaseModel):
    """Base of everything here."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class FieldProblem(Schema):
    """What is wrong with one field."""

    field: str
    message: str


class Problem(Schema):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldProblem]


class Page(Schema, Generic[ItemT]):
    """One page of a list; `next_cursor` is null on the last."""

    items: list[ItemT]
    next_cursor: str | None = None


# --- who ---------------------------------------------------------------------------------------------------------


class Login(Schema):
    """A login."""

    model_config = with_example({"name": "admin", "password": "from cellwatt up"})
    name: Annotated[str, Field(min_length=1, max_length=64), AfterValidator(storable)]
    password: Annotated[str, Field(min_length=1, max_length=256), AfterValidator(storable)]


class Me(Schema):
    """Who is asking."""

    name: str
    kind: Literal["user", "site", "service"]
    role: Literal["site", "viewer", "operator", "approver", "admin"]
    site_id: str
    expires_at: datetime


class Session(Schema):
    """A session; send `Authorization: Bearer <token>`."""

    token: str
    me: Me


class SignInOffer(Schema):
    """Whether people may sign in through a provider.

    `start` leads a browser there and back to the phone's pages; with `challenge` back to the console, if that is set.
    """

    offered: bool
    label: str
    start: str
    console: bool


class OneTimeCode(Schema):
    """What a sign-in through a provider brought back, and the verifier of the challenge that it was begun with."""

    model_config = with_example({"code": "from the address", "verifier": "v" * 43})
    code: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(storable)]
    verifier: Verifier


class Subject(Schema):
    """A person's name at the sign-in provider (`sub`)."""

    model_config = with_example({"subject": "248289761001"})
    subject: SubjectName


class UserOut(Schema):
    """A user; `oidc_subject` is who they are at the sign-in provider, null where they sign in by password alone."""

    name: str
    role: RoleName
    active: bool
    locked_until: datetime | None
    created_at: datetime
    oidc_subject: str | None


class NewUser(Schema):
    """A user to add. Names are lower case, so that nobody can look like somebody else.

    Without a password they can come in through the sign-in provider alone.
    """

    model_config = with_example({"name": "olga", "password": "a long enough one", "role": "operator"})
    name: UserName
    password: Password | None = None
    role: RoleName


class UserChange(Schema):
    """What to change of a user; what is left out stays."""

    model_config = with_example({"role": "approver"})
    role: RoleName | None = None
    active: bool | None = None
    password: Password | None = None


class PasswordChange(Schema):
    """One's own new password."""

    model_config = with_example({"old_password": "the old one", "new_password": "a longer new one"})
    old_password: Annotated[str, Field(min_length=1, max_length=256), AfterValidator(storable)]
    new_password: Password


class NewToken(Schema):
    """A token to make: `site` uploads telemetry of `site_id` only, `service` reads (viewer) or also acts (operator)."""

    model_config = with_example(
        {"label": "cabinet-1", "kind": "site", "site_id": "cbs-0001", "expires_in_days": 365}
    )
    label: Name
    kind: Literal["site", "service"]
    site_id: Name | None = None
    role: Literal["viewer", "operator"] | None = None
    expires_in_days: int = Field(default=365, ge=1, le=1825)


class TokenOut(Schema):
    """A token, without its secret."""

    token_id: str
    label: str
    kind: Literal["site", "service"]
    site_id: str
    role: str
    expires_at: datetime
    revoked_at: datetime | None


class TokenMade(Schema):
    """A new token; `token` is shown this once (null where an answer is repeated for an idempotency key)."""

    token: str | None
    about: TokenOut


# --- registry ----------------------------------------------------------------------------------------------------


class SiteOut(Schema):
    """A site as the registry holds it; `site` is the whole entry (`telemetry.model.site.Site`)."""

    site_id: str
    version: int
    site: dict[str, Any]


class FeederOut(Schema):
    """A feeder as the registry holds it (`telemetry.model.site.Feeder`)."""

    feeder_id: str
    version: int
    feeder: dict[str, Any]


class CriticalSiteOut(Schema):
    """A critical site as the registry holds it (`telemetry.model.site.CriticalSite`)."""

    critical_site_id: str
    version: int
    critical_site: dict[str, Any]


class ModeChange(Schema):
    """The mode that a site is to take; `remote` needs a commissioning test on record."""

    model_config = with_example({"mode": "shadow", "reason": "battery replaced"})
    mode: SiteMode
    reason: Reason


# --- state -------------------------------------------------------------------------------------------------------


class FleetSite(Schema):
    """One site now. Null: not measured or not known.

    `autonomy_h` is how long the battery carries the site at its upper load forecast (whole quarter hours, at most 96 h);
    `reserve_h` what it must carry; `margin_h` the difference; `spare_wh` the energy above the reserve; `available_w` the
    discharge that the battery and the load allow while there is energy to spare.
    """

    site_id: str
    name: str
    feeder_id: str
    latitude: float
    longitude: float
    mode: Literal["monitor", "shadow", "remote"]
    simulated: bool
    online: bool
    state: str
    local_lock: bool
    read_at: datetime | None
    load_w: float | None
    grid_w: float | None
    battery_w: float | None
    pv_w: float | None
    genset_w: float | None
    bus_v: float | None
    soc_frac: float | None
    soh_frac: float | None
    battery_c: float | None
    mains_ok: bool | None
    alarms: list[str]
    autonomy_h: float | None
    reserve_h: float
    margin_h: float | None
    spare_wh: float | None
    available_w: float
    quality: float | None
    open_incidents: int


class FleetFeeder(Schema):
    """One feeder now: `import_w` is the background load and its sites' import together."""

    feeder_id: str
    name: str
    substation: str
    import_limit_w: float
    export_limit_w: float
    background_w: float | None
    background_at: datetime | None
    sites_w: float
    import_w: float | None
    headroom_w: float | None
    sites: int
    online: int


class FleetCounts(Schema):
    """How many sites are how."""

    sites: int
    online: int
    simulated: int
    with_alarms: int
    below_reserve: int
    by_state: dict[str, int]
    open_incidents: dict[str, int]


class FleetTotals(Schema):
    """Sums over the sites that report."""

    load_w: float
    grid_w: float
    battery_w: float
    pv_w: float
    available_w: float
    spare_wh: float


class OperatingModeOut(Schema):
    """The operating mode in force."""

    mode: Literal["normal", "storm", "emergency"]
    who: str
    since: datetime


class Fleet(Schema):
    """The whole fleet at one instant. `version` grows with every change; the ETag is made of it."""

    version: int
    at: datetime
    mode: OperatingModeOut | None
    stopped: bool
    active_plans: list[str]
    counts: FleetCounts
    totals: FleetTotals
    feeders: list[FleetFeeder]
    sites: list[FleetSite]


class Series(Schema):
    """One metric over time, thinned to what was asked, extremes kept; four columns of one length."""

    subject_id: str
    metric: str
    unit: str
    source: Literal["readings", "rollup", "rollup_hour"]
    start: datetime
    end: datetime
    at: list[datetime]
    mean: list[float]
    low: list[float]
    high: list[float]


class ForecastBand(Schema):
    """A forecast's outer quantiles (0.025, 0.975) and its median on quarter hours, W."""

    made_at: datetime
    model: str
    at: list[datetime]
    lower_w: list[float]
    median_w: list[float]
    upper_w: list[float]


class FeederSeries(Schema):
    """A feeder's quarter hours, W: columns of one length, null where not measured; import = background + sites."""

    feeder_id: str
    import_limit_w: float
    at: list[datetime]
    background_w: list[float | None]
    sites_w: list[float | None]
    import_w: list[float | None]
    forecast: ForecastBand | None


# --- plans -------------------------------------------------------------------------------------------------------

PlanStatusName = Literal[
    "proposed", "validated", "rejected", "approved", "declined", "dispatched", "completed", "aborted"
]
TierName = Literal["automatic", "one_person", "two_persons"]


class PlanLine(Schema):
    """One line of the list of plans."""

    plan_id: str
    supersedes: str | None
    thread_id: str | None
    status: PlanStatusName
    objective: str
    created_at: datetime
    window_start: datetime
    window_end: datetime
    sites: int


class PlanMoney(Schema):
    """What a plan is expected to cost, in `currency`, below zero where it earns: by tariff and by the battery's wear."""

    currency: str
    total: float
    energy: float
    refill: float
    demand: float
    wear: float
    source: str


class PlanFeederEffect(Schema):
    """What a plan is expected to do for a feeder: its peak import without and with the plan, W."""

    feeder_id: str
    peak_without_w: float
    peak_with_w: float
    limit_w: float


class PlanFeederCurve(Schema):
    """The setpoints of a plan's sites on one feeder together, W by quarter hour from `window_start`."""

    feeder_id: str
    sites: int
    total_w: list[float]


class ApprovalOut(Schema):
    """One yes."""

    approver: str
    tier: TierName
    approved_at: datetime
    expires_at: datetime
    counts: bool


class DeclineOut(Schema):
    """One no."""

    who: str
    reason: str
    at: datetime


class CommandOut(Schema):
    """A command of a plan, with the site's last word on it (empty before there is one)."""

    command_id: str
    site_id: str | None
    kind: str
    state: str
    sequence: int
    attempts: int
    sent_at: datetime | None
    verdict: str
    reason: str
    acknowledged_at: datetime | None
    read_back_v: float | None
    limited_wh: float


class VerdictOut(Schema):
    """What a gate said. `doc` holds `margins` and `passed`, or `broken` (rule, name, where, by, unit, message)."""

    at: datetime
    gate: Literal["validate", "authorise"]
    approved: bool
    doc: dict[str, Any]


class OutcomeOut(Schema):
    """What the control process made of a dispatch request: authorised, needs_approval or refused; `doc` says why."""

    outcome: str
    at: datetime
    doc: dict[str, Any]


class PlanOut(Schema):
    """A plan, whole.

    `total_w` is the setpoint of all sites together by quarter hour from `window_start`, `feeder_curves` the same by feeder
    (sites that are registered no longer count in `total_w` alone). `tier` is who must approve it by
    the policy now (null: nobody may), `approvals_missing` how many more. `may_approve` says whether the one who asks may
    approve it now, else `why_not`. Send `envelope_digest` with an approval: it binds the yes to what was seen.
    `verdicts` are the newest last; `reserve_margin_h` the least backup above the reserve that any site keeps.
    """

    plan_id: str
    supersedes: str | None
    thread_id: str | None
    status: PlanStatusName
    objective: str
    objective_text: str
    feeder_ids: list[str]
    target_w: float | None
    direction: Literal["charge", "discharge", "charge and discharge", "rest"]
    created_at: datetime
    window_start: datetime
    window_end: datetime
    sites: int
    simulated_sites: int
    total_w: list[float]
    peak_discharge_w: float
    peak_charge_w: float
    relief_w: float
    discharge_wh: float
    charge_wh: float
    cycles: float
    score: float
    money: PlanMoney | None
    reserve_margin_h: float
    reserve_h: float
    bound: float
    gap_frac: float
    feeders: list[PlanFeederEffect]
    feeder_curves: list[PlanFeederCurve]
    envelope_digest: str
    valid_until: datetime
    provenance: dict[str, str]
    tier: TierName | None
    approvals: list[ApprovalOut]
    approvals_missing: int
    may_approve: bool
    why_not: str
    declines: list[DeclineOut]
    verdicts: list[VerdictOut]
    outcome: OutcomeOut | None
    commands: list[CommandOut]
    report: dict[str, Any] | None


class SiteSchedule(Schema):
    """What one site is asked: setpoints by quarter hour from the plan's start, W; empty for reserve or bounds."""

    site_id: str
    schedule_w: list[float]
    grid_reserve: dict[str, Any] | None
    bounds: dict[str, Any] | None


class PlanSchedule(Schema):
    """A plan's setpoints."""

    plan_id: str
    window_start: datetime
    step_s: int
    sites: list[SiteSchedule]


class QuarterHour(Schema):
    """Commanded against delivered energy of all sites that took part, Wh at the batteries, charging positive.

    `delivered_wh` covers the `measured` of `sites` sites that have a meter value; `commanded_measured_wh` is what was asked
    of just those.
    """

    start: datetime
    commanded_wh: float
    commanded_measured_wh: float
    delivered_wh: float
    sites: int
    measured: int


class Delivery(Schema):
    """What became of a plan so far, by quarter hour."""

    plan_id: str
    at: datetime
    sites_planned: int
    sites_sent: int
    sites_taking_part: int
    quarter_hours: list[QuarterHour]


class Approve(Schema):
    """A yes to exactly the envelope that was seen."""

    model_config = with_example(
        {"envelope_digest": "ce7b730afc138854a462b00f42dcc1cff88258afa65a430d92794f29c8b55815"}
    )
    envelope_digest: Digest


class Decline(Schema):
    """A no, and why."""

    model_config = with_example({"reason": "a crew works at the site"})
    reason: Reason


class Order(Schema):
    """Why something is asked of the control process."""

    model_config = with_example({"reason": "smoke at a site"})
    reason: Reason


class OrderOut(Schema):
    """What became of an order: `done`, `refused`, or `pending` where the control process has not answered yet."""

    request_id: int
    kind: Literal["abort", "stop", "clear", "mode"]
    outcome: Literal["done", "refused", "pending"]
    at: datetime | None
    doc: dict[str, Any]


class OperatingModeChange(Schema):
    """The operating mode to put in force."""

    model_config = with_example({"mode": "storm", "reason": "gale warning for tonight"})
    mode: Literal["normal", "storm", "emergency"]
    reason: Reason


# --- threads -----------------------------------------------------------------------------------------------------


class NewThread(Schema):
    """A conversation to open."""

    model_config = with_example({"title": "Evening peak on feeder 1"})
    title: Annotated[str, Field(min_length=1, max_length=120), AfterValidator(storable)]


class ThreadOut(Schema):
    """A thread: a conversation (`chat`) or an automated cycle (`loop`). `last_kind` is the kind of its last event."""

    thread_id: str
    kind: Literal["chat", "loop"]
    title: str
    who: str
    created_at: datetime
    last_event_no: int
    last_kind: str
    last_at: datetime | None


class NewMessage(Schema):
    """A message to the agent; `goal` asks for a plan at once, `cycle` for a full cycle."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"text": "How long does cbs-0001 run on its battery?"}]},
    )
    text: Text
    goal: PlanGoal | None = None
    cycle: bool = False


class ThreadOrder(Schema):
    """Which waiting run is meant; neither: the thread's only one."""

    model_config = with_example({"plan_id": "plan-cycle-20260310T155000-1-reserve"})
    run_id: Name | None = None
    plan_id: Name | None = None


class CommandMade(Schema):
    """A command to a thread was taken; what comes of it appears among its events."""

    thread_id: str
    command_no: int
    kind: Literal["message", "resume", "cancel"]


class ThreadCommandOut(Schema):
    """What somebody asked of a thread, and what came of it (null while it is being worked on)."""

    command_no: int
    kind: Literal["message", "resume", "cancel"]
    body: dict[str, Any]
    who: str
    at: datetime
    outcome: str | None


class ThreadDetail(Schema):
    """A thread with what was asked in it."""

    thread: ThreadOut
    commands: list[ThreadCommandOut]


class ThreadEvent(Schema):
    """One event; what `body` holds depends on its kind, and `run_id` is always in it.

    `token`: text; `step`: tool, arguments, result or error, seconds; `plan`: plans (cards), chosen, why, planner;
    `interrupt`: kind (approval or wait), plan_id, until, tier, missing, card; `message`: text, stage, plan_id, planner, notes;
    `done`: stage, plan_id; `error`: text.
    """

    event_no: int
    at: datetime
    kind: Literal["token", "step", "message", "plan", "interrupt", "error", "done"]
    body: dict[str, Any]


class ThreadEvents(Schema):
    """Events after the one asked for, oldest first; ask again with `last_event_no`."""

    events: list[ThreadEvent]
    last_event_no: int


# --- incidents, forecasts, quality, audit ------------------------------------------------------------------------


class IncidentChangeOut(Schema):
    """One entry of an incident's history."""

    at: datetime
    who: str
    state: str
    why: str


class IncidentOut(Schema):
    """An incident, with the evidence that an operator checks first."""

    incident_id: str
    site_id: str
    kind: str
    since: datetime
    until: datetime | None
    score: float
    severity: Literal["info", "warning", "critical"]
    state: Literal["open", "acknowledged", "closed"]
    assignee: str | None
    evidence: dict[str, Any]
    history: list[IncidentChangeOut]


class IncidentWord(Schema):
    """What a person says about an incident."""

    model_config = with_example({"why": "the technician is on the way"})
    why: Reason


class Assign(Schema):
    """Whose an incident is."""

    model_config = with_example({"assignee": "olga"})
    assignee: UserName


class ForecastLine(Schema):
    """One subject's newest forecast, in short."""

    subject_id: str
    quantity: Literal["load_w", "pv_w", "background_w"]
    made_at: datetime
    start: datetime
    steps: int
    model: str
    version: str
    reason: str


class ForecastOut(Schema):
    """A forecast with its bands: `values_w[q][t]` belongs to `quantiles[q]` and the quarter hour `start + t x 15 min`."""

    subject_id: str
    quantity: Literal["load_w", "pv_w", "background_w"]
    made_at: datetime
    start: datetime
    model: str
    version: str
    reason: str
    quantiles: list[float]
    values_w: list[list[float]]
    cumulative_wh: list[list[float]]


class SiteQualityOut(Schema):
    """How far a site's data can be believed; `reasons` by field."""

    site_id: str
    at: datetime
    score: float
    reasons: dict[str, str]


class QuarantineCount(Schema):
    """How many messages were set aside for one reason, and when the last."""

    reason: str
    count: int
    last_at: datetime


class QualitySummary(Schema):
    """Data quality: the worst sites first, and what was set aside in the last day."""

    sites: int
    mean_score: float | None
    below_dispatch: int
    needed_for_dispatch: float
    worst: list[SiteQualityOut]
    quarantined: list[QuarantineCount]


class AuditLine(Schema):
    """One entry of the audit trail; `role` is the database role that the database stamped."""

    seq: int
    at: datetime
    role: str
    who: str
    action: str
    subject: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class AuditFaultOut(Schema):
    """What is wrong with the trail at one entry."""

    kind: str
    seq: int
    detail: str


class AuditCheck(Schema):
    """Whether the hash chain holds. Signed heads are checked by `cellwatt audit verify`, which has their file."""

    entries: int
    sound: bool
    faults: list[AuditFaultOut]


class PassageOut(Schema):
    """A passage that answers: cite document and section. It is what somebody wrote, not what the system says."""

    document_id: str
    passage_id: str
    title: str
    kind: str
    section: str
    text: str
    simulated: bool
    score: float


class KnowledgeAnswer(Schema):
    """What the library holds on a question, best first; `note` says what the search had to do without."""

    method: Literal["hybrid", "words", "vectors"]
    note: str
    found: list[PassageOut]


class DocumentLine(Schema):
    """A document of the library."""

    document_id: str
    title: str
    kind: str
    role: RoleName
    written_on: date | None
    simulated: bool
    imported_at: datetime


class DocumentOut(DocumentLine):
    """A document, whole."""

    text: str


class DocumentTaken(Schema):
    """What became of a file: `twin` where another document has the same text and this one was left out."""

    document_id: str
    title: str
    outcome: Literal["added", "replaced", "unchanged", "twin"]
    passages: int
    embedded: int


class RowProblem(Schema):
    """Why one row of an upload was not stored; `row` counts from 1, header lines apart."""

    row: int
    field: str
    why: str


class Uploaded(Schema):
    """What became of an upload. Rows that were stored before count as stored."""

    rows: int
    stored: int
    refused: int
    errors: list[RowProblem]
    errors_left_out: int


class Health(Schema):
    """Whether the process lives, or can serve."""

    status: Literal["ok", "ready", "not ready"]
    detail: str = ""
