"""Registry entries as they come in: read as strictly as they are kept (pure)."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from telemetry.model.catalogue import AutonomyRule, BatteryType, Tariff
from telemetry.model.site import CriticalSite, Feeder, Site, SiteMode
from telemetry.registry_store import to_doc
from ui.api.registry_desk_store import Conflict, Doc

T = TypeVar("T", Site, Feeder, CriticalSite, AutonomyRule, BatteryType, Tariff)
_WHERE = re.compile(r"^(?P<why>.*) - at `\$\.?(?P<where>.*)`$", re.DOTALL)


class EntryError(Exception):
    """An entry is malformed: `field` says where."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(why)
        self.field = field


def read_entry(doc: Mapping[str, Any], kind: type[T]) -> Doc:
    """Return an entry in the form in which it is stored.

    Raises:
        EntryError: A key is missing or unknown, or a value is out of its range.
    """
    try:
        thing = msgspec.convert(doc, kind)
        stored: Doc = to_doc(thing)
    except msgspec.ValidationError as error:
        match = _WHERE.match(str(error))
        raise EntryError(match["where"] if match else "", match["why"] if match else str(error)) from error
    except (ValueError, OverflowError) as error:
        raise EntryError("", str(error)) from error
    _no_strangers(doc, stored, "")
    _instants_are_aware(thing)
    return stored


def settle_site(asked: Doc, before: Doc | None) -> Doc | Conflict:
    """Return what is stored of a site: its mode is control's to change, and what is simulated stays so."""
    if before is None:
        if asked["mode"] == SiteMode.REMOTE.value:
            return Conflict(why="a new site starts in monitor or shadow", field="mode")
        return asked
    if asked["simulated"] != before["simulated"]:
        return Conflict(
            why="a site cannot turn from simulated to real or back; add another", field="simulated"
        )
    if asked["mode"] != before["mode"]:
        return Conflict(why="change it with PUT /v1/sites/{site_id}/mode: the site is told", field="mode")
    return asked


def check_zone(doc: Doc) -> None:
    """Refuse a time zone that nobody knows.

    Raises:
        EntryError: It is none.
    """
    try:
        ZoneInfo(doc["time_zone"])
    except (KeyError, ValueError, OSError) as error:
        raise EntryError("time_zone", f"there is no time zone {doc['time_zone']!r}") from error


def _no_strangers(given: Any, stored: Any, place: str) -> None:
    """Name a key that was given and would be lost."""
    if isinstance(given, Mapping) and isinstance(stored, Mapping):
        for key, value in given.items():
            where = f"{place}.{key}" if place else str(key)
            if key not in stored:
                raise EntryError(where, "unknown key")
            _no_strangers(value, stored[key], where)
    elif isinstance(given, list) and isinstance(stored, list):
        for number, (one, other) in enumerate(zip(given, stored, strict=False)):
            _no_strangers(one, other, f"{place}[{number}]")


def _instants_are_aware(thing: object) -> None:
    for name in getattr(thing, "__dataclass_fields__", ()):
        value = getattr(thing, name)
        if isinstance(value, datetime) and value.tzinfo is None:
            raise EntryError(name, "an instant needs an offset")
        _instants_are_aware(value)
