import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from telemetry.spill import Message, Spill, SpillError, SpillLimits
from tests.telemetry.examples import NOW

SMALL = SpillLimits(max_bytes=2_000, segment_bytes=500)


def _messages(first: int, count: int, size: int = 10) -> list[Message]:
    return [
        Message(
            topic=f"t/{first + k}", payload=b"x" * size, arrived_at=NOW + timedelta(microseconds=first + k)
        )
        for k in range(count)
    ]


def _drain(spill: Spill) -> list[Message]:
    found: list[Message] = []
    while spill:
        found += spill.oldest()
        spill.drop_oldest()
    return found


def test_messages_come_back_in_order_with_their_arrival(tmp_path: Path) -> None:
    spill = Spill(tmp_path, SMALL)
    for first in range(0, 30, 3):
        assert spill.append(_messages(first, 3))
    assert len(spill) == 30
    assert len(list(tmp_path.glob("*.spill"))) > 1
    assert _drain(spill) == _messages(0, 30)
    assert (len(spill), spill.size_bytes, list(tmp_path.glob("*.spill"))) == (0, 0, [])


def test_at_the_bound_all_of_a_batch_is_refused_and_space_comes_back(tmp_path: Path) -> None:
    # A record is 8 + 10 + topic + payload: 8 + 10 + 3 + 479 = 500 bytes; four fill 2,000.
    spill = Spill(tmp_path, SMALL)
    assert spill.append(_messages(0, 4, size=479))
    assert spill.size_bytes == 2_000
    assert not spill.append(_messages(4, 1, size=0))
    spill.drop_oldest()
    assert spill.append(_messages(4, 1, size=0))
    assert _drain(spill) == _messages(4, 1, size=0)


def test_what_is_appended_while_the_oldest_is_read_is_not_dropped_with_it(tmp_path: Path) -> None:
    spill = Spill(tmp_path, SMALL)
    spill.append(_messages(0, 2))
    assert spill.oldest() == _messages(0, 2)
    spill.append(_messages(2, 1))
    spill.drop_oldest()
    assert _drain(spill) == _messages(2, 1)


def test_a_torn_end_is_cut_off_and_kept_aside(tmp_path: Path) -> None:
    spill = Spill(tmp_path, SMALL)
    spill.append(_messages(0, 2))
    spill.close()
    (segment,) = tmp_path.glob("*.spill")
    whole = segment.stat().st_size
    with segment.open("ab") as opened:
        opened.write(b"\x09\x00\x00\x00torn")
    again = Spill(tmp_path, SMALL)
    assert again.damaged == 1
    assert segment.stat().st_size == whole
    assert segment.with_suffix(".damaged").read_bytes() == b"\x09\x00\x00\x00torn"
    again.append(_messages(2, 1))
    assert _drain(again) == _messages(0, 3)


def test_a_disk_that_takes_no_more_keeps_what_was_accepted(tmp_path: Path) -> None:
    spill = Spill(tmp_path, SMALL)
    assert spill.append(_messages(0, 2))
    (segment,) = tmp_path.glob("*.spill")
    before = segment.stat().st_size
    # RLIMIT_FSIZE stops a write in its middle, as a full disk does; in a child, since the limit is the process's own.
    script = (
        "import resource, signal, sys; from pathlib import Path; from telemetry.spill import *\n"
        "from datetime import datetime, UTC\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "s = Spill(Path(sys.argv[1]), SpillLimits(max_bytes=10**6, segment_bytes=10**6))\n"
        "m = lambda n: [Message(topic='t', payload=b'x' * n, arrived_at=datetime(2026, 1, 1, tzinfo=UTC))]\n"
        "assert s.append(m(100))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))\n"
        "assert not s.append(m(1000))\n"
        "assert len(s) == 3 and len(s.oldest()) == 2\n"
    )
    spill.close()
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=20)
    again = Spill(tmp_path, SMALL)
    assert (len(again), again.damaged) == (3, 0)
    assert segment.stat().st_size == before


def test_two_workers_do_not_share_a_folder(tmp_path: Path) -> None:
    first = Spill(tmp_path, SMALL)
    with pytest.raises(SpillError, match="another worker"):
        Spill(tmp_path, SMALL)
    first.close()
    Spill(tmp_path, SMALL).close()


def test_what_was_accepted_survives_a_kill(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from datetime import datetime, UTC; from telemetry.spill import *\n"
        "s = Spill(Path(sys.argv[1]), SpillLimits(max_bytes=10**9, segment_bytes=4096))\n"
        "for k in range(10**9):\n"
        "    assert s.append([Message(topic=f't/{k}', payload=b'p', arrived_at=datetime(2026, 1, 1, tzinfo=UTC))])\n"
        "    print(k, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        accepted = [int(child.stdout.readline()) for _ in range(300)][-1]
        os.kill(child.pid, signal.SIGKILL)
        rest = child.stdout.read().split()
        accepted = max([accepted, *(int(each) for each in rest)])
    topics = [message.topic for message in _drain(Spill(tmp_path, SMALL))]
    assert topics[: accepted + 1] == [f"t/{k}" for k in range(accepted + 1)]
    assert len(topics) <= accepted + 2  # at most the one that was being accepted
