"""Which sites may take part, by the trusted core's own predicate, in words."""

import re
from collections.abc import Sequence
from datetime import datetime

from edge.safety.eligibility import ineligible_reasons
from telemetry.model.site import SiteId
from tools.deps import Fleet

_PLAIN = re.compile(r"[A-Za-z][A-Za-z_ -]{0,39}")
_LISTED = "active alarms: "
_NOT_SHOWN = "an alarm whose text is not a plain name"


def ineligible(fleet: Fleet, site_id: SiteId, now: datetime, *, charge_only: bool = False) -> tuple[str, ...]:
    """Return why a site may not be dispatched; empty means it may.

    An alarm's text is somebody else's: one that is no plain name stays where alarms are listed as data, and is not told in our words.
    """
    broken = ineligible_reasons(site_id, fleet.state, fleet.limits, now, charge_only=charge_only)
    reading = fleet.state.readings.get(site_id)
    told = [f"{one.rule} {one.message}" for one in broken]
    return tuple(_in_our_words(one, reading.alarms if reading else ()) for one in told)


def _in_our_words(reason: str, alarms: Sequence[str]) -> str:
    """Return a reason without what a device may have written into an alarm's text."""
    begin, sign, listed = reason.partition(_LISTED)
    if not sign or all(_PLAIN.fullmatch(one) for one in alarms):
        return reason
    names = [one for one in sorted(set(alarms)) if _PLAIN.fullmatch(one) is not None and one in listed]
    return f"{begin}{sign}{', '.join([*names, _NOT_SHOWN])}"
