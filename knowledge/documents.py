"""What people wrote down: a document with what is known about it. Pure.

A Markdown file may begin with a head of YAML between two lines of `---`; what it does not say takes a default.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

import yaml

from telemetry.model.errors import ControlError


class DocumentError(ControlError):
    """A document cannot be taken in; the message says what to mend."""


class DocumentKind(StrEnum):
    """What sort of text it is."""

    PROCEDURE = "procedure"
    NOTE = "note"
    MARKET = "market"
    INCIDENT = "incident"
    DECISION = "decision"
    MANUAL = "manual"


class ReaderRole(StrEnum):
    """Who may read; each reads what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    APPROVER = "approver"
    ADMIN = "admin"

    @property
    def readable(self) -> tuple["ReaderRole", ...]:
        """The roles whose documents this one may read."""
        order = tuple(ReaderRole)
        return order[: order.index(self) + 1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One text.

    Attributes:
        document_id: Stable name: a page's name, or the path below the imported folder.
        title: Shown in citations.
        kind: What sort of text it is.
        text: Without the head; passages count their offsets in it.
        equipment: Field words such as `battery`, `lfp`, `rectifier`.
        jurisdiction: Places it holds for; empty or `any`: everywhere.
        sources: Where its facts come from, with how sure they are.
        site_ids: Sites that it is about; empty: no particular one.
        written_on: Its date, or None.
        role: The least role that may read it.
        simulated: It tells of something that never happened in the field.
    """

    document_id: str
    title: str
    kind: DocumentKind
    text: str
    equipment: tuple[str, ...] = ()
    jurisdiction: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    site_ids: tuple[str, ...] = ()
    written_on: date | None = None
    role: ReaderRole = ReaderRole.VIEWER
    simulated: bool = False

    @property
    def content_hash(self) -> str:
        """SHA-256 of everything that a search could show, hexadecimal."""
        parts: Iterable[object] = (
            *(self.title, self.kind.value, self.text, self.equipment, self.jurisdiction, self.sources),
            *(self.site_ids, self.written_on, self.role.value, self.simulated),
        )
        return hashlib.sha256("\0".join(str(part) for part in parts).encode()).hexdigest()

    @property
    def text_hash(self) -> str:
        """SHA-256 of the text alone, hexadecimal: two files with the same text are twins."""
        return hashlib.sha256(self.text.encode()).hexdigest()


_HEAD = re.compile(r"\A---[ \t]*\n(?P<head>.*?)\n---[ \t]*(?:\n|\Z)", re.DOTALL)
_TITLE = re.compile(r"^#[ \t]+(?P<title>.+?)[ \t#]*$", re.MULTILINE)
_KNOWN = frozenset(
    {"title", "kind", "equipment", "jurisdiction", "sources", "site_ids", "date", "role", "simulated"}
)


def read_markdown(text: str, document_id: str) -> Document:
    """Return the document of a Markdown text.

    Without a title in the head, the first heading is the title, else the document's name.

    Raises:
        DocumentError: The head is no YAML mapping, names an unknown key or kind, or the text is empty.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    found = _HEAD.match(text)
    head = _head(found["head"], document_id) if found else {}
    body = (text[found.end() :] if found else text).strip("\n")
    if not body.strip():
        raise DocumentError(f"{document_id}: there is no text in it")
    heading = _TITLE.search(body)
    title = str(head.get("title") or (heading["title"] if heading else document_id))
    written_on = head.get("date")
    if written_on is not None and not isinstance(written_on, date):
        raise DocumentError(f"{document_id}: date must be a day like 2026-11-20, not {written_on!r}")
    try:
        return Document(
            document_id=document_id,
            title=title,
            kind=DocumentKind(head.get("kind", DocumentKind.NOTE)),
            text=body,
            equipment=_words(head, "equipment"),
            jurisdiction=_words(head, "jurisdiction"),
            sources=_words(head, "sources"),
            site_ids=_words(head, "site_ids"),
            written_on=written_on,
            role=ReaderRole(head.get("role", ReaderRole.VIEWER)),
            simulated=bool(head.get("simulated", False)),
        )
    except ValueError as error:
        raise DocumentError(f"{document_id}: {error}") from error


def _head(text: str, document_id: str) -> Mapping[str, Any]:
    try:
        head = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DocumentError(f"{document_id}: the head is no YAML: {error}") from error
    if not isinstance(head, dict):
        raise DocumentError(f"{document_id}: the head is no list of `key: value`")
    if unknown := sorted(str(key) for key in head.keys() - _KNOWN):
        raise DocumentError(f"{document_id}: unknown in the head: {', '.join(unknown)}")
    return head


def _words(head: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = head.get(key) or ()
    return (value,) if isinstance(value, str) else tuple(str(each) for each in value)
