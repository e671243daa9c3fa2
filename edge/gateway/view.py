"""A core's site as decisions on commands see it: what is remembered, and what the field side says now."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from edge.gateway import roster
from edge.gateway.commands import Standing
from edge.gateway.limits import Site

if TYPE_CHECKING:
    from edge.gateway.core import GatewayCore


def standing(core: GatewayCore, now: datetime) -> Standing:
    """Return what decisions on commands start from; the mode in force is what was last commanded, else the file's."""
    in_outage = core.condition.in_outage
    return Standing(
        site_id=core.config.name,
        mode=core.memory.held.mode or core.config.mode,
        highest_mode=core.config.highest_mode,
        local_lock=core.recorder.local_lock,
        in_outage=in_outage,
        island_gap=core.island.gap(core.recorder.sample, now) if in_outage else None,
        last_sequence=core.memory.held.last_sequence,
        fleet=core.memory.fleet,
        acks=core.memory.acks,
    )


def site(core: GatewayCore, now: datetime) -> Site:
    """Return the field side."""
    duty = roster.current(core.duties, now)
    limits, sample = core.config.limits, core.recorder.sample
    # In an outage without a duty an alarm is no fault yet, and still no time to begin one.
    alarmed = sample is not None and not set(sample.alarms).isdisjoint(core.config.fault_alarms)
    return Site(
        sample=sample,
        sampled_at=core.recorder.sampled_at,
        max_age=max(timedelta(seconds=limits.max_sample_age_s), 3 * core.period()),
        fault=bool(core.condition.fault) or alarmed,
        running_w=0.0 if duty is None else duty.asked_w,
        cycles_today=core.memory.discharged_wh(now) / limits.rated_wh,
        capabilities=core.capabilities,
        export_gap=core.island.gap(sample, now) or "",
    )
