"""What the API says of batteries' health; shares of rated capacity are 0..1."""

from datetime import datetime

from ui.api.schemas import Schema


class SohOut(Schema):
    """State of health with the ends of its 95 % interval, and what it rests on."""

    soh_frac: float
    low_frac: float
    high_frac: float
    evidence: str


class RemainingOut(Schema):
    """When the end of life is reached: by `early` for one in ten such batteries, `middle` for half, `late` for nine in ten."""

    early: datetime
    middle: datetime
    late: datetime
    loss_frac_per_year: float
    observations: int


class BatteryHealth(Schema):
    """One site's battery. What is null is not known, and the `why` beside it says why.

    `replace_month` (YYYY-MM) is the month to have a new battery by: that of `early`; null also where it is beyond 30 years.
    `resistance_ohm` is looked at only when asked for: it takes the load steps of six hours, battery by battery.
    """

    site_id: str
    simulated: bool
    soh: SohOut | None
    soh_why: str
    remaining: RemainingOut | None
    remaining_why: str
    replace_month: str | None
    replace_at_frac: float
    wear_frac_per_year: float
    full_cycles: float
    mean_battery_c: float | None
    resistance_ohm: float | None
    resistance_why: str


class BatteryHealthPage(Schema):
    """Batteries in order of site over the `days` before `at`; `note` says what the figures are worth."""

    at: datetime
    days: float
    note: str
    items: list[BatteryHealth]
    next_cursor: str | None = None


class SohObservation(Schema):
    """One observation behind a state of health."""

    at: datetime
    method: str
    soh_frac: float
    evidence: str


class SiteHealthOut(Schema):
    """One site's battery with its resistance out of the load steps of the last hours, and every observation behind it."""

    at: datetime
    days: float
    note: str
    battery: BatteryHealth
    resistance_ohm: float | None
    resistance_why: str
    observations: list[SohObservation]
    not_counted: list[str]
