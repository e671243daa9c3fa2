"""The login, which stands before everything."""

import httpx
import streamlit as st

from ui.console import texts
from ui.console.api_client import ApiError, LoggedOutError, log_in
from ui.console.desk import in_words, keep_login, show_said, sit_down


def show_login(http: httpx.Client) -> None:
    """Ask for name and password; a good pair opens the console where the address points."""
    _, middle, _ = st.columns([1, 2, 1])
    with middle:
        st.title(texts.LOGIN_TITLE, anchor=False)
        st.write(texts.LOGIN_LEAD)
        show_said()
        with st.form("login"):
            name = st.text_input(texts.LOGIN_NAME, autocomplete="username")
            password = st.text_input(texts.LOGIN_PASSWORD, type="password", autocomplete="current-password")
            pressed = st.form_submit_button(texts.LOGIN_BUTTON, type="primary", width="stretch")
        if pressed:
            _try(http, name.strip(), password)
        st.caption(texts.LOGIN_HINT)


def _try(http: httpx.Client, name: str, password: str) -> None:
    if not name or not password:
        st.warning(texts.LOGIN_EMPTY)
        return
    try:
        with st.spinner(texts.LOADING):
            token, me = log_in(http, name, password)
    except LoggedOutError as error:
        st.error(str(error).capitalize() + ".", icon=":material/error:")
    except ApiError as error:
        st.error(in_words(error), icon=":material/error:")
    else:
        sit_down(http, token, me)
        keep_login(token)
        st.rerun()
