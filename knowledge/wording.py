"""A question put into the library's words: misspelt words mended, everyday words joined by the field's. Pure.

What was asked stays in; words are only added or mended, so that a wrong guess costs little.
"""

import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

GLOSSARY = Path(__file__).parent / "glossary.toml"
_WORD = re.compile(r"(?<!\w)[^\W\d_]+(?:[-'][^\W\d_]+)*(?!\w)")
_NAME = re.compile(r'"([^"]{2,80})"|\b[^\W_]+(?:_[^\W_]+)+\b')
_WORDPIECES = Path(__file__).parent / "minilm" / "vocab.txt"
_LEAST_LETTERS = 4  # a shorter word has too many neighbours
_LONG = 8
_SENTENCE = 3  # words from which unknown ones tell another language
_MOST_UNKNOWN = 0.6  # share of words
_ENDINGS = ("s", "es", "ed", "d", "ing", "er", "ly")


@dataclass(frozen=True, slots=True, kw_only=True)
class Glossary:
    """Everyday words or phrases to the field's words."""

    entries: Mapping[str, str]

    def added(self, query: str) -> tuple[str, ...]:
        """Return the field's words for what a question says, each once, in the order of the glossary."""
        said = " " + " ".join(re.findall(r"[\w/'-]+", query.lower())) + " "
        found = (field for everyday, field in self.entries.items() if f" {everyday} " in said)
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Worded:
    """A question as it is searched.

    Attributes:
        asked: Mended.
        added: The field's words for what it says.
        names: What stands in quotes, and names with an underscore, such as a reason or an alarm: to be found as they are.
    """

    asked: str
    added: tuple[str, ...]
    names: tuple[str, ...] = ()

    @property
    def whole(self) -> str:
        """Both in one text, to be embedded."""
        return f"{self.asked} ({', '.join(self.added)})" if self.added else self.asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrasing:
    """What it takes to word a question: the glossary, and which words are no misspellings (None: mend nothing)."""

    glossary: Glossary
    known: frozenset[str] | None

    @classmethod
    def as_asked(cls) -> "Phrasing":
        """Return one that changes nothing, for comparison."""
        return cls(glossary=Glossary(entries={}), known=None)

    def doubtful(self, query: str) -> tuple[str, ...]:
        """Return the words to be compared with the library's."""
        return () if self.known is None else unknown_words(query, self.known)

    def worded(self, query: str, alike: Mapping[str, Sequence[tuple[str, int]]]) -> Worded:
        """Return the question as it is searched; `alike` as in `mended`."""
        asked = mended(query, alike)
        return Worded(asked=asked, added=self.glossary.added(asked), names=exact_names(query))


def read_phrasing() -> Phrasing:
    """Return the delivered glossary with the words that need no mending."""
    glossary = read_glossary()
    everyday = {word for phrase in glossary.entries for word in phrase.split()}
    return Phrasing(glossary=glossary, known=ordinary_words() | everyday)


def read_glossary(path: Path = GLOSSARY) -> Glossary:
    """Return the glossary of a TOML file: tables of field words to everyday words."""
    tables = tomllib.loads(path.read_text("utf-8"))
    return Glossary(
        entries={
            everyday: field for table in tables.values() for field, said in table.items() for everyday in said
        }
    )


def ordinary_words(path: Path = _WORDPIECES) -> frozenset[str]:
    """Return English words that are no misspellings, though the library may not hold them.

    They are the whole words among the embedding model's tokens.
    """
    return frozenset(word for word in path.read_text("utf-8").splitlines() if word.isalpha())


def unknown_words(query: str, known: Collection[str]) -> tuple[str, ...]:
    """Return the words of a question that may be misspelt; none where most are unknown: that is another language."""
    words = tuple(dict.fromkeys(found[0].lower() for found in _WORD.finditer(query)))
    unknown = tuple(
        word
        for word in words
        if len(word) >= _LEAST_LETTERS and word.isalpha() and not _is_known(word, known)
    )
    foreign = len(words) >= _SENTENCE and len(unknown) > len(words) * _MOST_UNKNOWN
    return () if foreign else unknown


def exact_names(query: str) -> tuple[str, ...]:
    """Return what stands in quotes, and the names with an underscore, each once."""
    return tuple(dict.fromkeys(found[1] or found[0] for found in _NAME.finditer(query)))


def _is_known(word: str, known: Collection[str]) -> bool:
    """Whether a word, or what it is an inflection of, is known."""
    if word in known:
        return True
    for ending in _ENDINGS:
        stem = word.removesuffix(ending)
        if stem != word and (
            stem in known
            or f"{stem}e" in known
            or (len(stem) > 3 and stem[-1] == stem[-2] and stem[:-1] in known)
        ):
            return True
    return False


def mended(query: str, candidates: Mapping[str, Sequence[tuple[str, int]]]) -> str:
    """Return the question with misspelt words replaced by the nearest word of the library.

    Args:
        query: As asked.
        candidates: Misspelt word to words of the library that look alike, with in how many passages they occur.
    """
    for word, alike in candidates.items():
        near = sorted((distance(word, each), -passages, each) for each, passages in alike if each.isalpha())
        if near and _near_enough(word, near[0][2], near[0][0]):
            query = re.sub(rf"\b{re.escape(word)}\b", near[0][2], query, flags=re.IGNORECASE)
    return query


def _near_enough(word: str, other: str, steps: int) -> bool:
    """Short words have many neighbours: of four letters only a swap counts, and only long ones may differ in two places."""
    if len(word) <= _LEAST_LETTERS:
        return steps == 1 and sorted(word) == sorted(other)
    if word[0] != other[0] and len(word) < _LONG:
        return False
    return steps <= (1 if len(word) < 6 else 2)


def distance(one: str, other: str) -> int:
    """Return how many letters must be changed, added, left out, or swapped with their neighbour.

    Source:
        Optimal string alignment (Damerau-Levenshtein without repeated edits of one place).
    """
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        last, row = row, [i]
        for j, wanted in enumerate(other, start=1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before = last
    return row[-1]
