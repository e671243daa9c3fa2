"""What surrounds a simulated site's gateway: its link, its clock, its power supply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from edge.simulator.link import LinkFaults
from telemetry.model.clock import Clock


def _nobody(_away_s: float) -> None:
    """Nobody runs a gateway for this site."""


@dataclass(slots=True, kw_only=True)
class Surroundings:
    """The faults of one site that no register shows.

    Attributes:
        link: Between the gateway and the broker.
        skew_s: How far the gateway's clock is ahead, domain seconds.
        reboot: Called with the seconds that the gateway is to be away; whoever runs the gateway sets it.
    """

    link: LinkFaults = field(default_factory=LinkFaults)
    skew_s: float = 0.0
    reboot: Callable[[float], None] = _nobody


class SkewedClock:
    """A gateway's clock, ahead of the true one by what its surroundings say at the moment."""

    def __init__(self, true: Clock, around: Surroundings) -> None:
        self._true = true
        self._around = around

    def now(self) -> datetime:
        return self._true.now() + timedelta(seconds=self._around.skew_s)

    async def sleep(self, duration: timedelta) -> None:
        await self._true.sleep(duration)

    def to_wall(self, duration: timedelta) -> timedelta:
        return self._true.to_wall(duration)
