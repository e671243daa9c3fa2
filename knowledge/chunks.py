"""A document cut into passages: what is embedded, searched and cited. Pure.

A passage is a stretch of the document's own text, so that a citation can be looked up to the character. It has 80 to
220 words where the text allows; a table or a fenced block is never cut, a heading stays with what follows it, and a new
section begins a new passage once the one before is long enough.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from knowledge.documents import Document

LEAST_WORDS = 80
MOST_WORDS = 220

_HEADING = re.compile(r"(?P<marks>#{1,6})[ \t]+(?P<name>.+?)[ \t#]*")
_FENCE = re.compile(r"[ ]{0,3}(```|~~~)")
_TABLE_RULE = re.compile(r"^\|[ |:-]*---[ |:-]*$\n?", re.MULTILINE)
_MARKS = re.compile(r"[*`#|]")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9*`(\"])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A stretch of a document.

    Attributes:
        passage_id: Hash of document, title, section and text: the same text keeps it when the document around it changes.
        number: Place in the document, from 0.
        section: Headings above its beginning, outermost first, without the document's title.
        start: Offset of its first character in the document's text.
        end: Offset after its last character.
        text: `document.text[start:end]`.
    """

    passage_id: str
    document_id: str
    number: int
    section: tuple[str, ...]
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    """A paragraph, list, table or fenced block, with the headings just above it."""

    start: int
    end: int
    section: tuple[str, ...]
    words: int


def passages(document: Document) -> tuple[Passage, ...]:
    """Return the passages of a document in order; together they hold every block of it."""
    found: list[Passage] = []
    seen: dict[str, int] = {}
    for blocks in _packed(tuple(_blocks(document))):
        start, end, section = blocks[0].start, blocks[-1].end, blocks[0].section
        text = document.text[start:end]
        key = "\0".join((document.document_id, document.title, *section, text))
        seen[key] = seen.get(key, 0) + 1
        found.append(
            Passage(
                passage_id=hashlib.sha256(f"{key}\0{seen[key]}".encode()).hexdigest()[:24],
                document_id=document.document_id,
                number=len(found),
                section=section,
                start=start,
                end=end,
                text=text,
            )
        )
    return tuple(found)


def embedded_text(title: str, section: Sequence[str], text: str) -> str:
    """Return what is embedded for a passage: with its title, since alone it often does not say what it is about.

    Marks of tables, headings and emphasis are left out: they cost room and mean nothing.
    """
    bare = _MARKS.sub("", _TABLE_RULE.sub("", text))
    return "\n".join((title, " > ".join(section), bare)) if section else f"{title}\n{bare}"


def _packed(blocks: Sequence[_Block]) -> Iterator[list[_Block]]:
    packs: list[list[_Block]] = []
    for block in blocks:
        words = _words_of(packs[-1]) if packs else 0
        new_section = bool(packs) and block.section != packs[-1][-1].section
        full = words + block.words > MOST_WORDS
        if (
            not packs
            or (words >= LEAST_WORDS and (new_section or full))
            or words + block.words > 2 * MOST_WORDS
        ):
            packs.append([block])
        else:
            packs[-1].append(block)
    if len(packs) > 1 and _words_of(packs[-1]) < LEAST_WORDS:
        tail = packs[-1]
        if _words_of(packs[-2]) + _words_of(tail) <= MOST_WORDS:
            packs[-2:] = [packs[-2] + tail]
    yield from packs


def _words_of(blocks: Sequence[_Block]) -> int:
    return sum(block.words for block in blocks)


def _blocks(document: Document) -> Iterator[_Block]:
    """Yield blocks in order; a heading belongs to the first block below it."""
    text = document.text
    path: list[tuple[int, str]] = []
    heading_start: int | None = None
    for start, end in _stretches(text):
        heading = _HEADING.fullmatch(text[start:end])
        if heading is not None:
            depth, name = len(heading["marks"]), heading["name"]
            path = [each for each in path if each[0] < depth]
            if not (depth == 1 and name == document.title):
                path.append((depth, name))
                heading_start = start if heading_start is None else heading_start
            continue
        section = tuple(name for _, name in path)
        for part_start, part_end in _cut(text, start, end):
            begin = part_start if heading_start is None else heading_start
            heading_start = None
            words = len(text[begin:part_end].split())
            yield _Block(start=begin, end=part_end, section=section, words=words)


def _stretches(text: str) -> Iterator[tuple[int, int]]:
    """Yield where headings and blocks lie: blocks are parted by empty lines, headings stand alone."""
    begin: int | None = None
    last = place = 0
    fenced = False
    for line in text.splitlines(keepends=True):
        start, place = place, place + len(line)
        bare = line.rstrip()
        if _FENCE.match(line):
            fenced = not fenced
        elif not fenced and (not bare or _HEADING.fullmatch(bare)):
            if begin is not None:
                yield begin, last
                begin = None
            if bare:
                yield start, start + len(bare)
            continue
        begin = start if begin is None else begin
        last = start + len(bare)
    if begin is not None:
        yield begin, last


def _cut(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Cut a block that is too long: a list at its lines, prose at its sentences; tables and fences stay whole."""
    block = text[start:end]
    whole = block.lstrip().startswith("|") or _FENCE.match(block) is not None
    if whole or len(block.split()) <= MOST_WORDS:
        yield start, end
        return
    pattern = (
        re.compile(r"\n(?=\s*(?:[-*+]|\d+[.)])\s)")
        if re.match(r"\s*(?:[-*+]|\d+[.)])\s", block)
        else _SENTENCE
    )
    begin = 0
    held = 0
    for found in [*pattern.finditer(block), None]:
        stop = len(block) if found is None else found.start()
        words = len(block[begin:stop].split())
        if words > MOST_WORDS and held > begin:
            yield start + begin, start + held
            begin = held + len(block[held:]) - len(block[held:].lstrip())
        held = stop
    yield start + begin, end
