"""Settings: my account, the modes of fleet and sites, and for admins people and tokens."""

from collections.abc import Callable, Mapping
from typing import Any
from zoneinfo import available_timezones

import streamlit as st

from ui.console import texts
from ui.console.api_client import Doc
from ui.console.desk import ROLES, Desk, attempt, choose_zone, order_in_words, problems_shown, stand_up
from ui.console.formats import local, moment, named
from ui.console.header import good_reason, reason_asked, show_header
from ui.console.tables import show_rows
from ui.console.views.governance import show_model, show_policy
from ui.console.views.notices import show_notices

_MODES = ("monitor", "shadow", "remote")
_OPERATING = ("normal", "storm", "emergency")
_LEAST_PASSWORD = 10


def show_settings(desk: Desk) -> None:
    """Draw the tabs that this person's role has use for."""
    fleet = show_header(desk, texts.PAGE_SETTINGS, texts.SETTINGS_QUESTION)
    tabs: dict[str, Callable[[], None]] = {texts.SETTINGS_ME: lambda: _me(desk)}
    if desk.may("approver"):
        tabs[texts.SETTINGS_MODES] = lambda: _modes(desk, fleet)
    if desk.may("admin"):
        tabs[texts.SETTINGS_USERS] = lambda: _users(desk)
        tabs[texts.SETTINGS_TOKENS] = lambda: _tokens(desk)
    if desk.may("operator"):
        tabs[texts.SETTINGS_NOTICES] = lambda: show_notices(desk)
        tabs[texts.SETTINGS_POLICY] = lambda: show_policy(desk)
        tabs[texts.SETTINGS_MODEL] = lambda: show_model(desk)
    for tab, show in zip(st.tabs(list(tabs)), tabs.values(), strict=True):
        with tab, problems_shown():
            show()


def _me(desk: Desk) -> None:
    st.write(texts.WHO.format(name=desk.name, role=desk.role))
    zones = sorted(available_timezones())
    chosen = st.selectbox(
        texts.SETTINGS_ZONE, zones, index=zones.index(desk.zone.key) if desk.zone.key in zones else 0
    )
    if chosen != desk.zone.key:
        choose_zone(chosen)
        st.rerun()
    with st.form("password", clear_on_submit=True):
        old = st.text_input(texts.SETTINGS_OLD, type="password", autocomplete="current-password")
        new = st.text_input(texts.SETTINGS_NEW, type="password", autocomplete="new-password")
        pressed = st.form_submit_button(texts.SETTINGS_CHANGE)
    if not pressed:
        return
    if len(new) < _LEAST_PASSWORD:
        st.warning(texts.SETTINGS_SHORT)
        return
    body = {"old_password": old, "new_password": new}
    if attempt(lambda: desk.api.act("PUT", "/v1/me/password", body), texts.SETTINGS_CHANGED):
        stand_up()
    st.rerun()


def _modes(desk: Desk, fleet: Doc | None) -> None:
    _operating_mode(desk, fleet)
    st.divider()
    st.markdown(f"**{texts.SETTINGS_SITE_MODE}**")
    st.caption(texts.SETTINGS_SITE_MODE_HELP)
    sites = fleet["sites"] if fleet else []
    if not sites:
        st.info(texts.NO_SITES)
        return
    with st.form("site mode"):
        now = {one["site_id"]: one["mode"] for one in sites}
        site_id = st.selectbox(texts.SITE_CHOOSE, list(now), format_func=lambda one: _site_now(one, now))
        mode = st.selectbox(texts.SETTINGS_TO_MODE, _MODES, format_func=lambda one: texts.MODES[one])
        reason = reason_asked("site mode")
        pressed = st.form_submit_button(texts.SETTINGS_ASK_MODE)
    if pressed and _reasoned(reason):
        body = {"mode": mode, "reason": reason.strip()}
        attempt(lambda: desk.api.act("PUT", f"/v1/sites/{site_id}/mode", body), order_in_words)
        st.rerun()


def _site_now(site_id: str, modes: Mapping[str, str]) -> str:
    return texts.SETTINGS_SITE_NOW.format(site=site_id, mode=named(texts.MODES, modes[site_id]))


def _operating_mode(desk: Desk, fleet: Doc | None) -> None:
    st.markdown(f"**{texts.SETTINGS_MODE}**")
    found = fleet["mode"] if fleet else None
    st.caption(
        texts.SETTINGS_NO_MODE
        if found is None
        else texts.SETTINGS_MODE_NOW.format(
            mode=named(texts.OPERATING_MODES, found["mode"]),
            who=found["who"],
            since=moment(found["since"], desk.zone),
        )
    )
    with st.form("operating mode"):
        mode = st.selectbox(
            texts.SETTINGS_TO_MODE,
            _OPERATING,
            index=_OPERATING.index(found["mode"]) if found else 0,
            format_func=lambda one: texts.OPERATING_MODES[one],
        )
        reason = reason_asked("operating mode")
        pressed = st.form_submit_button(texts.SETTINGS_SET_MODE)
    if pressed and _reasoned(reason):
        body = {"mode": mode, "reason": reason.strip()}
        attempt(
            lambda: desk.api.act("PUT", "/v1/mode", body),
            texts.SETTINGS_MODE_SET.format(mode=texts.OPERATING_MODES[mode]),
        )
        st.rerun()


def _reasoned(reason: str) -> bool:
    if not good_reason(reason):
        st.warning(texts.REASON_SHORT)
        return False
    return True


def _users(desk: Desk) -> None:
    users, offer = desk.api.items("/v1/users"), desk.api.get("/v1/oidc")
    rows = [
        {
            "name": one["name"],
            "role": named(texts.ROLE, one["role"]),
            "active": one["active"],
            "locked": local(one["locked_until"], desk.zone),
            "created": local(one["created_at"], desk.zone),
            **({"oidc_subject": one["oidc_subject"]} if offer["offered"] else {}),
        }
        for one in users
    ]
    show_rows(rows, key="users")
    left, right = st.columns(2)
    with left:
        _add_user(desk)
    with right:
        _change_user(desk, [one["name"] for one in users])
    if offer["offered"]:
        _link_user(desk, [one["name"] for one in users], offer["label"])


def _add_user(desk: Desk) -> None:
    with st.form("add user", clear_on_submit=True):
        st.markdown(f"**{texts.SETTINGS_ADD_USER}**")
        name = st.text_input(texts.LOGIN_NAME)
        password = st.text_input(texts.SETTINGS_FIRST_PASSWORD, type="password", autocomplete="new-password")
        role = st.selectbox(texts.SETTINGS_ROLE, ROLES, format_func=lambda one: texts.ROLE[one])
        pressed = st.form_submit_button(texts.SETTINGS_ADD)
    if pressed:
        # Without a password they come in through the sign-in provider alone.
        body = {"name": name.strip(), "role": role, **({"password": password} if password else {})}
        attempt(lambda: desk.api.act("POST", "/v1/users", body), texts.SETTINGS_ADDED.format(name=name))
        st.rerun()


def _change_user(desk: Desk, names: list[str]) -> None:
    with st.form("change user"):
        st.markdown(f"**{texts.SETTINGS_CHANGE_USER}**")
        name = st.selectbox(texts.LOGIN_NAME, names)
        role = st.selectbox(
            texts.SETTINGS_ROLE,
            (texts.SETTINGS_AS_IT_IS, *ROLES),
            format_func=lambda one: texts.ROLE.get(one, one),
        )
        active = st.selectbox(texts.SETTINGS_ACCOUNT, list(texts.SETTINGS_ACCOUNTS))
        pressed = st.form_submit_button(texts.SETTINGS_APPLY)
    if pressed:
        body: dict[str, Any] = {}
        if role != texts.SETTINGS_AS_IT_IS:
            body["role"] = role
        if (wanted := texts.SETTINGS_ACCOUNTS[active]) is not None:
            body["active"] = wanted
        attempt(
            lambda: desk.api.act("PATCH", f"/v1/users/{name}", body),
            texts.SETTINGS_USER_CHANGED.format(name=name),
        )
        st.rerun()


def _link_user(desk: Desk, names: list[str], label: str) -> None:
    """Say by which subject the sign-in provider knows a user, or that it knows them no longer."""
    with st.form("link user", clear_on_submit=True):
        st.markdown(f"**{texts.SETTINGS_SUBJECT_TITLE.format(label=label)}**")
        name = st.selectbox(texts.LOGIN_NAME, names)
        subject = st.text_input(texts.SETTINGS_SUBJECT, help=texts.SETTINGS_SUBJECT_HELP).strip()
        pressed = st.form_submit_button(texts.SETTINGS_APPLY)
    if not pressed:
        return
    path = f"/v1/users/{name}/oidc"
    if subject:
        attempt(
            lambda: desk.api.act("PUT", path, {"subject": subject}),
            texts.SETTINGS_SUBJECT_SET.format(name=name),
        )
    else:
        attempt(lambda: desk.api.act("DELETE", path), texts.SETTINGS_SUBJECT_GONE.format(name=name))
    st.rerun()


def _make_token(desk: Desk) -> None:
    """Make a token; its secret stands on the screen until the next drawing and nowhere else."""
    with st.form("make token", clear_on_submit=True):
        st.markdown(f"**{texts.SETTINGS_GRANT}**")
        label = st.text_input(texts.SETTINGS_GRANT_LABEL, max_chars=64).strip()
        use = st.selectbox(
            texts.SETTINGS_GRANT_USE,
            list(texts.SETTINGS_GRANT_USES),
            format_func=lambda one: texts.SETTINGS_GRANT_USES[one],
        )
        site_id = st.text_input(texts.SETTINGS_GRANT_SITE, max_chars=64).strip()
        days = st.number_input(texts.SETTINGS_GRANT_DAYS, min_value=1, max_value=1825, value=365)
        pressed = st.form_submit_button(texts.SETTINGS_GRANT_MAKE)
    if not pressed:
        return
    if not label:
        st.warning(texts.SETTINGS_GRANT_EMPTY)
        return
    scope = {"kind": "site", "site_id": site_id} if use == "site" else {"kind": "service", "role": use}
    body = {"label": label, "expires_in_days": int(days), **scope}
    with problems_shown(), st.spinner(texts.ACTING):
        made = desk.api.act("POST", "/v1/tokens", body)
        if made["token"] is None:
            st.warning(texts.SETTINGS_GRANT_GONE.format(label=label))
            return
        st.success(texts.SETTINGS_GRANT_MADE.format(label=label), icon=":material/key:")
        st.code(made["token"], language=None)


def _tokens(desk: Desk) -> None:
    _make_token(desk)
    found = desk.api.items("/v1/tokens")
    if not found:
        st.info(texts.SETTINGS_NO_TOKENS, icon=":material/key:")
        return
    rows = [
        {
            "token_id": one["token_id"],
            "label": one["label"],
            "kind": named(texts.TOKEN_KIND, one["kind"]),
            "role": one["role"],
            "expires": local(one["expires_at"], desk.zone),
            "revoked": local(one["revoked_at"], desk.zone),
        }
        for one in found
    ]
    show_rows(rows, key="tokens")
    live = [one["token_id"] for one in found if one["revoked_at"] is None]
    if not live:
        return
    with st.form("revoke token"):
        chosen = st.selectbox(texts.SETTINGS_TOKEN, live)
        pressed = st.form_submit_button(texts.SETTINGS_REVOKE)
    if pressed:
        attempt(lambda: desk.api.act("DELETE", f"/v1/tokens/{chosen}"), texts.SETTINGS_REVOKED)
        st.rerun()
