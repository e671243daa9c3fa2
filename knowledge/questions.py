"""Questions with the documents that answer them, and how well a search finds these. Pure."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from telemetry.model.errors import ControlError


class QuestionError(ControlError):
    """A file of questions says something that cannot be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question; any of `documents` answers it."""

    ask: str
    style: str
    documents: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Share of questions whose document came first, or among the first three; 0..1."""

    questions: int
    hit_at_1: float
    hit_at_3: float


def read_questions(path: Path) -> tuple[Question, ...]:
    """Return the questions of a TOML file (`[[question]]` with `ask`, `style`, `documents`).

    Raises:
        QuestionError: A key is missing or a question names no document.
    """
    try:
        rows = tomllib.loads(path.read_text("utf-8"))["question"]
        found = tuple(
            Question(ask=row["ask"], style=row["style"], documents=tuple(row["documents"])) for row in rows
        )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise QuestionError(f"{path.name}: {error!r}") from error
    if not all(question.documents for question in found):
        raise QuestionError(f"{path.name}: a question names no document")
    return found


def score(questions: Sequence[Question], found: Mapping[str, Sequence[str]]) -> Score:
    """Return how many questions were answered.

    Args:
        questions: At least one.
        found: Question to the documents found, best first, each once.
    """
    count = len(questions)
    first = sum(bool({*found[each.ask][:1]} & {*each.documents}) for each in questions)
    three = sum(bool({*found[each.ask][:3]} & {*each.documents}) for each in questions)
    return Score(questions=count, hit_at_1=first / count, hit_at_3=three / count)
