"""Which sequence numbers of a boot are safe: sets of numbers as closed ranges (pure)."""

from collections.abc import Iterable
from typing import NamedTuple


class Span(NamedTuple):
    """Every number from `first` to `last`, both included."""

    first: int
    last: int


def to_spans(numbers: Iterable[int]) -> tuple[Span, ...]:
    """Return the numbers as the fewest spans, in order."""
    return merge(Span(number, number) for number in numbers)


def merge(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return the union of spans as the fewest spans, in order."""
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and span.first <= merged[-1].last + 1:
            merged[-1] = Span(merged[-1].first, max(merged[-1].last, span.last))
        else:
            merged.append(span)
    return tuple(merged)


def advance(upto: int, ahead: Iterable[Span]) -> tuple[int, tuple[Span, ...]]:
    """Return the highest n with every number <= n safe, and the spans that still wait beyond the first gap.

    Args:
        upto: Every number up to here is known to be safe.
        ahead: Spans that are safe too, anywhere.
    """
    spans = merge(span for span in ahead if span.last > upto)
    if spans and spans[0].first <= upto + 1:
        return spans[0].last, spans[1:]
    return upto, spans
