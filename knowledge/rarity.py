"""How much each word of a question weighs, and which of them are rare enough to look passages up by. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import log, prod

_COMBINED = 8  # of the rarest words that are looked up together with another
_MOST_TERMS = 12  # of a lookup: each costs a scan of its word's list


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A stem that the library knows, in how many passages it occurs, and how much it weighs."""

    word: str
    passages: int
    weight: float


def rarity(passages: int, total: int) -> float:
    """Return how much a word weighs that so many passages of a library hold.

    Source:
        The inverse document frequency of BM25: ln(1 + (N - n + 0.5) / (n + 0.5)).
    """
    return log(1.0 + (max(total - passages, 0) + 0.5) / (passages + 0.5))


def weighed(words: Iterable[tuple[str, int, float]], total: int) -> tuple[Word, ...]:
    """Return the words of a question, rarest first, each with its weight.

    Args:
        words: Stem, passages that hold it, and its share: 1 for what was asked, less for what was added.
        total: Passages in the library.
    """
    found = (
        Word(
            word=word,
            passages=passages,
            weight=share * rarity(passages, total),
        )
        for word, passages, share in words
    )
    return tuple(sorted(found, key=lambda each: (each.passages, each.word)))


def looked_up_by(words: Sequence[Word], total: int, most: int) -> tuple[str, ...]:
    """Return by which words passages are looked up, as terms of a tsquery that are joined by "or".

    A small library is looked up by every word. Of a large one the rarest words put up at most `most` passages together; where
    even the rarest holds more, or room is left, passages that hold two or three of the words join in, the rarest first. So
    many words in common would rank high in any case; what holds only one frequent word would not.

    Args:
        words: Rarest first.
        total: Passages in the library.
        most: Passages to look at; how many hold several words is estimated as if words were independent.
    """
    if total <= most:
        return tuple(term_of(word.word) for word in words)
    taken: list[str] = []
    left, rest = float(most), list(words)
    while rest and rest[0].passages <= left:
        left -= rest[0].passages
        taken.append(term_of(rest.pop(0).word))
    for size in (2, 3):
        for together in sorted(combinations(rest[:_COMBINED], size), key=lambda some: _expected(some, total)):
            if len(taken) >= _MOST_TERMS or _expected(together, total) > left:
                break
            left -= _expected(together, total)
            taken.append(f"({' & '.join(term_of(word.word) for word in together)})")
    return tuple(taken) or tuple(f"({' & '.join(term_of(word.word) for word in rest[:3])})" for _ in rest[:1])


def _expected(together: Sequence[Word], total: int) -> float:
    return float(prod(word.passages for word in together)) / float(total) ** (len(together) - 1)


def term_of(word: str) -> str:
    """Return a lexeme as a tsquery, quoted so that nothing in it is an operator."""
    quoted = word.replace("\\", "\\\\").replace("'", "''")
    return f"'{quoted}'"
