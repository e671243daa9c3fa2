"""The operators' console: `streamlit run ui/console/app.py` with CELLWATT_API_URL set; `cellwatt console` does it."""

from pathlib import Path

import streamlit as st

from ui.console import texts
from ui.console.desk import (
    api_url,
    hand_over,
    kept_token,
    remember_pages,
    seated,
    shared_http,
    sit_down_again,
)
from ui.console.header import show_sidebar
from ui.console.login import show_login
from ui.console.pages import all_pages, front_door
from ui.console.style import CSS


def main() -> None:
    """Draw the page that the address asks for, or the login."""
    st.set_page_config(
        page_title=texts.APP, page_icon=str(Path(__file__).with_name("icon.svg")), layout="wide"
    )
    st.html(CSS)
    url = api_url()
    if not url:
        st.error(texts.NO_API)
        st.stop()
    pages = all_pages()
    every = [page for section in pages.values() for page in section.values()]
    sit_down_again(shared_http(url), kept_token())
    desk = seated()
    hand_over()
    here = st.navigation(
        {"": [front_door()], **{section: list(found.values()) for section, found in pages.items()}},
        position="hidden" if desk is None else "sidebar",
        expanded=len(every),
    )
    if desk is None:
        show_login(shared_http(url))
        return
    remember_pages({name: page for section in pages.values() for name, page in section.items()})
    show_sidebar(desk)
    here.run()


main()
