"""Small documents as the API gives them."""

from typing import Any

AT = "2026-03-10T12:00:00+00:00"
PAGES = (
    "fleet",
    "site",
    "incidents",
    "chat",
    "plans",
    "audit",
    "forecasts",
    "health",
    "quality",
    "library",
    "settings",
)


def a_site(site_id: str = "s-1", **changes: Any) -> dict[str, Any]:
    """Return a site of the fleet that reports everything but PV."""
    return {
        "site_id": site_id, "name": f"Site {site_id}", "feeder_id": "f-1", "latitude": 60.0, "longitude": 10.0,
        "mode": "remote", "simulated": True, "online": True, "state": "float", "local_lock": False, "read_at": AT,
        "load_w": 2000.0, "grid_w": 2100.0, "battery_w": 4.0, "pv_w": None, "genset_w": None, "bus_v": 54.4, "soc_frac": 0.9,
        "soh_frac": 1.0, "battery_c": 25.0, "mains_ok": True, "alarms": [], "autonomy_h": 6.0, "reserve_h": 4.0,
        "margin_h": 2.0, "spare_wh": 4000.0, "available_w": 2000.0, "quality": 1.0, "open_incidents": 0,
    } | changes  # fmt: skip


def a_feeder(feeder_id: str = "f-1", **changes: Any) -> dict[str, Any]:
    """Return a feeder of the fleet."""
    return {
        "feeder_id": feeder_id, "name": f"Feeder {feeder_id}", "substation": "s", "import_limit_w": 300e3,
        "export_limit_w": 0.0, "background_w": 200e3, "background_at": AT, "sites_w": 5e3, "import_w": 205e3,
        "headroom_w": 95e3, "sites": 2, "online": 2,
    } | changes  # fmt: skip


def a_plan_line(plan_id: str = "plan-1", status: str = "dispatched", **changes: Any) -> dict[str, Any]:
    """Return a line of the list of plans: one hour from noon."""
    return {
        "plan_id": plan_id, "status": status, "objective": "peak_shaving", "sites": 1, "created_at": AT,
        "window_start": AT, "window_end": "2026-03-10T13:00:00+00:00", "supersedes": None, "thread_id": None,
    } | changes  # fmt: skip


def an_event(number: int, kind: str, second: int = 0, /, **body: Any) -> dict[str, Any]:
    """Return an event of run r."""
    at = f"2026-03-10T12:00:{second:02d}+00:00"
    return {"event_no": number, "at": at, "kind": kind, "body": {"run_id": "r", **body}}


def a_command(number: int, text: str, second: int = 0, outcome: str | None = "done") -> dict[str, Any]:
    """Return what somebody said."""
    at = f"2026-03-10T12:00:{second:02d}+00:00"
    return {
        "command_no": number, "kind": "message", "body": {"text": text}, "who": "olga", "at": at, "outcome": outcome,
    }  # fmt: skip
