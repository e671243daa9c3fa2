"""Small parts by themselves."""

import asyncio
import re

import psycopg
import pytest
from pydantic import BaseModel

from ui.api import schemas
from ui.api.gatekeeper import is_open
from ui.api.metrics import Metrics
from ui.api.notice_hub import NoticeHub
from ui.api.roles import Role
from ui.api.throttle import Throttle


def test_a_bucket_fills_with_time_and_never_beyond_its_burst() -> None:
    now_s = [100.0]
    throttle = Throttle(2.0, 3, lambda: now_s[0])
    assert [throttle.wait_s("a") for _ in range(4)] == [
        0.0,
        0.0,
        0.0,
        0.5,
    ]  # two a second: half a second for one
    assert throttle.wait_s("b") == 0.0
    now_s[0] += 0.5
    assert [throttle.wait_s("a"), throttle.wait_s("a")] == [0.0, 0.5]
    now_s[0] += 1000.0
    assert [throttle.wait_s("a") for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


def test_a_role_reaches_what_lies_below_it_and_nothing_above() -> None:
    order = [Role.SITE, Role.VIEWER, Role.OPERATOR, Role.APPROVER, Role.ADMIN]
    for high, one in enumerate(order):
        assert [one.reaches(other) for other in order] == [low <= high for low in range(5)]


def test_requests_are_counted_into_their_buckets() -> None:
    metrics = Metrics()
    for seconds in (0.004, 0.005, 0.2, 99.0):
        metrics.count("GET", 200, seconds)
    metrics.count("BREW", 405, 0.0)
    text = metrics.text([("cellwatt_sites", "Sites.", 24)])
    assert 'cellwatt_api_requests_total{method="GET",status="200"} 4' in text
    assert 'cellwatt_api_requests_total{method="OTHER",status="405"} 1' in text
    buckets = [int(count) for count in re.findall(r'seconds_bucket\{le="[^"]+"\} (\d+)', text)]
    # 5, 10, 25, 50, 100, 250, 500 ms, 1, 2.5, 10 s, infinity
    assert buckets == [3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 5]
    assert "# TYPE cellwatt_sites gauge\ncellwatt_sites 24\n" in text


def bodies() -> list[type[BaseModel]]:
    return [
        one
        for one in vars(schemas).values()
        if isinstance(one, type) and issubclass(one, BaseModel) and "examples" in str(one.model_config)
    ]


@pytest.mark.parametrize("body", bodies(), ids=lambda one: one.__name__)
def test_every_example_is_valid_and_a_stranger_in_it_is_not(body: type[BaseModel]) -> None:
    (example,) = body.model_json_schema()["examples"]
    body.model_validate(example)
    with pytest.raises(ValueError, match="Extra inputs"):
        body.model_validate({**example, "stranger": 1})


def test_there_are_examples() -> None:
    assert len(bodies()) == 17


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/healthz", True),
        ("HEAD", "/healthz", True),
        ("POST", "/healthz", False),
        ("POST", "/v1/session", True),
        ("DELETE", "/v1/session", False),
        ("GET", "/v1/oidc/callback", True),
        ("POST", "/v1/oidc/callback", False),
        ("POST", "/v1/oidc/session", True),
        ("GET", "/v1/oidc/session", False),
        ("GET", "/m/style.css", True),
        ("POST", "/m/style.css", False),
        ("GET", "/m", False),
        ("GET", "/healthz/", False),
        ("GET", "/v1/session", False),
    ],
)
def test_what_needs_no_login_is_named_one_by_one(method: str, path: str, expected: bool) -> None:
    assert is_open(method, path) is expected


async def test_closing_wakes_whoever_waits_also_while_the_database_is_away() -> None:
    asked = 0

    async def connect() -> psycopg.AsyncConnection:
        nonlocal asked
        asked += 1
        raise psycopg.OperationalError("the database is away")

    hub = NoticeHub(connect)
    task = asyncio.create_task(hub.run())
    async with hub.waiting("thread_event", "t") as woken:
        await asyncio.sleep(0.01)
        assert (asked, woken.is_set()) == (1, False)
        hub.close()
        assert woken.is_set()
    task.cancel()
