"""How much each word of a question weighs, and which of them are rare enough to look passages up by. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import log


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


def rare_enough(words: Sequence[Word], most: int) -> tuple[Word, ...]:
    """Return the rarest words that together put up at most so many passages; the rarest one in any case."""
    taken: list[Word] = []
    for word in words:
        if taken and sum(each.passages for each in taken) + word.passages > most:
            break
        taken.append(word)
    return tuple(taken)


def term_of(word: str) -> str:
    """Return a lexeme as a tsquery, quoted so that nothing in it is an operator."""
    quoted = word.replace("\\", "\\\\").replace("'", "''")
    return f"'{quoted}'"
