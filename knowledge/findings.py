"""What is asked of the library and what comes back; how two rankings become one. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from knowledge.documents import DocumentKind, ReaderRole


class Method(StrEnum):
    """How to search; `hybrid` falls back to words where nothing is embedded."""

    HYBRID = "hybrid"
    WORDS = "words"
    VECTORS = "vectors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Where to search; the empty ones leave everything in.

    Attributes:
        role: Who reads.
        site_id: Passages about this site, and those about no particular one.
        about_site_only: With `site_id`: only passages about it ("have we seen this here before?").
        equipment: At least one of these.
        kinds: One of these.
        since: Written on this day or later; undated passages are left out.
        until: Written on this day or earlier; undated passages are left out.
    """

    role: ReaderRole
    site_id: str | None = None
    about_site_only: bool = False
    equipment: tuple[str, ...] = ()
    kinds: tuple[DocumentKind, ...] = ()
    since: date | None = None
    until: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How much each ranking counts. Chosen on the two committed sets of questions together (D-knowledge-2).

    Attributes:
        vectors: Of the likeness of meaning, as a share of the best one's.
        words: Of the words in common, as a share of the best one's.
        added_words: Share of a word's weight for one that the glossary added.
        depth: Passages of each ranking that are looked at.
    """

    vectors: float = 1.5
    words: float = 1.0
    added_words: float = 0.5
    depth: int = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A passage that answers, with what it scored: cite `document_id` and `passage_id`.

    Attributes:
        score: Of the fusion; comparable within one answer only.
        cosine: Likeness of meaning, -1..1, or None where it was not among the nearest.
        vector_rank: Place by meaning from 1, or None.
        word_score: Weight of the words in common, or None where none was.
        word_rank: Place by words from 1, or None.
    """

    document_id: str
    passage_id: str
    title: str
    kind: DocumentKind
    section: str
    text: str
    starts_at: int
    ends_at: int
    simulated: bool
    score: float
    cosine: float | None
    vector_rank: int | None
    word_score: float | None
    word_rank: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was found, best first, and by which method; `note` says what was missing, for people."""

    found: tuple[Found, ...]
    method: Method
    note: str = ""


def fuse(
    by_meaning: Mapping[str, float], by_words: Mapping[str, float], weights: Weights
) -> tuple[tuple[str, float], ...]:
    """Return passage ids with their fused score, best first; ties in order of id.

    A score counts as a share of the best one in its ranking, so that a clear winner counts more than a narrow one.

    Args:
        by_meaning: Cosine by id.
        by_words: Weight of the words in common by id.
        weights: How much each counts.
    """
    scores: dict[str, float] = {}
    for ranking, weight in ((by_meaning, weights.vectors), (by_words, weights.words)):
        best = max(ranking.values(), default=0.0)
        for passage_id, value in ranking.items():
            if best > 0.0:
                scores[passage_id] = scores.get(passage_id, 0.0) + weight * max(value, 0.0) / best
    return tuple(sorted(scores.items(), key=lambda each: (-each[1], each[0])))


def spread(
    ranked: Sequence[str], document_of: Mapping[str, str], *, limit: int, per_document: int
) -> tuple[str, ...]:
    """Return the first ids of a ranking, with at most so many of one document."""
    taken: list[str] = []
    counts: dict[str, int] = {}
    for passage_id in ranked:
        document_id = document_of[passage_id]
        if len(taken) < limit and counts.get(document_id, 0) < per_document:
            counts[document_id] = counts.get(document_id, 0) + 1
            taken.append(passage_id)
    return tuple(taken)
