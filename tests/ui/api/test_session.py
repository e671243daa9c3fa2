import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tests.ui.api.world import PASSWORD, QUICK, World, add_token, world_over
from ui.api.roles import PrincipalKind, Role
from ui.ops.secrets import DatabaseRole

pytestmark = [pytest.mark.database, pytest.mark.asyncio(loop_scope="module")]


async def log_in(world: World, name: str, password: str) -> int:
    answer = await world.ask("", "POST", "/v1/session", {"name": name, "password": password})
    if answer.status_code == 201:
        world.tokens["fresh"] = answer.json()["token"]
    return answer.status_code


async def test_a_login_opens_a_session_that_ends_with_log_out(world: World) -> None:
    assert await log_in(world, "olga", PASSWORD) == 201
    me = await world.get("/v1/me", "fresh")
    # Nine o'clock and twelve hours.
    assert me == {
        "name": "olga", "kind": "user", "role": "operator", "site_id": "", "expires_at": "2026-11-24T21:00:00Z",
    }  # fmt: skip
    assert (await world.ask("fresh", "DELETE", "/v1/session")).status_code == 204
    assert (await world.ask("fresh", "GET", "/v1/me")).status_code == 401
    assert [entry[:3] for entry in world.audit("session.closed")] == [("cellwatt_api", "olga", "olga")]


async def test_the_database_keeps_no_token_that_could_be_used(world: World) -> None:
    assert await log_in(world, "olga", PASSWORD) == 201
    kept = {
        bytes(row[0])
        for row in world.sql("SELECT token_hash FROM app_session UNION SELECT token_hash FROM api_token")
    }
    assert all(token.encode() not in kept for token in world.tokens.values())
    assert all(len(one) == 32 for one in kept)


async def test_a_session_ends_by_itself(world: World) -> None:
    world.wall.at += timedelta(hours=12) - timedelta(seconds=1)
    assert (await world.ask("vic", "GET", "/v1/me")).status_code == 200
    world.wall.at += timedelta(seconds=1)
    assert (await world.ask("vic", "GET", "/v1/me")).status_code == 401


async def test_the_fifth_wrong_password_locks_and_a_quarter_of_an_hour_unlocks(world: World) -> None:
    for _ in range(4):
        assert await log_in(world, "olga", "wrong") == 401
    assert await log_in(world, "olga", PASSWORD) == 201  # four failures are forgiven
    for _ in range(5):
        assert await log_in(world, "olga", "wrong") == 401
    assert await log_in(world, "olga", PASSWORD) == 401
    assert world.sql("SELECT locked_until FROM app_user WHERE name = 'olga'")[0][
        0
    ] == world.wall.at + timedelta(minutes=15)
    assert [entry[1:3] for entry in world.audit("user.locked")] == [("olga", "olga")]
    world.wall.at += timedelta(minutes=15)
    assert await log_in(world, "olga", PASSWORD) == 201


async def test_an_unknown_and_a_closed_account_are_told_like_a_wrong_password(world: World) -> None:
    world.sql("UPDATE app_user SET active = false WHERE name = 'vic'")
    answers = [
        (await world.ask("", "POST", "/v1/session", {"name": name, "password": PASSWORD}))
        for name in ("nobody", "vic")
    ]
    wrong = await world.ask("", "POST", "/v1/session", {"name": "olga", "password": "wrong"})
    assert {answer.text for answer in answers} == {wrong.text}
    assert {answer.status_code for answer in answers} == {401}


async def test_many_logins_from_one_address_have_to_wait(world: World, tmp_path: Path) -> None:
    slow = replace(QUICK, login_rate_per_s=0.1, login_burst=2)
    async with world_over(world.database, tmp_path, settings=slow) as other:
        answers = [
            await other.ask("", "POST", "/v1/session", {"name": "nobody", "password": "x"}) for _ in range(3)
        ]
    assert [answer.status_code for answer in answers] == [401, 401, 429]
    # One more login in ten seconds, less what has passed.
    assert 8 <= int(answers[-1].headers["Retry-After"]) <= 10


async def test_a_new_password_ends_all_sessions(world: World) -> None:
    change = {"old_password": PASSWORD, "new_password": "another long one"}
    wrong = {**change, "old_password": "not this"}
    assert (await world.ask("olga", "PUT", "/v1/me/password", wrong)).status_code == 409
    assert (await world.ask("olga", "PUT", "/v1/me/password", change)).status_code == 204
    assert (await world.ask("olga", "GET", "/v1/me")).status_code == 401
    assert await log_in(world, "olga", "another long one") == 201


async def test_an_old_password_is_guessed_no_oftener_than_at_the_login(world: World, tmp_path: Path) -> None:
    change = {"old_password": "guess", "new_password": "another long one"}
    for _ in range(5):
        assert (await world.ask("olga", "PUT", "/v1/me/password", change)).status_code == 409
    # The right one comes too late, here and at the login, for a quarter of an hour.
    right = {**change, "old_password": PASSWORD}
    assert (await world.ask("olga", "PUT", "/v1/me/password", right)).status_code == 409
    assert await log_in(world, "olga", PASSWORD) == 401
    world.wall.at += timedelta(minutes=15)
    assert (await world.ask("olga", "PUT", "/v1/me/password", right)).status_code == 204
    told = [entry[1:] for entry in world.audit("password.refused")][-6:]
    assert told == [("olga", "olga", {"why": "wrong password", "address": "127.0.0.1"})] * 5 + [
        ("olga", "olga", {"why": "locked", "address": "127.0.0.1"})
    ]


async def test_tries_of_an_old_password_wait_for_their_turn(world: World, tmp_path: Path) -> None:
    slow = replace(QUICK, login_rate_per_s=0.1, login_burst=2)
    change = {"old_password": "guess", "new_password": "another long one"}
    async with world_over(world.database, tmp_path, settings=slow) as other:
        statuses = [(await other.ask("bo", "PUT", "/v1/me/password", change)).status_code for _ in range(3)]
    assert statuses == [409, 409, 429]


async def test_every_refused_login_is_in_the_trail_and_no_unknown_name_is(world: World) -> None:
    before = len(world.audit("session.refused"))
    world.sql("UPDATE app_user SET active = false WHERE name = 'vic'")
    for name in ("olga", "vic", "my-password-by-mistake"):
        assert await log_in(world, name, "wrong") == 401
    assert [entry[1:] for entry in world.audit("session.refused")[before:]] == [
        ("nobody", "olga", {"why": "wrong password", "address": "127.0.0.1"}),
        ("nobody", "vic", {"why": "closed", "address": "127.0.0.1"}),
        ("nobody", "unknown", {"why": "unknown name", "address": "127.0.0.1"}),
    ]
    assert world.sql("SELECT 1 FROM audit WHERE audit::text LIKE '%%by-mistake%%'") == []


async def test_one_caller_cannot_take_everything(world: World, tmp_path: Path) -> None:
    slow = replace(QUICK, rate_per_s=0.01, burst=3)
    async with world_over(world.database, tmp_path, settings=slow) as other:
        statuses = [(await other.ask("vic", "GET", "/v1/me")).status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        assert (await other.ask("olga", "GET", "/v1/me")).status_code == 200


async def two_of_one_label(world: World) -> tuple[str, str]:
    """Make two tokens of one label; return the names under which `ask` knows them."""
    for name in ("first", "second"):
        await add_token(world, "twin", PrincipalKind.SERVICE, "", Role.OPERATOR)
        world.tokens[name] = world.tokens["twin"]
    return "first", "second"


async def test_a_tokens_limit_is_its_own_and_not_its_labels(world: World, tmp_path: Path) -> None:
    slow = replace(QUICK, rate_per_s=0.01, burst=2)
    async with world_over(world.database, tmp_path, settings=slow) as other:
        first, second = await two_of_one_label(other)
        statuses = [(await other.ask(first, "GET", "/v1/me")).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
        assert (await other.ask(second, "GET", "/v1/me")).status_code == 200


async def test_a_tokens_idempotency_key_is_its_own_and_not_its_labels(world: World) -> None:
    first, second = await two_of_one_label(world)
    key = {"Idempotency-Key": "one-key"}
    made = [
        (await world.ask(who, "POST", "/v1/threads", {"title": "A question"}, headers=key)).json()[
            "thread_id"
        ]
        for who in (first, first, second)
    ]
    # The same token asks once more and is told the same; the other token has a conversation of its own.
    assert (made[0] == made[1], made[0] == made[2]) == (True, False)


async def test_a_users_lock_does_not_need_the_owner(world: World) -> None:
    rights = world.sql(
        "SELECT has_table_privilege('cellwatt_loop', 'app_user', 'SELECT'), has_table_privilege('cellwatt_api',"
        " 'command', 'INSERT'), has_table_privilege('cellwatt_api', 'plan', 'INSERT')",
        role=DatabaseRole.OWNER,
    )
    assert rights == [(False, False, False)]


async def test_two_wrong_logins_at_once_count_as_two(world: World) -> None:
    await asyncio.gather(*(log_in(world, "olga", "wrong") for _ in range(3)))
    assert world.sql("SELECT failures FROM app_user WHERE name = 'olga'") == [(3,)]
