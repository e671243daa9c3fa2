"""BM25 alone, as the yardstick of the library's search: the ranking of words that every search is measured against. Pure.

Source:
    Robertson & Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", Foundations and Trends in Information
    Retrieval 3(4), 2009, equation 3.15; k1 = 1.2 and b = 0.75 as is usual. The inverse document frequency has one added
    inside the logarithm, as in Lucene, so that a word of more than half of the passages counts nothing and not against.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import log

K1 = 1.2  # how soon a repeated word counts no more
B = 0.75  # how far a long passage's words count less


class Bm25:
    """Ranks passages by a question's words; both come as words, cut and stemmed by whoever asks."""

    def __init__(self, passages: Mapping[str, Sequence[str]], *, k1: float = K1, b: float = B) -> None:
        """Count the words of each passage, by its name."""
        self._k1, self._b = k1, b
        self._counts = {name: Counter(words) for name, words in passages.items()}
        self._lengths = {name: len(words) for name, words in passages.items()}
        self._mean = sum(self._lengths.values()) / max(1, len(self._lengths))
        self._holding = Counter(word for counts in self._counts.values() for word in counts)

    def idf(self, word: str) -> float:
        """Return how much a word tells passages apart: ln(1 + (N - n + 0.5) / (n + 0.5))."""
        holding = self._holding[word]
        return log(1.0 + (len(self._counts) - holding + 0.5) / (holding + 0.5))

    def score(self, name: str, words: Iterable[str]) -> float:
        """Return how well a passage answers."""
        counts = self._counts[name]
        norm = self._k1 * (1.0 - self._b + self._b * self._lengths[name] / self._mean)
        return sum(
            self.idf(word) * counts[word] * (self._k1 + 1.0) / (counts[word] + norm)
            for word in words
            if counts[word]
        )

    def ranked(self, words: Sequence[str]) -> list[str]:
        """Return the names of the passages that hold any of the words, the best first."""
        scores = {name: self.score(name, words) for name in self._counts}
        return sorted(
            (name for name, value in scores.items() if value > 0.0), key=lambda one: (-scores[one], one)
        )
