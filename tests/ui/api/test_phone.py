"""The approval page at `/m`: decided by form, safe from other pages, and no more than the API itself allows."""

import re
from dataclasses import replace

import httpx
import pytest

from edge.plan import Plan
from telemetry.model.site import SiteId
from tests.tools.notify.examples import INCIDENT
from tests.ui.api.world import PASSWORD, World, one_person_plan, two_person_plan
from tools.anomaly.incident_store import IncidentStore

pytestmark = [pytest.mark.database, pytest.mark.asyncio(loop_scope="module")]
HIDDEN = re.compile(r'name="(csrf|once|envelope_digest)" value="([0-9a-f]{32,64})"')


class Phone:
    """A browser without a script: cookies, pages and forms."""

    def __init__(self, world: World) -> None:
        transport = httpx.ASGITransport(app=world.app)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://phone")

    async def log_in(self, name: str) -> httpx.Response:
        self.http.cookies.clear()
        return await self.http.post("/m/login", data={"name": name, "password": PASSWORD})

    async def fields(self, path: str) -> dict[str, str]:
        return dict(HIDDEN.findall((await self.http.get(path)).text))

    async def send(self, page: str, act: str, **values: str) -> httpx.Response:
        return await self.http.post(act, data={**await self.fields(page), **values})


@pytest.fixture
async def phone(world: World) -> Phone:
    return Phone(world)


def page_of(plan: Plan) -> str:
    return f"/m/plans/{plan.plan_id}"


async def test_without_a_login_there_is_only_the_login(phone: Phone) -> None:
    for path in ("/m", "/m/plans/plan-1"):
        answer = await phone.http.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/m/login")
    assert (await phone.http.get("/m/login")).status_code == 200
    assert (await phone.http.post("/m/stop", data={"reason": "because"})).status_code == 303
    wrong = await phone.http.post("/m/login", data={"name": "ann", "password": "wrong"})
    assert (wrong.status_code, "set-cookie" in wrong.headers) == (401, False)


async def test_a_plan_is_approved_by_thumb(world: World, phone: Phone) -> None:
    plan = await world.plan(one_person_plan("m-yes"))
    entered = await phone.log_in("ann")
    cookie = entered.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert page_of(plan) in (await phone.http.get("/m")).text
    shown = (await phone.http.get(page_of(plan))).text
    # 1536 W out of one simulated site; 12:00 to 16:00 UTC is an hour later in Oslo in March.
    assert "batteries give up to 1.5 kW" in shown
    assert "13:00 – 17:00" in shown
    assert "1, all simulated" in shown
    assert "one person, 1 more needed" in shown
    unticked = await phone.send(page_of(plan), f"{page_of(plan)}/approve")
    assert (unticked.status_code, "tick the box" in unticked.text) == (422, True)
    assert world.sql("SELECT 1 FROM approval WHERE plan_id = 'm-yes'") == []
    done = await phone.send(page_of(plan), f"{page_of(plan)}/approve", seen="yes")
    assert (done.status_code, "Your yes is recorded." in done.text) == (200, True)
    assert world.sql("SELECT approver FROM approval WHERE plan_id = 'm-yes'") == [("ann",)]
    assert "You have approved it already" in done.text


async def test_two_persons_are_two_logins(world: World, phone: Phone) -> None:
    plan = await world.plan(two_person_plan("m-two"))
    await phone.log_in("ann")
    await phone.send(page_of(plan), f"{page_of(plan)}/approve", seen="yes")
    fields = {"envelope_digest": plan.envelope.digest(), "seen": "yes"}
    again = await phone.send("/m", f"{page_of(plan)}/approve", **fields)
    assert (again.status_code, "somebody else" in again.text) == (409, True)
    await phone.log_in("bo")
    assert (await phone.send(page_of(plan), f"{page_of(plan)}/approve", seen="yes")).status_code == 200
    assert world.sql("SELECT count(*) FROM approval WHERE plan_id = 'm-two'") == [(2,)]


async def test_a_no_needs_a_reason(world: World, phone: Phone) -> None:
    plan = await world.plan(one_person_plan("m-no"))
    await phone.log_in("ann")
    assert (await phone.send(page_of(plan), f"{page_of(plan)}/decline", reason="no")).status_code == 422
    assert (
        await phone.send(page_of(plan), f"{page_of(plan)}/decline", reason="crew on site")
    ).status_code == 200
    assert world.sql("SELECT who, reason FROM plan_decline WHERE plan_id = 'm-no'") == [
        ("ann", "crew on site")
    ]
    assert page_of(plan) not in (await phone.http.get("/m")).text


@pytest.mark.parametrize("forged", ["", "0" * 64])
async def test_a_form_of_another_page_does_nothing(world: World, phone: Phone, forged: str) -> None:
    await phone.log_in("ann")
    before = world.sql("SELECT count(*) FROM control_request")
    values = {"reason": "forged", "csrf": forged}
    assert (await phone.http.post("/m/stop", data=values)).status_code == 403
    # Not even with the right key, where the browser says that another page sent it.
    right = {"reason": "forged", **await phone.fields("/m")}
    other = {"Origin": "https://evil.example"}
    assert (await phone.http.post("/m/stop", data=right, headers=other)).status_code == 403
    assert world.sql("SELECT count(*) FROM control_request") == before


async def test_one_sessions_form_is_no_other_sessions(world: World, phone: Phone) -> None:
    await phone.log_in("ann")
    of_ann = await phone.fields("/m")
    await phone.log_in("bo")
    assert (await phone.http.post("/m/stop", data={"reason": "because", **of_ann})).status_code == 403


async def test_a_viewer_sees_the_card_and_no_button(world: World, phone: Phone) -> None:
    plan = await world.plan(one_person_plan("m-view"))
    await phone.log_in("vic")
    shown = (await phone.http.get(page_of(plan))).text
    assert "It takes the role approver" in shown
    assert "/approve" not in shown
    assert 'action="/m/stop"' not in (await phone.http.get("/m")).text
    key = await phone.fields("/m")
    values = {**key, "envelope_digest": plan.envelope.digest(), "seen": "yes", "reason": "because"}
    for act in (f"{page_of(plan)}/approve", f"{page_of(plan)}/decline", "/m/stop"):
        assert (await phone.http.post(act, data=values)).status_code == 403
    assert world.sql("SELECT 1 FROM approval WHERE plan_id = 'm-view'") == []


async def test_stop_for_all_from_a_phone(world: World, phone: Phone) -> None:
    await phone.log_in("olga")
    answer = await phone.send("/m", "/m/stop", reason="smoke at a site")
    assert (answer.status_code, "has not answered yet" in answer.text) == (200, True)
    rows = world.sql(
        "SELECT who, reason FROM control_request WHERE kind = 'stop' ORDER BY request_id DESC LIMIT 1"
    )
    assert rows == [("olga", "smoke at a site")]


async def test_a_form_that_is_sent_twice_acts_once(world: World, phone: Phone) -> None:
    await phone.log_in("olga")
    stops = "SELECT count(*) FROM control_request WHERE kind = 'stop' AND reason = 'twice'"
    once = {**await phone.fields("/m"), "reason": "twice"}
    answers = [await phone.http.post("/m/stop", data=once) for _ in range(2)]
    assert [one.status_code for one in answers] == [200, 200]
    assert all("has not answered yet" in one.text for one in answers)
    assert world.sql(stops) == [(1,)]
    # A page that was opened anew is another wish; one without a key is none of ours.
    assert (await phone.send("/m", "/m/stop", reason="twice")).status_code == 200
    for key in ("", "x", "0" * 31 + "\0"):
        assert (await phone.http.post("/m/stop", data={**once, "once": key})).status_code == 422
    assert world.sql(stops) == [(2,)]


async def test_a_yes_that_is_sent_twice_is_answered_twice_and_given_once(world: World, phone: Phone) -> None:
    plan = await world.plan(one_person_plan("m-twice"))
    await phone.log_in("ann")
    once = {**await phone.fields(page_of(plan)), "seen": "yes"}
    for _ in range(2):
        answer = await phone.http.post(f"{page_of(plan)}/approve", data=once)
        assert (answer.status_code, "Your yes is recorded." in answer.text) == (200, True)
    assert world.sql("SELECT count(*) FROM approval WHERE plan_id = 'm-twice'") == [(1,)]


async def test_what_people_wrote_is_text_and_never_markup(world: World, phone: Phone) -> None:
    from dataclasses import replace

    plan = one_person_plan("m-markup")
    objective = replace(plan.objective, text="<script>alert(1)</script>")
    await world.plan(replace(plan, objective=objective, envelope=replace(plan.envelope, objective=objective)))
    await phone.log_in("ann")
    answer = await phone.http.get("/m/plans/m-markup")
    assert "<script>" not in answer.text
    assert "&lt;script&gt;" in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert (await phone.http.get("/m/plans/none-such")).status_code == 404


async def test_it_installs_as_an_app_and_logs_out(phone: Phone) -> None:
    manifest = await phone.http.get("/m/manifest.webmanifest")
    assert (manifest.json()["start_url"], manifest.json()["display"]) == ("/m", "standalone")
    assert (await phone.http.get("/m/icon.svg")).headers["content-type"] == "image/svg+xml"
    icons = [one for one in manifest.json()["icons"] if one["type"] == "image/png"]
    assert {one["sizes"] for one in icons} == {"192x192", "512x512"}
    for one in icons:
        answer = await phone.http.get(one["src"])
        side = one["sizes"].partition("x")[0]
        # A PNG says its width in bytes 16 to 19.
        assert (answer.status_code, int.from_bytes(answer.content[16:20])) == (200, int(side))
    assert '<link rel="apple-touch-icon" href="/m/icon-192.png">' in (await phone.http.get("/m/login")).text
    await phone.log_in("ann")
    assert (await phone.send("/m", "/m/logout")).headers["location"] == "/m/login"
    assert (await phone.http.get("/m")).status_code == 303


async def test_the_documentation_takes_a_login_and_names_every_operation(world: World, phone: Phone) -> None:
    asked = await phone.http.get("/docs")
    assert (asked.status_code, asked.headers["location"]) == (303, "/m/login?next=/docs")
    form = (await phone.http.get("/m/login?next=/docs")).text
    assert 'name="next" value="/docs"' in form
    login = {"name": "vic", "password": PASSWORD, "next": "/docs"}
    assert (await phone.http.post("/m/login", data=login)).headers["location"] == "/docs"
    page = (await phone.http.get("/docs")).text
    for path, item in world.app.openapi()["paths"].items():
        for method in item:
            assert f"<h3>{method.upper()} {path}</h3>" in page
    assert "<script" not in page
    # No word of elsewhere: what a link may choose is one page of our own.
    assert "http://" not in page
    assert "https://" not in page
    for elsewhere in ("https://evil.example", "//evil.example", "/m/logout"):
        phone.http.cookies.clear()
        answer = await phone.http.post("/m/login", data={**login, "next": elsewhere})
        assert answer.headers["location"] == "/m"


async def test_a_message_leads_to_the_incident_and_what_it_rests_on(world: World, phone: Phone) -> None:
    told = replace(INCIDENT.history[0], why="<img src=//evil.example>")
    evidence = {**INCIDENT.evidence, "detector": "![x](//evil.example) <i>"}
    odd = replace(INCIDENT, site_id=SiteId("<b>site</b>"), history=(told,), evidence=evidence)
    await IncidentStore(world.services.pool).put([odd])
    await phone.log_in("ann")
    answer = await phone.http.get(f"/m/incidents/{INCIDENT.incident_id}")
    assert answer.status_code == 200
    assert "bus_v: 49.7 where 51.2 was expected." in answer.text
    for markup in ("<b>site</b>", "<img", "<i>"):
        assert markup not in answer.text
    assert "&lt;img src=//evil.example&gt;" in answer.text
    assert (await phone.http.get("/m/incidents/none")).status_code == 404
