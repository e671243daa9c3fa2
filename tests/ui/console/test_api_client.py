"""The client against the real API."""

import httpx
import pytest

from tests.ui.api.world import PASSWORD
from tests.ui.console.conftest import INCIDENT, PLAN, LiveApi
from ui.console.api_client import ApiAwayError, ApiClient, LoggedOutError, RefusedError, log_in, open_http
from ui.console.desk import in_words, reaches
from ui.ops.ports import free_port

pytestmark = pytest.mark.database


def test_a_login_says_who_one_is(live_api: LiveApi) -> None:
    token, me = log_in(live_api.http, "ann", PASSWORD)
    assert (me["name"], me["role"]) == ("ann", "approver")
    assert ApiClient(http=live_api.http, token=token).get("/v1/me")["name"] == "ann"


def test_a_wrong_password_is_told_apart_from_a_broken_api(live_api: LiveApi) -> None:
    with pytest.raises(LoggedOutError, match="wrong"):
        log_in(live_api.http, "vic", "not the password")
    with (
        open_http(f"http://127.0.0.1:{free_port()}") as nobody,
        pytest.raises(ApiAwayError) as caught,
    ):
        log_in(nobody, "vic", PASSWORD)
    assert "cellwatt status" in in_words(caught.value)


def test_a_token_that_is_none_is_logged_out(live_api: LiveApi) -> None:
    with pytest.raises(LoggedOutError):
        ApiClient(http=live_api.http, token="nonsense").get("/v1/fleet")


def test_what_has_not_changed_is_not_sent_again(live_api: LiveApi) -> None:
    client = live_api.client("vic")
    first = client.get("/v1/sites/site-1")
    assert client.get("/v1/sites/site-1") is first
    assert first["site"]["battery"]["rated_wh"] == 16384.0


def test_a_refusal_names_the_field_and_says_what_to_do(live_api: LiveApi) -> None:
    client = live_api.client("ann")
    with pytest.raises(RefusedError) as caught:
        client.act("POST", f"/v1/plans/{PLAN}/decline", {"reason": "no"})
    assert caught.value.status == 422
    assert "reason" in caught.value.fields
    assert in_words(caught.value).startswith("The API did not accept that")


def test_a_viewer_is_refused_by_the_api_itself(live_api: LiveApi) -> None:
    with pytest.raises(RefusedError) as caught:
        live_api.client("vic").act("POST", "/v1/control/stop", {"reason": "just looking"})
    assert caught.value.status == 403
    assert in_words(caught.value).startswith("You may not do that: this takes the role operator")


def test_pages_are_followed(live_api: LiveApi) -> None:
    client = live_api.client("vic")
    assert [one["site_id"] for one in client.items("/v1/sites", most=2)] == ["site-1", "site-2"]
    assert [one["site_id"] for one in client.items("/v1/sites", most=1)] == ["site-1"]


def test_the_same_key_acts_once(live_api: LiveApi) -> None:
    client = live_api.client("olga")
    path, body = f"/v1/incidents/{INCIDENT}/acknowledge", {"why": "I am looking"}
    first = client.act("POST", path, body, key="once-1")
    again = client.act("POST", path, body, key="once-1")
    assert first == again
    assert len(client.get(f"/v1/incidents/{INCIDENT}")["history"]) == 1


class LostAnswers(httpx.BaseTransport):
    """A line to the API that loses the first answers: what was asked arrives, what was answered does not."""

    def __init__(self, line: httpx.BaseTransport, lost: int) -> None:
        self.line, self.lost = line, lost

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self.line.handle_request(request)
        if self.lost > 0:
            self.lost -= 1
            answer.close()
            raise httpx.ReadTimeout("no answer in time")
        return answer

    def close(self) -> None:
        self.line.close()


def test_what_is_pressed_again_after_no_answer_is_done_once(live_api: LiveApi) -> None:
    token = live_api.client("olga").token
    with open_http(live_api.url, LostAnswers(httpx.HTTPTransport(), lost=1)) as http:
        client = ApiClient(http=http, token=token)
        with pytest.raises(ApiAwayError):
            client.act("POST", "/v1/threads", {"title": "pressed twice"})
        client.act("POST", "/v1/threads", {"title": "pressed twice"})
        titles = [one["title"] for one in client.items("/v1/threads")]
        assert titles.count("pressed twice") == 1
        # It was answered: the same words a third time are a new act.
        client.act("POST", "/v1/threads", {"title": "pressed twice"})
        titles = [one["title"] for one in client.items("/v1/threads")]
        assert titles.count("pressed twice") == 2


def test_another_act_after_no_answer_is_not_taken_for_the_first(live_api: LiveApi) -> None:
    token = live_api.client("olga").token
    with open_http(live_api.url, LostAnswers(httpx.HTTPTransport(), lost=1)) as http:
        client = ApiClient(http=http, token=token)
        with pytest.raises(ApiAwayError):
            client.act("POST", "/v1/threads", {"title": "first words"})
        assert client.act("POST", "/v1/threads", {"title": "other words"})["title"] == "other words"


def test_roles_reach_downward_and_the_unknown_reaches_nothing() -> None:
    assert reaches("approver", "operator")
    assert not reaches("viewer", "operator")
    assert not reaches("site", "viewer")
