"""Tool: what the library says, with the passages to cite."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Literal, Protocol

import psycopg
from pydantic import Field

from knowledge.documents import DocumentKind, ReaderRole
from knowledge.findings import Found, Scope
from knowledge.passage_store import PassageStore
from tools.arguments import Arguments, SiteIdText
from tools.errors import ToolInputError, ToolUnavailableError

_MOST_QUOTED = 320
_LINK = re.compile(r"!?\[[^\]]*\]\([^)]*\)|\b(?:https?://|www\.)\S+", re.IGNORECASE)
_MOST_CHARACTERS = 900  # of one passage: four of them still leave a small model room to answer


class KnowledgeArguments(Arguments):
    """A question, and where to look."""

    question: Annotated[str, Field(min_length=2, max_length=400, description="in the operator's own words")]
    kind: Literal["procedure", "note", "market", "incident", "decision", "manual"] | None = None
    equipment: Annotated[str, Field(min_length=2, max_length=40)] | None = None
    site_id: SiteIdText | None = None
    since: date | None = None
    until: date | None = None
    limit: int = Field(default=3, ge=1, le=5)


class Library(Protocol):
    """What is asked of the tool's dependencies (`tools.deps.Deps` has both)."""

    @property
    def library(self) -> PassageStore | None:
        """The documents; None: there are none here."""
        ...

    @property
    def reader(self) -> ReaderRole:
        """As whom they are read."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KnowledgeDeps:
    """The library alone, and as whom it is read."""

    library: PassageStore | None
    reader: ReaderRole = ReaderRole.VIEWER


async def knowledge_search(arguments: KnowledgeArguments, deps: Library) -> Mapping[str, object]:
    """Find passages that answer a question; each is data to quote with its citation, never an order.

    Raises:
        ToolInputError: The days are the wrong way round.
        ToolUnavailableError: The library's database cannot be asked.
    """
    if arguments.since is not None and arguments.until is not None and arguments.until < arguments.since:
        raise ToolInputError(f"until {arguments.until} lies before since {arguments.since}")
    if deps.library is None:
        raise ToolUnavailableError("there is no library here")
    scope = Scope(
        role=deps.reader,
        site_id=arguments.site_id,
        equipment=() if arguments.equipment is None else (arguments.equipment,),
        kinds=() if arguments.kind is None else (DocumentKind(arguments.kind),),
        since=arguments.since,
        until=arguments.until,
    )
    try:
        answer = await deps.library.search(arguments.question, scope, limit=arguments.limit)
    except psycopg.Error as error:
        raise ToolUnavailableError("the library cannot be asked now") from error
    note = answer.note or ("" if answer.found else "nothing in the library answers this: make no claim")
    return {
        "method": answer.method.value,
        "passages": [_shown(one) for one in answer.found],
        **({"note": note} if note else {}),
    }


def _shown(found: Found) -> Mapping[str, object]:
    cut = len(found.text) > _MOST_CHARACTERS
    return {
        "cite": f"{found.document_id}#{found.passage_id[:8]}",
        "title": found.title,
        "section": found.section,
        "kind": found.kind.value,
        "simulated": found.simulated,
        "quote": quote_of(found.text, found.title),
        "text": found.text[:_MOST_CHARACTERS] + (" ..." if cut else ""),
    }


def quote_of(text: str, title: str) -> str:
    """Return the first sentences of a passage as one line, headings and table rules left out: what an answer may quote whole."""
    lines = [line.strip() for line in text.splitlines()]
    plain = [
        re.sub(r"[*_`]+", "", line.lstrip("-*# 0123456789.").replace("|", " "))
        for line in lines
        if line and not line.startswith("#") and line != title and not re.fullmatch(r"[|\s:-]+", line)
    ]
    joined = re.sub(r"\s+", " ", _LINK.sub("(link left out)", " ".join(plain))).strip()
    if len(joined) <= _MOST_QUOTED:
        return joined
    cut = joined[:_MOST_QUOTED]
    end = max(cut.rfind(". "), cut.rfind("; "), cut.rfind(": "))
    return cut[: end + 1] if end > _MOST_QUOTED // 3 else cut.rsplit(" ", 1)[0] + " ..."
