from telemetry.gaps import Gap, GapWatch

GAP = Gap("cbs-0001", "b", 4, 7)


def test_a_gap_is_told_when_it_has_lasted_and_then_no_more() -> None:
    watch = GapWatch(lasting_s=900.0)
    assert watch.lasting([GAP], 100.0) == []
    assert watch.lasting([GAP], 999.9) == []
    assert watch.lasting([GAP], 1000.0) == [GAP]
    assert watch.lasting([GAP], 2000.0) == []


def test_a_gap_that_is_being_filled_from_its_beginning_stays_the_same() -> None:
    watch = GapWatch(lasting_s=900.0)
    assert watch.lasting([GAP], 0.0) == []
    assert watch.lasting([GAP._replace(first=6)], 900.0) == [GAP._replace(first=6)]
    assert watch.lasting([GAP._replace(first=7)], 2000.0) == []


def test_a_gap_that_was_closed_counts_anew() -> None:
    watch = GapWatch(lasting_s=900.0)
    watch.lasting([GAP], 0.0)
    assert watch.lasting([GAP], 900.0) == [GAP]
    assert watch.lasting([], 901.0) == []
    assert watch.lasting([GAP], 902.0) == []
    assert watch.lasting([GAP], 1802.0) == [GAP]
