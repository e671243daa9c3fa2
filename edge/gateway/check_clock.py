"""The clock side of `cellwatt-gateway --check`: what the system itself says about its clock, and whether that will do.

Commands are judged by this clock, and a correction of more than `pacing.clock_jump_s` while the gateway runs ends what
the site is doing. MQTT carries no time, so the broker cannot be asked; the kernel can: whoever disciplines the clock
(timesyncd, chrony, ntpd) tells it that it is synchronised and by how much it may be wrong (adjtimex(2)).
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from edge.gateway.finding import Finding

TIMESYNCD_MARK = Path("/run/systemd/timesync/synchronized")
_BUILT = datetime(2026, 1, 1, tzinfo=UTC)  # a clock before this is wrong
_STA_UNSYNC = 0x0040  # <sys/timex.h>
_FIX = (
    "enable NTP (timedatectl set-ntp true; chrony needs `rtcsync`), let the site's firewall pass UDP 123, "
    "and wait until `timedatectl` says synchronized"
)


class Timex(ctypes.Structure):
    """The first fields of `struct timex` (adjtimex(2)), and more room than the rest of it takes."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),  # us
        ("esterror", ctypes.c_long),  # us
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 512),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockState:
    """What is known about the system's clock.

    Attributes:
        synchronised: None where nobody could be asked.
        most_off: How far it may be from true time; None where that is not known.
        source: Who says so.
    """

    synchronised: bool | None
    most_off: timedelta | None = None
    source: str


def system_clock_state() -> ClockState:
    """Return what the kernel says, else what timesyncd left behind, else that nothing is known."""
    held = kernel_timex()
    return timesyncd_state() if held is None else read_timex(held)


def timesyncd_state(mark: Path = TIMESYNCD_MARK) -> ClockState:
    """Return what timesyncd left behind: its folder while it runs, the mark once a server has answered."""
    if mark.exists() or mark.parent.exists():
        return ClockState(synchronised=mark.exists(), source="systemd-timesyncd")
    return ClockState(synchronised=None, source="neither the kernel nor systemd-timesyncd can be asked")


def kernel_timex() -> Timex | None:
    """Ask the kernel, changing nothing (`modes` 0); None where it cannot be asked: another system, or forbidden."""
    try:
        ask = ctypes.CDLL(None, use_errno=True).adjtimex
    except (AttributeError, OSError):
        return None
    held = Timex()
    ask.argtypes, ask.restype = (ctypes.POINTER(Timex),), ctypes.c_int
    return None if ask(ctypes.byref(held)) < 0 else held


def read_timex(held: Timex) -> ClockState:
    """Return what the kernel's answer means."""
    if held.status & _STA_UNSYNC:
        return ClockState(synchronised=False, source="the kernel")
    return ClockState(synchronised=True, most_off=timedelta(microseconds=held.maxerror), source="the kernel")


def check_clock(now: datetime, state: ClockState, tolerance: timedelta) -> Finding:
    """Try that the clock is right, by what the system knows of it.

    Args:
        now: What the clock says.
        state: What the system says about it.
        tolerance: The correction that a running gateway does not take for a jump.
    """
    found = now.isoformat(timespec="seconds")
    if now < _BUILT:
        return Finding(what="clock", found=f"{found}, before this program was made", fix=_FIX)
    if state.synchronised is None:
        return Finding(what="clock", found=f"{found}, synchronisation unknown: {state.source}", unknown=True)
    if not state.synchronised:
        return Finding(what="clock", found=f"{found}, {state.source} says it is not synchronised", fix=_FIX)
    if state.most_off is None:
        return Finding(what="clock", found=f"{found}, synchronised, says {state.source}")
    off = f"within {state.most_off.total_seconds():.3f} s, says {state.source}"
    if state.most_off > tolerance:
        fix = (
            f"its time server has not answered for long, {tolerance.total_seconds():g} s is the most: {_FIX}"
        )
        return Finding(what="clock", found=f"{found}, synchronised only {off}", fix=fix)
    return Finding(what="clock", found=f"{found}, synchronised {off}")
