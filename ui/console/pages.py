"""Which pages there are, each answering one question."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from ui.console import texts
from ui.console.desk import Desk, go_to, seated
from ui.console.views.audit import show_audit
from ui.console.views.chat import show_chat
from ui.console.views.fleet import show_fleet
from ui.console.views.forecasts import show_forecasts
from ui.console.views.health import show_health
from ui.console.views.incidents import show_incidents
from ui.console.views.library import show_library
from ui.console.views.plans import show_plans
from ui.console.views.quality import show_quality
from ui.console.views.settings import show_settings
from ui.console.views.site import show_site

Show = Callable[[Desk], None]
# Section, then name in the address: what draws it, its title, its icon.
_PAGES: dict[str, dict[str, tuple[Show, str, str]]] = {
    texts.SECTION_NOW: {
        "fleet": (show_fleet, texts.PAGE_FLEET, "cell_tower"),
        "site": (show_site, texts.PAGE_SITE, "electric_meter"),
        "incidents": (show_incidents, texts.PAGE_INCIDENTS, "warning"),
    },
    texts.SECTION_ACT: {
        "chat": (show_chat, texts.PAGE_CHAT, "forum"),
        "plans": (show_plans, texts.PAGE_PLANS, "bolt"),
        "audit": (show_audit, texts.PAGE_AUDIT, "receipt_long"),
        "library": (show_library, texts.PAGE_KNOWLEDGE, "menu_book"),
    },
    texts.SECTION_TRUST: {
        "forecasts": (show_forecasts, texts.PAGE_FORECASTS, "trending_up"),
        "health": (show_health, texts.PAGE_HEALTH, "battery_alert"),
        "quality": (show_quality, texts.PAGE_QUALITY, "fact_check"),
        "settings": (show_settings, texts.PAGE_SETTINGS, "settings"),
    },
}
_FIRST = "fleet"


def all_pages() -> dict[str, dict[str, Any]]:
    """Return the pages by section and name."""
    return {
        section: {
            name: st.Page(
                page(show, name),
                title=title,
                icon=f":material/{icon}:",
                url_path=name,
            )
            for name, (show, title, icon) in pages.items()
        }
        for section, pages in _PAGES.items()
    }


def front_door() -> Any:
    """Return what stands at the bare address: nothing of its own, for a default page cannot be named in a link."""

    def front() -> None:
        if seated() is not None:
            go_to(_FIRST)

    return st.Page(front, title=texts.PAGE_FLEET, default=True, visibility="hidden")


def page(show: Show, name: str) -> Callable[[], None]:
    """Return a page of Streamlit that shows something to whoever sits here."""

    def run() -> None:
        desk = seated()
        if desk is not None:
            show(desk)

    run.__name__ = name
    return run
