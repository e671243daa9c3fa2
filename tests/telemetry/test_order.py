from datetime import timedelta

from telemetry.order import Doubt, Stamp, Track, follow
from telemetry.ranges import Span
from tests.telemetry.examples import NOW


def _stamps(*numbers: int, late_s: float = 0.0) -> list[Stamp]:
    return [Stamp(n, NOW + timedelta(seconds=10 * n - late_s)) for n in numbers]


def _told(*messages: list[Stamp]) -> tuple[Track, list[list[Doubt]]]:
    track, found = None, list[list[Doubt]]()
    for message in messages:
        track, doubts = follow(track, "b", message, message[-1].at)
        found.append(doubts)
    assert track is not None
    return track, found


def test_a_gap_is_told_at_the_reading_after_it_and_what_fills_it_is_out_of_order() -> None:
    track, found = _told(_stamps(1, 2), _stamps(6, 7), _stamps(4), _stamps(8))
    assert found == [
        [],
        [(0, "sequence", "gap: 3 readings missing before this")],
        [(0, "sequence", "out of order, after 7")],
        [],
    ]
    assert track.holes == (Span(3, 3), Span(5, 5))


def test_a_gap_inside_a_message_is_told_too() -> None:
    _, found = _told(_stamps(1, 3))
    assert found == [[(1, "sequence", "gap: 1 readings missing before this")]]


def test_a_number_that_was_seen_is_a_duplicate() -> None:
    _, found = _told(_stamps(1, 2, 3), _stamps(2))
    assert found[1] == [(0, "sequence", "duplicate")]


def test_a_new_boot_begins_anew_and_a_message_seen_first_is_no_gap() -> None:
    track, found = _told(_stamps(500))
    assert found == [[]]
    again, doubts = follow(track, "other boot", _stamps(1), NOW)
    assert (again.high, doubts) == (1, [])


def test_a_clock_that_steps_back_is_suspect() -> None:
    _, found = _told(_stamps(1, 2), [Stamp(3, NOW - timedelta(seconds=40))])
    assert found[1] == [(0, "at", "clock stepped back by 60 s")]  # from NOW + 20 s


def test_a_clock_an_hour_behind_is_suspect_once_it_is_seen_to_be_steady() -> None:
    track, found = None, list[list[Doubt]]()
    for n in range(1, 8):
        arrived_at = NOW + timedelta(seconds=10 * n)
        track, doubts = follow(track, "b", _stamps(n, late_s=3600.0), arrived_at)
        found.append(doubts)
    assert [len(each) for each in found] == [0, 0, 0, 0, 0, 1, 1]
    assert found[-1] == [Doubt(0, "at", "clock 3600 s behind, steadily")]


def test_a_clock_behind_is_seen_whatever_the_rhythm_of_messages() -> None:
    track, doubtful = None, list[int]()
    for n in range(200):  # five a second
        arrived_at = NOW + timedelta(seconds=0.2 * n)
        stamp = Stamp(n + 1, arrived_at - timedelta(hours=1))
        track, doubts = follow(track, "b", [stamp], arrived_at)
        doubtful += [n] if doubts else []
    # Ages are remembered six seconds apart: the sixth comes at 30 s, with message 150.
    assert doubtful == list(range(150, 200))


def test_what_is_sent_again_does_not_hide_a_clock_that_is_behind() -> None:
    track, doubtful = None, list[int]()
    for n in range(12):
        arrived_at = NOW + timedelta(seconds=6 * n)
        track, doubts = follow(track, "b", [Stamp(n + 1, arrived_at - timedelta(hours=1))], arrived_at)
        doubtful += [n] if any("steadily" in each.reason for each in doubts) else []
        first = Stamp(1, NOW - timedelta(hours=1))  # ever older when it comes again
        track, _ = follow(track, "b", [first], arrived_at + timedelta(seconds=1))
    assert doubtful == list(range(5, 12))  # the sixth message comes 30 s after the first


def test_a_backlog_that_is_caught_up_is_no_skew() -> None:
    track = None
    for n in range(1, 20):  # ten times as fast as it was sampled: its age falls
        track, doubts = follow(track, "b", _stamps(n, late_s=3600.0), NOW + timedelta(seconds=n))
        assert doubts == []
