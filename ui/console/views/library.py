"""Knowledge: what did people write down about this?"""

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import streamlit as st

from ui.console import texts
from ui.console.api_client import Doc
from ui.console.asking import ask
from ui.console.desk import Desk, asked_for, attempt, go_to, problems_shown
from ui.console.formats import harmless, local, moment, words
from ui.console.header import show_header
from ui.console.tables import show_rows

_SUFFIXES = ["md", "txt", "pdf", "docx", "csv"]
_LEAST_QUESTION = 2
_FOUND = 5
_MOST = 1000


def show_library(desk: Desk) -> None:
    """Draw the search and the list, or the document that the address names."""
    show_header(desk, texts.PAGE_KNOWLEDGE, texts.KNOWLEDGE_QUESTION)
    with problems_shown():
        document_id = asked_for("document")
        if document_id:
            if st.button(texts.BACK, icon=":material/arrow_back:"):
                st.query_params.clear()
                st.rerun()
            _document(desk, document_id)
            return
        _search(desk)
        _upload(desk)
        _list(desk)


def _search(desk: Desk) -> None:
    form = st.form("knowledge_search", border=False)
    with form, st.container(horizontal=True, vertical_alignment="bottom"):
        question = st.text_input(texts.KNOWLEDGE_ASK, max_chars=400, placeholder=texts.KNOWLEDGE_EXAMPLE)
        kind = st.selectbox(
            texts.KNOWLEDGE_KIND,
            list(texts.KNOWLEDGE_KINDS),
            format_func=lambda one: texts.KNOWLEDGE_KINDS[one],
            width=180,
        )
        st.form_submit_button(texts.KNOWLEDGE_SEARCH, icon=":material/search:", type="primary")
    asked = question.strip()
    if len(asked) < _LEAST_QUESTION:
        return
    with st.spinner(texts.LOADING):
        answer = desk.api.get("/v1/knowledge/search", q=asked, kind=kind or None, limit=_FOUND)
    if answer["note"]:
        st.caption(answer["note"])
    if not answer["found"]:
        st.info(texts.KNOWLEDGE_NOT_FOUND, icon=":material/search_off:")
    for number, one in enumerate(answer["found"]):
        _passage(one, number)


def _passage(one: Doc, number: int) -> None:
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{harmless(one['title'])}**", width="content")
            st.badge(words(one["kind"]), color="gray")
            if one["simulated"]:
                st.badge(texts.SIMULATED, icon=":material/science:", color="violet")
        st.caption(texts.KNOWLEDGE_PLACE.format(document=one["document_id"], section=one["section"] or "–"))
        st.write(harmless(one["text"]))
        if st.button(texts.KNOWLEDGE_OPEN, key=f"open {number}", icon=":material/menu_book:"):
            go_to("library", document=one["document_id"])


def _upload(desk: Desk) -> None:
    if not desk.may("operator"):
        st.caption(texts.KNOWLEDGE_WHO_UPLOADS)
        return
    with st.expander(texts.KNOWLEDGE_UPLOAD, icon=":material/upload_file:"):
        st.write(texts.KNOWLEDGE_UPLOAD_LEAD)
        given = st.file_uploader(texts.KNOWLEDGE_FILES, type=_SUFFIXES, accept_multiple_files=True)
        if given and st.button(texts.KNOWLEDGE_TAKE_IN, type="primary", icon=":material/library_add:"):
            st.dataframe(take_in(desk, given), hide_index=True)


def take_in(desk: Desk, files: Sequence[Any]) -> list[dict[str, Any]]:
    """Send files to the library one by one, showing how far it is; return what became of each."""
    rows = []
    bar = st.progress(0.0)
    for number, file in enumerate(files, start=1):
        name = PurePath(file.name).name
        bar.progress((number - 1) / len(files), text=texts.KNOWLEDGE_TAKING.format(name=name))
        with problems_shown():
            taken = desk.api.upload("/v1/knowledge/documents", file.getvalue(), name=name)
            rows.append(
                {
                    texts.COLUMN["document_id"]: taken["document_id"],
                    texts.COLUMN["outcome"]: texts.KNOWLEDGE_OUTCOMES[taken["outcome"]],
                    texts.COLUMN["passages"]: taken["passages"],
                }
            )
    bar.empty()
    return rows


def _list(desk: Desk) -> None:
    found = desk.api.items("/v1/knowledge/documents", most=_MOST)
    st.markdown(f"**{texts.KNOWLEDGE_ALL.format(count=len(found))}**")
    if not found:
        st.info(texts.KNOWLEDGE_NONE, icon=":material/menu_book:")
        return
    rows = [
        {
            "document": one["title"],
            "kind": words(one["kind"]),
            "written": one["written_on"],
            "taken_in": local(one["imported_at"], desk.zone),
        }
        for one in found
    ]
    chosen = show_rows(rows, key="documents", selectable=True)
    st.caption(texts.KNOWLEDGE_HINT)
    if chosen is not None:
        go_to("library", document=str(found[chosen]["document_id"]))


def _document(desk: Desk, document_id: str) -> None:
    one = desk.api.get("/v1/knowledge/document", document_id=document_id)
    with st.container(border=True):
        st.markdown(f"**{harmless(one['title'])}**")
        st.caption(
            texts.KNOWLEDGE_ABOUT.format(
                document=one["document_id"],
                kind=words(one["kind"]),
                role=one["role"],
                at=moment(one["imported_at"], desk.zone),
            )
        )
        st.write(harmless(one["text"]))
    if desk.may("admin"):
        with ask(texts.KNOWLEDGE_REMOVE, "remove", icon=":material/delete:"):
            st.write(texts.KNOWLEDGE_REMOVE_LEAD)
            if st.button(texts.KNOWLEDGE_REMOVE_CONFIRM, type="primary"):
                attempt(
                    lambda: desk.api.act(
                        "DELETE", "/v1/knowledge/document", query={"document_id": document_id}
                    ),
                    texts.KNOWLEDGE_REMOVED,
                )
                st.query_params.clear()
                st.rerun()
