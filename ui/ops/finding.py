"""What a check found: fine, worth knowing, or broken, and then what to do next."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of `cellwatt doctor`; whatever is not fine says what to do."""

    check: str
    level: Level
    detail: str
    remedy: str = ""

    def __post_init__(self) -> None:
        if (self.level is Level.OK) == bool(self.remedy):
            raise ValueError("a remedy belongs to what is not fine, and to nothing else")


def fine(check: str, detail: str) -> Finding:
    """Return a finding that needs nothing."""
    return Finding(check=check, level=Level.OK, detail=detail)


def warning(check: str, detail: str, remedy: str) -> Finding:
    """Return a finding that somebody should know."""
    return Finding(check=check, level=Level.WARNING, detail=detail, remedy=remedy)


def problem(check: str, detail: str, remedy: str) -> Finding:
    """Return a finding that keeps the system, or a part of it, from working."""
    return Finding(check=check, level=Level.PROBLEM, detail=detail, remedy=remedy)
