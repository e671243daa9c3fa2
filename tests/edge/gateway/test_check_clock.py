"""What `--check` says of the clock: fix it, it is right, or nobody knows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.gateway.check import report
from edge.gateway.check_clock import (
    ClockState,
    Timex,
    check_clock,
    kernel_timex,
    read_timex,
    system_clock_state,
    timesyncd_state,
)

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
TOLERANCE = timedelta(seconds=5)


def timex(*, status: int, maxerror: int) -> Timex:
    held = Timex()
    held.status, held.maxerror = status, maxerror
    return held


@pytest.mark.parametrize(
    ("status", "maxerror", "says", "fix"),
    [
        # STA_PLL 0x0001 alone: synchronised; 16 s with STA_UNSYNC 0x0040 is what a machine without NTP shows.
        (0x0001, 12_345, "synchronised within 0.012 s, says the kernel", ""),
        (0x0041, 16_000_000, "the kernel says it is not synchronised", "timedatectl set-ntp true"),
        (0x0001, 5_000_000, "synchronised within 5.000 s", ""),
        (0x0001, 5_000_001, "synchronised only within 5.000 s", "5 s is the most"),
    ],
)
def test_the_kernels_word_decides(status: int, maxerror: int, says: str, fix: str) -> None:
    found = check_clock(NOW, read_timex(timex(status=status, maxerror=maxerror)), TOLERANCE)
    assert says in found.found
    assert fix in found.fix
    assert bool(found.fix) == bool(fix)
    assert not found.unknown


def test_a_clock_from_before_the_program_is_wrong_whoever_calls_it_synchronised() -> None:
    state = ClockState(synchronised=True, source="the kernel")
    found = check_clock(datetime(1970, 1, 1, 0, 5, tzinfo=UTC), state, TOLERANCE)
    assert "UDP 123" in found.fix


def test_what_nobody_knows_is_called_unknown_and_not_ok(capsys: pytest.CaptureFixture[str]) -> None:
    found = check_clock(NOW, ClockState(synchronised=None, source="nobody can be asked"), TOLERANCE)
    assert found.unknown
    assert report([found]) == 0
    assert capsys.readouterr().out.startswith("?   clock: 2026-03-02T12:00:00+00:00, synchronisation unknown")
    assert report([check_clock(NOW, ClockState(synchronised=False, source="x"), TOLERANCE)]) == 1
    assert capsys.readouterr().out.startswith("FIX clock")


def test_where_the_kernel_cannot_be_asked_timesyncds_mark_counts(tmp_path: Path) -> None:
    mark = tmp_path / "timesync" / "synchronized"
    assert timesyncd_state(mark).synchronised is None
    mark.parent.mkdir()
    assert timesyncd_state(mark).synchronised is False
    mark.touch()
    assert timesyncd_state(mark).synchronised is True


def test_this_machines_kernel_is_really_asked() -> None:
    held, state = kernel_timex(), system_clock_state()
    if held is None:  # no Linux, or forbidden
        assert state == timesyncd_state()
        return
    # NTP_PHASE_LIMIT in the kernel bounds both: another layout would read something else here.
    assert 0 <= held.maxerror <= 16_000_000
    assert 0 <= held.esterror <= 16_000_000
    assert state.synchronised is not None
    assert state.source == "the kernel"
