"""Which sites may take part, by the trusted core's own predicate, in words."""

from datetime import datetime

from edge.safety.eligibility import ineligible_reasons
from telemetry.model.site import SiteId
from tools.deps import Fleet


def ineligible(fleet: Fleet, site_id: SiteId, now: datetime, *, charge_only: bool = False) -> tuple[str, ...]:
    """Return why a site may not be dispatched; empty means it may."""
    broken = ineligible_reasons(site_id, fleet.state, fleet.limits, now, charge_only=charge_only)
    return tuple(f"{one.rule} {one.message}" for one in broken)
