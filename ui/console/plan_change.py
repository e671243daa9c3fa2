"""A plan in the words that would ask for it again, as the start of a request to change it. Pure."""

from datetime import datetime
from zoneinfo import ZoneInfo

from ui.console import texts
from ui.console.api_client import Doc

CHANGEABLE = ("proposed", "validated", "approved")


def change_request(plan: Doc, site_zone: ZoneInfo) -> str:
    """Return a request for a plan like this one; its times are on the sites' clock, as the agent reads times.

    The plan's id is left out: with it the agent would explain that plan instead of making one.
    """
    start = datetime.fromisoformat(plan["window_start"]).astimezone(site_zone)
    end = datetime.fromisoformat(plan["window_end"]).astimezone(site_zone)
    what = texts.CHANGE_WORDS.get(plan["objective"], texts.CHANGE_WORDS["peak_shaving"])
    if plan["objective"] == "demand_response" and plan["target_w"]:
        what = texts.CHANGE_POWER.format(power=f"{plan['target_w'] / 1e3:g}")
    return texts.CHANGE_REQUEST.format(
        what=what,
        feeders=texts.CHANGE_AND.join(plan["feeder_ids"]),
        day=f"{start:%Y-%m-%d}",
        start=f"{start:%H:%M}",
        end=f"{end:%H:%M}",
    )
