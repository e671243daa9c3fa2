"""What a site is doing, by its own account: the retained state, told when it changes and once a minute."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from edge.gateway import roster
from telemetry.model.reading import SiteState
from telemetry.wire import VERSION, StateMessage, encode

if TYPE_CHECKING:
    from edge.gateway.core import GatewayCore

_TELL_EVERY: Final = timedelta(minutes=1)


def site_state(core: GatewayCore, now: datetime) -> SiteState:
    """Return what the site is doing; a discharge of its own is neither dispatch nor recharge."""
    if core.condition.in_outage:
        return SiteState.OUTAGE
    if core.condition.fault:
        return SiteState.FAULT
    if roster.current(core.duties, now) is not None:
        return SiteState.DISPATCH
    if core.recharge is None:
        return SiteState.FLOAT
    return SiteState.RECOVERY if core.condition.after_outage else SiteState.RECHARGE


class StateTeller:
    """Remembers what was said last; the centre refuses a state that is old."""

    def __init__(self) -> None:
        self._state: SiteState | None = None
        self._told_at: datetime | None = None

    def forget(self) -> None:
        """Say it anew with the next look: something beside the state changed."""
        self._state = None

    def tell(self, core: GatewayCore, now: datetime, *, again: bool) -> None:
        """Publish the state if it changed, if it is asked for again, or a minute after the last time."""
        state = site_state(core, now)
        due = self._told_at is None or not timedelta(0) <= now - self._told_at < _TELL_EVERY
        if state is self._state and not (again or due):
            return
        self._state, self._told_at = state, now
        message = StateMessage(
            v=VERSION,
            site_id=core.config.site_id,
            at=now,
            online=True,
            state=state,
            local_lock=core.recorder.local_lock,
            last_sequence=max(0, core.memory.held.last_sequence),
            firmware=core.config.firmware,
        )
        core.outbox.send_state(encode(message))
