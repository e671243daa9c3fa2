from hypothesis import given
from hypothesis import strategies as st

from telemetry.ranges import Span, advance, merge, to_spans


def test_numbers_become_the_fewest_spans() -> None:
    assert to_spans([5, 1, 2, 3, 9, 2]) == (Span(1, 3), Span(5, 5), Span(9, 9))


def test_touching_and_overlapping_spans_merge() -> None:
    assert merge([Span(4, 6), Span(1, 3), Span(6, 9)]) == (Span(1, 9),)


def test_a_gap_holds_the_mark_back_until_it_is_filled() -> None:
    assert advance(10, [Span(12, 20)]) == (10, (Span(12, 20),))
    assert advance(10, [Span(12, 20), Span(11, 11)]) == (20, ())


def test_what_was_stored_before_changes_nothing() -> None:
    assert advance(10, [Span(3, 8)]) == (10, ())


@given(st.lists(st.lists(st.integers(1, 60), max_size=10), max_size=12))
def test_in_any_order_the_mark_is_the_last_number_before_the_first_gap(batches: list[list[int]]) -> None:
    upto, ahead = 0, tuple[Span, ...]()
    for batch in batches:
        before = upto
        upto, ahead = advance(upto, (*ahead, *to_spans(batch)))
        assert upto >= before
    seen = {number for batch in batches for number in batch}
    assert upto == next(n for n in range(61 + 1) if n + 1 not in seen)
    assert {n for span in ahead for n in range(span.first, span.last + 1)} == {n for n in seen if n > upto}
