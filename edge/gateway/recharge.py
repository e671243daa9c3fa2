"""Back to full after a duty or an outage: at float voltage, charging closed, then opened late and slowly. Pure.

A feeder's sites are often released in the same second. Each waits its own random time and ramps its charging
current, so that their recharge never arrives as one step (DOMAIN.md section 1, rebound after an event).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf
from random import Random

import msgspec

from edge.gateway.limits import OwnLimits, charge_headroom_w, string_bound_w
from edge.modbus.port import FieldSample


class RechargeRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `recharge` section of the gateway's file (defaults [I]).

    A recharge starts `min_delay_s` to `max_delay_s` after the return to float, reaches `c_rate` of the rated
    energy per hour after `ramp_s`, and is over at `full_soc_frac`. `feeder_share_w` is the site's part of its feeder's
    headroom, W at the AC side, for each hour of the UTC day (24 values; none: the feeder sets no bound): the feeder's
    limit less its highest background and site loads in that hour, over its sites. Written at commissioning, because a
    recharge must keep the feeder's limit without a word from the centre.
    """

    min_delay_s: float = 30.0
    max_delay_s: float = 600.0
    ramp_s: float = 600.0
    c_rate: float = 0.1
    full_soc_frac: float = 0.97
    feeder_share_w: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.feeder_share_w) not in {0, 24} or not all(w >= 0.0 for w in self.feeder_share_w):
            raise ValueError("recharge.feeder_share_w needs 24 values of zero or more, or none")
        if not 0.0 <= self.min_delay_s <= self.max_delay_s:
            raise ValueError("recharge needs 0 <= min_delay_s <= max_delay_s")
        if not (self.ramp_s > 0.0 and 0.0 < self.c_rate <= 0.5 and 0.5 <= self.full_soc_frac <= 1.0):
            raise ValueError("recharge needs ramp_s > 0, c_rate in (0, 0.5], full_soc_frac in [0.5, 1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recharge:
    """One recharge under way: when charging opens."""

    opens_at: datetime


def plan_recharge(rule: RechargeRule, now: datetime, rng: Random) -> Recharge:
    """Return a recharge that opens at a random instant of the site's own."""
    delay_s = rng.uniform(rule.min_delay_s, rule.max_delay_s)
    return Recharge(opens_at=now + timedelta(seconds=delay_s))


def recharge_w(
    recharge: Recharge | None, rule: RechargeRule, limits: OwnLimits, sample: FieldSample, now: datetime
) -> float:
    """Return the charging power to allow now, W: zero before it opens, then a ramp, never above any limit.

    `recharge` None means fully charged and floating: the same ceiling without a ramp, so that the trickle flows.
    """
    share = 1.0
    if recharge is not None:
        share = max(0.0, min(1.0, (now - recharge.opens_at).total_seconds() / rule.ramp_s))
    band = None if sample.battery_c is None else limits.band_at(sample.battery_c)
    if band is None:
        return 0.0
    ceiling_w = min(rule.c_rate, band.charge_c_rate) * limits.rated_wh
    return min(
        share * ceiling_w,
        charge_headroom_w(sample, limits),
        _feeder_w(rule, limits, now),
        string_bound_w(sample, limits, band.charge_c_rate, 1),
    )


def _feeder_w(rule: RechargeRule, limits: OwnLimits, now: datetime) -> float:
    """Return what the feeder leaves at the battery terminals in this hour, W; the lesser of two at an hour's end."""
    if not rule.feeder_share_w:
        return inf
    soon = now + timedelta(seconds=10)  # closed before the hour turns, whatever the control period
    ac_w = min(rule.feeder_share_w[at.astimezone(UTC).hour] for at in (now, soon))
    return ac_w * limits.rectifier_efficiency


def is_full(rule: RechargeRule, sample: FieldSample) -> bool:
    """Return whether a recharge is over; without a SoC it goes on, which is harmless at float voltage."""
    return sample.soc_frac is not None and sample.soc_frac >= rule.full_soc_frac
