"""The transfer switch of simulated sites: the pole that joins a site's inverter to the utility, and what it says of itself.

Open, the inverter feeds the isolated section behind it and never the utility; closed, it is in parallel with the mains.
Its two auxiliary contacts are read by a module that counts its looks. Faults part what it says from what it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge.simulator.battery import Floats, Ints
from edge.simulator.bus import Bools
from edge.simulator.site_spec import SiteSpec

LOOKS_PER_S = 10.0
NO_FAULT = -1  # of `says`, where a contact follows the pole


@dataclass(slots=True, kw_only=True)
class TransferSwitches:
    """The switches of a fleet, arrays (sites,); a site without one is joined to the utility for good."""

    fitted: Bools
    open: Bools  # the pole itself
    stuck: Bools  # the pole stays where it is
    says_open: Ints  # what the contact for "open" says whatever the pole does: 0, 1, or NO_FAULT
    says_closed: Ints
    stale: Bools  # the input module looks no more: contacts and counter stand still
    lost: Bools  # it does not answer
    open_contact: Bools  # as last looked at
    closed_contact: Bools
    looks: Floats

    @staticmethod
    def of(specs: Sequence[SiteSpec]) -> TransferSwitches:
        """Return every switch closed and in order."""
        n = len(specs)
        return TransferSwitches(
            fitted=np.array([spec.transfer_switch for spec in specs]),
            open=np.zeros(n, dtype=np.bool_),
            stuck=np.zeros(n, dtype=np.bool_),
            says_open=np.full(n, NO_FAULT),
            says_closed=np.full(n, NO_FAULT),
            stale=np.zeros(n, dtype=np.bool_),
            lost=np.zeros(n, dtype=np.bool_),
            open_contact=np.zeros(n, dtype=np.bool_),
            closed_contact=np.ones(n, dtype=np.bool_),
            looks=np.zeros(n),
        )

    def operate(self, site: int, *, opens: bool) -> None:
        """Move a pole, as its own interlock or a switching order does; one that is stuck stays.

        Raises:
            ValueError: The site has no transfer switch.
        """
        if not self.fitted[site]:
            raise ValueError(f"site {site} has no transfer switch")
        if not self.stuck[site]:
            self.open[site] = opens

    def look(self, dt_s: float) -> None:
        """Let the input modules look at the contacts for a step."""
        opened = np.where(self.says_open == NO_FAULT, self.open, self.says_open == 1)
        closed = np.where(self.says_closed == NO_FAULT, ~self.open, self.says_closed == 1)
        self.open_contact = np.where(self.stale, self.open_contact, opened)
        self.closed_contact = np.where(self.stale, self.closed_contact, closed)
        self.looks = np.where(self.stale, self.looks, self.looks + LOOKS_PER_S * dt_s)

    def claims_open(self) -> Bools:
        """Return where both contacts agree that the pole is open: an inverter then forms a grid of its own."""
        return np.asarray(self.fitted & self.open_contact & ~self.closed_contact)
