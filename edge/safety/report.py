"""Collects what the rules found, and says in plain words why each rule passed."""

from collections.abc import Iterable

from edge.safety.track import Track
from edge.safety.verdict import FREE, Broken, Outcome, Passed, SiteMargin

# Every rule that `validate` applies, in the words of the report and of the plan card.
WORDS = {
    "S1": "backup stays above the autonomy floor at every step, with upper load and lower PV",
    "S2": "power stays within battery, rectifiers and connection",
    "S3": "discharge stays within the site's own load",
    "S4": "no battery is charged above its highest SoC or at a forbidden temperature",
    "S5": "no site changes power faster than its ramp",
    "S6": "feeders stay within their limits with the plan, after its release and during recharge",
    "S7": "telemetry and forecasts are fresh, plausible and good, and every controller is online",
    "S8": "no alarm is active, mains is present, no site is in outage or recovery",
    "S9": "no site is bound by another live plan at the same time",
    "S10": "no battery does more cycles in a day than it may",
    "S11": "window, duration and expiry make sense",
    "S12": "no radio cluster has too many sites near their floor at once",
    "S13": "the mode in force allows this kind of plan",
    "S14": "the plan stays inside its envelope",
    "S15": "all numbers are finite, no site or step is missing or double",
    "S16": "everything that the plan names is known",
    "S17": "bus continuity is declared and lately proven at every site",
    "S18": "nothing is exported without a certificate, or without mains",
    "S19": "calibration and capacity test are young enough",
    "S20": "every site is commissioned, in mode remote, and nobody works at it",
    "S21": "worst-case activation of grid reserve is covered",
}


class Ledger:
    """What the rules found so far."""

    def __init__(self) -> None:
        self.broken: list[Broken] = []
        self.margins: list[SiteMargin] = []
        self._tightest: dict[tuple[str, str], Outcome] = {}

    @property
    def names(self) -> set[str]:
        """Names of all breaches."""
        return {breach.name for breach in self.broken}

    @property
    def rules(self) -> set[str]:
        """Rules that are broken."""
        return {breach.rule for breach in self.broken}

    def blame(self, broken: Iterable[Broken]) -> None:
        """Add breaches."""
        self.broken.extend(broken)

    def note(self, outcomes: Iterable[Outcome]) -> None:
        """Add outcomes: their breaches, and the tightest margin of each rule."""
        for outcome in outcomes:
            self.broken.extend(outcome.broken)
            if outcome.margin is None or outcome.margin == FREE:
                continue
            known = self._tightest.get((outcome.rule, outcome.name))
            if known is None or known.margin is None or outcome.margin < known.margin:
                self._tightest[outcome.rule, outcome.name] = outcome

    def margin(self, track: Track) -> None:
        """Add a site's least backup above its floor, told as hours at its upper peak load (1 W at least)."""
        least_wh = min(
            left - floor for left, floor in zip(track.left_wh, track.outlook.floor_wh, strict=False)
        )
        hours = least_wh / max(1.0, track.outlook.reference_w)
        self.margins.append(SiteMargin(site_id=track.site.site_id, autonomy_h=hours))

    def passed(self) -> tuple[Passed, ...]:
        """Return for each rule that it held, with its tightest margins."""
        told: list[Passed] = []
        for rule, words in WORDS.items():
            measured = [outcome for (of, _), outcome in self._tightest.items() if of == rule]
            told += [_measured(words, outcome) for outcome in measured]
            if not measured:
                told.append(Passed(rule=rule, name="", margin=None, unit="", where="", message=words))
        return tuple(told)


def _measured(words: str, outcome: Outcome) -> Passed:
    place = outcome.place
    return Passed(
        rule=outcome.rule,
        name=outcome.name,
        margin=outcome.margin,
        unit=outcome.unit,
        where=place.where,
        message=f"{words}; {outcome.name} is tightest at {place.scope} {place.where}: "
        f"{outcome.margin:.6g} {outcome.unit} to spare",
    )
