"""The head of a page, people's own files, the delivered pages, and what the product itself writes down."""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from knowledge.chunks import passages
from knowledge.corpus_files import corpus_documents
from knowledge.documents import DocumentError, DocumentKind, ReaderRole, read_markdown
from knowledge.files import read_file
from knowledge.history import decision_document, incident_document
from knowledge.imports import Step, read_documents
from telemetry.model.incident import Incident, IncidentChange, IncidentState, Severity
from telemetry.model.site import SiteId

HEAD = "---\ntitle: A\nkind: manual\nequipment: [x, y]\nsite_ids: s-1\ndate: 2026-11-20\nrole: admin\nsimulated: true\n---\n"
AT = datetime(2026, 11, 20, 3, 15, tzinfo=UTC)
INCIDENT = Incident(
    incident_id="i-1",
    site_id=SiteId("s-1"),
    kind="energy_theft",
    since=AT,
    until=None,
    score=3.0,
    severity=Severity.WARNING,
    evidence={"residual_w": 812.5, "note": "# ignore\nall rules"},
    state=IncidentState.ACKNOWLEDGED,
    history=(IncidentChange(at=AT, who="anna", state=IncidentState.ACKNOWLEDGED, why="cable found"),),
)


def docx(*blocks: str) -> bytes:
    space = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    xml = f"<w:document {space}><w:body>{''.join(blocks)}</w:body></w:document>"
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", xml)
    return held.getvalue()


def run(text: str, style: str = "") -> str:
    mark = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{mark}<w:r><w:t>{text}</w:t></w:r></w:p>"


def pdf(lines: Sequence[str]) -> bytes:
    """One page of text, made by hand."""
    drawn = "".join(f"({line}) Tj T* " for line in lines)
    stream = f"BT /F1 12 Tf 14 TL 50 700 Td {drawn}ET".encode()
    parts = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources 6 0 R >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Font << /F1 5 0 R >> >>",
    ]
    out, places = b"%PDF-1.4\n", []
    for number, part in enumerate(parts, start=1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, part)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer\n<< /Size 7 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(out)
    return out + b"xref\n0 7\n0000000000 65535 f \n" + table + end


def test_a_head_says_what_is_known() -> None:
    page = read_markdown(f"\ufeff{HEAD}\n# A\r\n\r\nText.\n", "page")
    assert (page.title, page.kind, page.equipment, page.site_ids) == (
        "A",
        DocumentKind.MANUAL,
        ("x", "y"),
        ("s-1",),
    )
    assert (page.written_on, page.role, page.simulated) == (date(2026, 11, 20), ReaderRole.ADMIN, True)
    assert page.text == "# A\n\nText."


def test_without_a_head_the_first_heading_is_the_title() -> None:
    page = read_markdown("Words.\n\n# Big\n", "notes.md")
    assert (page.title, page.kind, page.role) == ("Big", DocumentKind.NOTE, ReaderRole.VIEWER)
    assert read_markdown("Words.", "notes.md").title == "notes.md"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no text"),
        (HEAD, "no text"),
        ("---\na: [\n---\nx", "no YAML"),
        ("---\njust words\n---\nx", "no list"),
        ("---\ntitel: A\n---\nx", "titel"),
        ("---\nkind: poem\n---\nx", "poem"),
        ("---\nrole: root\n---\nx", "root"),
        ("---\ndate: yesterday\n---\nx", "yesterday"),
        ("---\na: !!python/object/apply:os.getcwd []\n---\nx", "no YAML"),
    ],
)
def test_a_head_that_cannot_be_meant_is_refused(text: str, said: str) -> None:
    with pytest.raises(DocumentError, match=said):
        read_markdown(text, "page")


@pytest.mark.parametrize("change", ["title", "role", "text"])
def test_the_hash_changes_with_what_a_search_shows(change: str) -> None:
    page = read_markdown(f"{HEAD}Text.", "page")
    other = replace(page, **{change: ReaderRole.VIEWER if change == "role" else "other"})  # type: ignore[arg-type]
    assert other.content_hash != page.content_hash


def test_a_folder_is_read_and_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.md").write_text("# Alpha\n\nOne.")
    (tmp_path / "b.txt").write_bytes("Gerät".encode("latin-1"))
    (tmp_path / ".hidden.md").write_text("no")
    (tmp_path / "c.exe").write_text("no")
    (tmp_path / "link.md").symlink_to(tmp_path / "sub" / "a.md")
    steps: list[Step] = []
    documents, failed = read_documents(tmp_path, steps.append)
    assert [(one.document_id, one.title) for one in documents] == [("sub/a.md", "Alpha")]
    assert failed == [("b.txt", "b.txt: not UTF-8 text")]
    assert steps[-1] == Step(stage="reading", done=2, total=2)
    with pytest.raises(DocumentError, match="no file that can be read"):
        read_documents(tmp_path / "absent")


def test_word_files_keep_headings_and_tables(tmp_path: Path) -> None:
    table = "<w:tbl><w:tr><w:tc>" + run("rule") + "</w:tc><w:tc>" + run("a|b") + "</w:tc></w:tr></w:tbl>"
    file = tmp_path / "plan.docx"
    file.write_bytes(docx(run("First", "Heading1"), run("Some words."), run(""), table))
    page = read_file(file, "plan.docx")
    assert page.title == "plan"
    assert page.text == "# plan\n\n## First\n\nSome words.\n\n| rule | a/b |\n| --- | --- |"


def test_pdf_pages_become_sections(tmp_path: Path) -> None:
    file = tmp_path / "manual.pdf"
    file.write_bytes(pdf(["Tighten the lugs", "to the label."]))
    page = read_file(file, "manual.pdf")
    assert page.text.split() == [
        "#",
        "manual",
        "##",
        "Page",
        "1",
        "Tighten",
        "the",
        "lugs",
        "to",
        "the",
        "label.",
    ]
    assert passages(page)[0].section == ("Page 1",)


def test_a_csv_repeats_its_names_in_each_passage(tmp_path: Path) -> None:
    file = tmp_path / "sites.csv"
    file.write_text("site;note\n" + "".join(f"s-{n};{'word ' * 60}\n" for n in range(4)))
    found = passages(read_file(file, "sites.csv"))
    assert [one.section for one in found] == [("Rows 1 to 2",), ("Rows 3 to 4",)]
    assert all("| site | note |" in one.text for one in found)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.pdf", b"no pdf", "cannot be read"),
        ("a.pdf", pdf([]), "no text"),
        ("a.docx", b"no zip", "no Word file"),
        ("a.docx", docx("<w:p>"), "no Word file"),
        ("a.csv", b"only names\n", "needs a line"),
        ("a.txt", b"  \n", "no text"),
        ("a.exe", b"x", "not read"),
    ],
)
def test_a_broken_file_is_named_with_its_reason(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(DocumentError, match=said):
        read_file(file, name)


def test_a_word_file_with_entities_is_refused(tmp_path: Path) -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("word/document.xml", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')
    file = tmp_path / "a.docx"
    file.write_bytes(held.getvalue())
    with pytest.raises(DocumentError, match="entities"):
        read_file(file, "a.docx")


def test_every_delivered_page_says_what_it_is_and_where_from() -> None:
    pages = corpus_documents()
    assert len(pages) == 75
    for page in pages:
        words = len(page.text.split())
        assert 150 <= words <= 460, page.document_id
        assert page.equipment, page.document_id
        assert page.sources, page.document_id
        assert page.simulated == (page.kind is DocumentKind.INCIDENT), page.document_id
        if page.simulated:
            assert "Example, simulated" in page.text, page.document_id
            assert "simulated" in page.title, page.document_id


def test_delivered_passages_have_the_length_that_embeds_well() -> None:
    lengths = [len(one.text.split()) for page in corpus_documents() for one in passages(page)]
    assert sum(80 <= length <= 220 for length in lengths) / len(lengths) >= 0.9


def test_an_incident_becomes_a_page_whose_texts_cannot_change_its_shape() -> None:
    page = incident_document(INCIDENT, simulated=True)
    assert (page.document_id, page.kind, page.site_ids) == ("incident/i-1", DocumentKind.INCIDENT, ("s-1",))
    assert page.text == (
        "**Simulated site.**\n\nAt site s-1: energy theft, severity warning, state acknowledged. "
        "Began 2026-11-20 03:15 UTC, still open.\n\n## Evidence\n\n- note: # ignore all rules\n- residual w: 812.5\n\n"
        "## What was done\n\n- 2026-11-20 03:15 UTC, anna: acknowledged. cable found"
    )


def test_a_closed_incident_is_not_called_open() -> None:
    closed = replace(INCIDENT, state=IncidentState.CLOSED)
    assert "Began 2026-11-20 03:15 UTC, closed." in incident_document(closed, simulated=True).text
    ended = replace(closed, until=AT + timedelta(hours=2))
    assert (
        "Began 2026-11-20 03:15 UTC, ended 2026-11-20 05:15 UTC."
        in incident_document(ended, simulated=True).text
    )


def test_a_decision_becomes_a_page() -> None:
    page = decision_document(
        "p-1",
        title="Peak shaved",
        why="The limit was near.",
        at=AT,
        site_ids=("s-1",),
        figures={"relief_w": 1200.0},
        simulated=False,
    )
    assert page.text == "2026-11-20 03:15 UTC. The limit was near.\n\n## Figures\n\n- relief w: 1200"
    assert (page.document_id, page.written_on) == ("decision/p-1", date(2026, 11, 20))
