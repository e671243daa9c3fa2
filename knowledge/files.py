"""The user's own files as documents: Markdown, plain text, PDF, Word and CSV. Nothing in them is run or fetched."""

import csv
import io
import logging
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import pypdf
from pypdf.errors import PyPdfError

from knowledge.documents import Document, DocumentError, read_markdown

_MOST_BYTES = 20_000_000
_MOST_XML_BYTES = 50_000_000  # of a Word file once unpacked: a small file can unpack to anything
_ROW_WORDS = 150  # words of CSV rows that make one passage
_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"


def find_files(path: Path) -> list[Path]:
    """Return the files that can be read, in order of name: the file itself, or those below a folder.

    Links are not followed out of the folder, hidden files are passed over.

    Raises:
        DocumentError: There is nothing at the path, or nothing that can be read.
    """
    if path.is_file():
        found = [path]
    else:
        inside = path.rglob("*") if path.is_dir() else ()
        found = sorted(
            each for each in inside if each.is_file() and not each.is_symlink() and _wanted(each, path)
        )
    if not found:
        kinds = ", ".join(sorted(_READERS))
        raise DocumentError(f"{path}: no file that can be read ({kinds})")
    return found


def read_file(path: Path, document_id: str) -> Document:
    """Return a file's document.

    Raises:
        DocumentError: It cannot be read, is too large, of an unknown kind, or has no text.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DocumentError(
            f"{document_id}: files of the kind {path.suffix or 'without suffix'} are not read"
        )
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DocumentError(f"{document_id}: larger than {_MOST_BYTES // 1_000_000} MB")
        text = reader(path.read_bytes(), document_id)
    except OSError as error:
        raise DocumentError(f"{document_id}: {error.strerror or error}") from error
    if path.suffix.lower() == ".md":
        return read_markdown(text, document_id)
    return read_markdown(f"# {path.stem}\n\n{text}" if text.strip() else "", document_id)


def _wanted(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return not hidden and path.suffix.lower() in _READERS


def _plain(content: bytes, document_id: str) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentError(f"{document_id}: not UTF-8 text") from error
    # PostgreSQL keeps no NUL.
    return text.replace("\x00", "")


def _pdf(content: bytes, document_id: str) -> str:
    logging.getLogger("pypdf").setLevel(logging.ERROR)
    try:
        reader = pypdf.PdfReader(io.BytesIO(content))
        if reader.is_encrypted:
            raise DocumentError(f"{document_id}: the PDF is encrypted")
        pages = [page.extract_text().strip() for page in reader.pages]
    except (PyPdfError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DocumentError(f"{document_id}: the PDF cannot be read: {error}") from error
    if not any(pages):
        raise DocumentError(f"{document_id}: the PDF holds no text (a scan?)")
    numbered = [f"## Page {number}\n\n{page}" for number, page in enumerate(pages, start=1) if page]
    return "\n\n".join(numbered).replace("\x00", "")


def _docx(content: bytes, document_id: str) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if archive.getinfo("word/document.xml").file_size > _MOST_XML_BYTES:
                raise DocumentError(f"{document_id}: unpacks to more than {_MOST_XML_BYTES // 1_000_000} MB")
            xml = archive.read("word/document.xml")
        if b"<!DOCTYPE" in xml or b"<!ENTITY" in xml:
            raise DocumentError(f"{document_id}: declares entities, which no Word file does")
        body = ET.fromstring(xml).find(f"{_WORD}body")  # noqa: S314 - entities are refused above
    except (zipfile.BadZipFile, KeyError, ET.ParseError, NotImplementedError, RuntimeError) as error:
        raise DocumentError(f"{document_id}: no Word file: {error}") from error
    return "\n\n".join(_docx_blocks(body if body is not None else ET.Element("none")))


def _docx_blocks(body: ET.Element) -> Iterator[str]:
    for element in body:
        if element.tag == f"{_WORD}p":
            text = _docx_text(element)
            style = element.find(f"{_WORD}pPr/{_WORD}pStyle")
            name = "" if style is None else style.get(f"{_WORD}val", "")
            depth = int(name[-1]) if name.startswith("Heading") and name[-1:].isdigit() else 0
            if text:
                yield f"{'#' * min(depth + 1, 6)} {text}" if depth else text
        elif element.tag == f"{_WORD}tbl":
            rows = [
                [_docx_text(cell) for cell in row.iter(f"{_WORD}tc")] for row in element.iter(f"{_WORD}tr")
            ]
            yield _table(rows[0], rows[1:]) if rows else ""


def _docx_text(element: ET.Element) -> str:
    parts: list[str] = []
    for each in element.iter():
        if each.tag == f"{_WORD}t":
            parts.append(each.text or "")
        elif each.tag in {f"{_WORD}tab", f"{_WORD}br"}:
            parts.append(" ")
    return "".join(parts).strip()


def _csv(content: bytes, document_id: str) -> str:
    text = _plain(content, document_id)
    try:
        dialect: type[csv.Dialect] | str = csv.Sniffer().sniff(text[:4096], delimiters=",;\t|")
    except csv.Error:
        dialect = "excel"
    try:
        rows = [row for row in csv.reader(io.StringIO(text), dialect) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DocumentError(f"{document_id}: no CSV: {error}") from error
    if len(rows) < 2:
        raise DocumentError(f"{document_id}: a CSV needs a line of names and a line of values")
    return "\n\n".join(_csv_parts(rows[0], rows[1:]))


def _csv_parts(names: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    first = 0
    words = 0
    for number, row in enumerate(rows):
        count = len(" ".join(row).split())
        if words and words + count > _ROW_WORDS:
            yield f"## Rows {first + 1} to {number}\n\n{_table(names, rows[first:number])}"
            first, words = number, 0
        words += count
    yield f"## Rows {first + 1} to {len(rows)}\n\n{_table(names, rows[first:])}"


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())


_READERS: Mapping[str, Callable[[bytes, str], str]] = {
    ".md": _plain,
    ".txt": _plain,
    ".pdf": _pdf,
    ".docx": _docx,
    ".csv": _csv,
}
