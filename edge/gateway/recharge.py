"""Back to full after a duty or an outage: at float voltage, charging closed, then opened late and slowly. Pure.

A feeder's sites are often released in the same second. Each waits its own random time and ramps its charging
current, so that their recharge never arrives as one step (DOMAIN.md section 1, rebound after an event).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

import msgspec

from edge.gateway.limits import OwnLimits, charge_headroom_w
from edge.modbus.port import FieldSample


class RechargeRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `recharge` section of the gateway's file (defaults [I]).

    A recharge starts `min_delay_s` to `max_delay_s` after the return to float, reaches `c_rate` of the rated
    energy per hour after `ramp_s`, and is over at `full_soc_frac`.
    """

    min_delay_s: float = 30.0
    max_delay_s: float = 600.0
    ramp_s: float = 600.0
    c_rate: float = 0.1
    full_soc_frac: float = 0.97

    def __post_init__(self) -> None:
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
    return min(share * ceiling_w, charge_headroom_w(sample, limits))


def is_full(rule: RechargeRule, sample: FieldSample) -> bool:
    """Return whether a recharge is over; without a SoC it goes on, which is harmless at float voltage."""
    return sample.soc_frac is not None and sample.soc_frac >= rule.full_soc_frac
