"""The login, which stands before everything."""

from html import escape

import httpx
import streamlit as st

from ui.console import texts
from ui.console.api_client import ApiClient, ApiError, Doc, LoggedOutError, log_in
from ui.console.desk import asked_for, in_words, keep_login, show_said, sit_down, this_browser
from ui.console.kept_login import address_of
from ui.console.sign_in import FAILED, THERE

_OFFER_FOR_S = 60


def show_login(http: httpx.Client) -> None:
    """Ask for name and password; a good pair opens the console where the address points."""
    _, middle, _ = st.columns([1, 2, 1])
    with middle:
        st.title(texts.LOGIN_TITLE, anchor=False)
        st.write(texts.LOGIN_LEAD)
        show_said()
        if asked_for(FAILED):
            st.error(texts.LOGIN_NOT_SIGNED_IN, icon=":material/error:")
        with st.form("login"):
            name = st.text_input(texts.LOGIN_NAME, autocomplete="username")
            password = st.text_input(texts.LOGIN_PASSWORD, type="password", autocomplete="current-password")
            pressed = st.form_submit_button(texts.LOGIN_BUTTON, type="primary", width="stretch")
        if pressed:
            _try(http, name.strip(), password)
        _show_provider(http)
        st.caption(texts.LOGIN_HINT)


def _show_provider(http: httpx.Client) -> None:
    """Offer the sign-in through a provider, where one is set up."""
    try:
        offer = sign_in_offer(http)
    except ApiError:
        return  # the login itself says it when the API is away
    if not offer["console"]:
        return
    address = address_of(THERE, st.get_option("server.baseUrlPath"))
    words = escape(texts.LOGIN_PROVIDER.format(label=offer["label"]))
    st.html(f'<a class="sign-in" href="{address}" target="_self">{words}</a>')


@st.cache_data(ttl=_OFFER_FOR_S, show_spinner=False)
def sign_in_offer(_http: httpx.Client) -> Doc:
    """Return whether people may sign in through a provider.

    Raises:
        ApiError: The API does not answer.
    """
    found: Doc = ApiClient(http=_http).get("/v1/oidc")
    return found


def _try(http: httpx.Client, name: str, password: str) -> None:
    if not name or not password:
        st.warning(texts.LOGIN_EMPTY)
        return
    try:
        with st.spinner(texts.LOADING):
            token, me = log_in(http, name, password, this_browser())
    except LoggedOutError as error:
        st.error(str(error).capitalize() + ".", icon=":material/error:")
    except ApiError as error:
        st.error(in_words(error), icon=":material/error:")
    else:
        sit_down(http, token, me)
        keep_login(token)
        st.rerun()
