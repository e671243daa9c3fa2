"""Who sits at the console, what they may do, and what happens when the API says no."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import streamlit as st

from ui.browser_address import browser_header
from ui.console import texts
from ui.console.api_client import (
    ApiAwayError,
    ApiClient,
    ApiError,
    Doc,
    LoggedOutError,
    RefusedError,
    open_http,
)
from ui.console.formats import now_of, zone_of
from ui.console.kept_login import COOKIE, forgetting_script, keeping_script, seal

API_URL = "CELLWATT_API_URL"
_REFUSED = {403: texts.MAY_NOT, 404: texts.NOT_THERE, 409: texts.NOT_NOW, 429: texts.TOO_FAST}
ROLES = ("viewer", "operator", "approver", "admin")
_CLIENT, _ME, _ZONE = "cellwatt_client", "cellwatt_me", "cellwatt_zone"
_LEFT, _HANDOVER = "cellwatt_left", "cellwatt_handover"
_SAID, _PAGES = "cellwatt_said", "cellwatt_pages"


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """One person at the console.

    Attributes:
        api: Their way to the API.
        name: Who they are.
        role: One of `ROLES`.
        zone: Their time zone; every instant on a screen is in it.
    """

    api: ApiClient
    name: str
    role: str
    zone: ZoneInfo

    def may(self, role: str) -> bool:
        """Return whether they may do what takes a role; the API decides, this only hides buttons."""
        return reaches(self.role, role)

    def fleet(self) -> Doc:
        """Return the fleet now."""
        found: Doc = self.api.get("/v1/fleet")
        return found


def reaches(role: str, needed: str) -> bool:
    """Return whether a role may do what another may; an unknown one may nothing."""
    return role in ROLES and ROLES.index(role) >= ROLES.index(needed)


@st.cache_resource
def shared_http(base_url: str) -> httpx.Client:
    """Return the connection pool of this console."""
    return open_http(base_url)


def api_url(env: Mapping[str, str] = os.environ) -> str:
    """Return where the API is."""
    return env.get(API_URL, "")


def seated() -> Desk | None:
    """Return who sits here, None before the login."""
    client, me = st.session_state.get(_CLIENT), st.session_state.get(_ME)
    if client is None or me is None:
        return None
    return Desk(api=client, name=me["name"], role=me["role"], zone=zone_of(zone_name()))


def zone_name() -> str:
    """Return the chosen time zone, by default the browser's."""
    return st.session_state.get(_ZONE) or st.context.timezone or "UTC"


def choose_zone(name: str) -> None:
    """Show instants in this zone from now on."""
    st.session_state[_ZONE] = name


def sit_down(http: httpx.Client, token: str, me: Doc) -> None:
    """Remember a login for as long as this browser tab lives."""
    st.session_state[_CLIENT] = ApiClient(http=http, token=token, browser=this_browser())
    st.session_state[_ME] = me


def this_browser(env: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the header that tells the API whose browser this is; nothing for one on this machine."""
    return browser_header(st.context.ip_address or "", env)


def stand_up() -> None:
    """Forget the login."""
    for name in (_CLIENT, _ME, _HANDOVER):
        st.session_state.pop(name, None)
    st.session_state[_LEFT] = True


def keep_login(token: str, env: Mapping[str, str] = os.environ) -> None:
    """Let the browser keep this login when the page is drawn next, so that a reload does not end it."""
    st.session_state[_LEFT] = False
    st.session_state[_HANDOVER] = seal(token, env)


def hand_over() -> None:
    """Draw the invisible part of the page that gives the browser what it is to keep, or to forget; once."""
    base: str = st.get_option("server.baseUrlPath")
    sealed = st.session_state.pop(_HANDOVER, "")
    if sealed:
        st.html(keeping_script(sealed, base), unsafe_allow_javascript=True)
    elif st.session_state.get(_LEFT) and kept_token():
        st.html(forgetting_script(base), unsafe_allow_javascript=True)


def kept_token() -> str:
    """Return the login that the browser kept; empty where it keeps none."""
    return st.context.cookies.get(COOKIE, "")


def sit_down_again(http: httpx.Client, token: str) -> None:
    """Take up a kept login where the API still knows it; one that it knows no longer is asked about once and let go."""
    if seated() is not None or not token or st.session_state.get(_LEFT):
        return
    try:
        me = ApiClient(http=http, token=token).get("/v1/me")
    except LoggedOutError:
        st.session_state[_LEFT] = True
        return
    except ApiError:
        return  # not answered: it may still be good
    sit_down(http, token, me)


def said(message: str, *, good: bool = True) -> None:
    """Show a message after the page has been drawn anew."""
    st.session_state[_SAID] = (good, message)


def show_said() -> None:
    """Show what an action left to be said, once."""
    found = st.session_state.pop(_SAID, None)
    if found is not None:
        good, message = found
        (st.success if good else st.error)(message, icon=":material/check:" if good else ":material/error:")


@contextmanager
def problems_shown() -> Iterator[None]:
    """Say what happened and what to do next where the API brings nothing; the rest of the page goes on."""
    try:
        yield
    except LoggedOutError:
        stand_up()
        said(texts.SESSION_OVER, good=False)
        st.rerun(scope="app")
    except ApiError as error:
        st.error(in_words(error), icon=":material/error:")


def in_words(error: ApiError) -> str:
    """Return an error as a person reads it: what happened, then what to do."""
    if isinstance(error, RefusedError):
        return _REFUSED.get(error.status, texts.WRONG_INPUT).format(why=error)
    return (texts.API_AWAY if isinstance(error, ApiAwayError) else "{why}").format(why=error)


def attempt(act: Callable[[], Any], done: str | Callable[[Any], str]) -> bool:
    """Do something at the API, with a sign that it runs; say what came of it on the next drawing. Returns whether it was done."""
    try:
        with st.spinner(texts.ACTING):  # the control process may take three seconds
            answer = act()
    except LoggedOutError:
        stand_up()
        said(texts.SESSION_OVER, good=False)
        return False
    except ApiError as error:
        said(in_words(error), good=False)
        return False
    said(done if isinstance(done, str) else done(answer))
    return True


def order_in_words(order: Doc) -> str:
    """Return what became of an order to the control process."""
    match order["outcome"]:
        case "done":
            return texts.ORDER_DONE[order["kind"]]
        case "refused":
            why = order["doc"].get("reason") or order["doc"].get("why") or order["doc"]
            return texts.ORDER_REFUSED.format(why=why)
        case _:
            return texts.ORDER_PENDING.format(number=order["request_id"])


def fleet_now(fleet: Doc | None) -> datetime:
    """Return the instant that the fleet stands at."""
    return now_of(fleet)


def remember_pages(pages: Mapping[str, Any]) -> None:
    """Keep the pages of this run by name, so that they can link to each other without importing each other."""
    st.session_state[_PAGES] = pages


def go_to(page: str, **query: str) -> None:
    """Open a page by name, with what it is to show in the address so that it can be linked."""
    pages = st.session_state.get(_PAGES, {})
    if page in pages:
        st.switch_page(pages[page], query_params=query)


def asked_for(name: str) -> str:
    """Return what the address asks this page to show; empty where it does not."""
    return str(st.query_params.get(name, ""))
