"""What is sent again, and what never is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from quantis.client import Client, connection
from quantis.errors import NotFound, QuantisError, TimedOut, Unavailable
from quantis.types.job_specs import TrainSpec

NOW = "2024-01-01T00:00:00Z"
USER = {"id": "1", "user_name": "ann", "role": "viewer", "team": "t", "disabled": False, "created_at": NOW}
SPEC = TrainSpec(dataset="d", model="m")
JOB = {
    "id": "j1",
    "kind": "train",
    "state": "PENDING",
    "spec": SPEC.model_dump(mode="json"),
    "created_at": NOW,
    "created_by": "ann",
}
DATASET = {"name": "d", "created_at": NOW, "created_by": "ann"}

Step = httpx.Response | Exception


class Script:
    """Answers the requests one after the other, and keeps them."""

    def __init__(self, *steps: Step) -> None:
        self.steps, self.requests = list(steps), list[httpx.Request]()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    def client(self, retries: int = 3) -> Client:
        return Client("http://test", "a token", transport=httpx.MockTransport(self), retries=retries)


def busy(**headers: str) -> httpx.Response:
    return httpx.Response(503, json={"code": "unavailable", "detail": "busy"}, headers=headers)


def test_when_the_server_is_busy_then_a_read_is_repeated_after_growing_random_pauses(
    pauses: list[float],
) -> None:
    script = Script(busy(), busy(), busy(), httpx.Response(200, json=USER))
    assert script.client().me().user_name == "ann"
    assert len(script.requests) == 4
    assert len(pauses) == 3
    assert all(0 < pause <= 0.25 * 2**attempt for attempt, pause in enumerate(pauses))


def test_when_the_server_says_how_long_to_wait_then_that_is_kept(pauses: list[float]) -> None:
    script = Script(busy(**{"Retry-After": "7"}), httpx.Response(200, json=USER))
    script.client().me()
    assert pauses == [7.0]


def test_when_the_server_asks_for_an_hour_then_the_client_does_not_sleep_an_hour(pauses: list[float]) -> None:
    script = Script(busy(**{"Retry-After": "3600"}), httpx.Response(200, json=USER))
    script.client().me()
    assert pauses == [20.0]


def test_when_it_stays_busy_then_the_servers_own_words_are_raised(pauses: list[float]) -> None:
    script = Script(*[busy() for _ in range(4)])
    with pytest.raises(Unavailable, match="busy"):
        script.client().me()
    assert script.steps == []


@pytest.mark.parametrize(
    "fault", [httpx.ReadError("cut"), httpx.RemoteProtocolError("half an answer"), busy()]
)
def test_when_the_answer_to_a_submission_is_lost_then_it_is_sent_again_with_the_same_key(
    pauses: list[float], fault: Step
) -> None:
    script = Script(fault, httpx.Response(202, json=JOB))
    assert script.client().submit(SPEC).id == "j1"
    keys = [request.headers["Idempotency-Key"] for request in script.requests]
    assert keys[0] == keys[1]
    assert len(keys[0]) >= 32
    assert script.requests[0].content == script.requests[1].content


def test_when_two_jobs_are_submitted_then_their_keys_differ() -> None:
    script = Script(httpx.Response(202, json=JOB), httpx.Response(202, json=JOB))
    with script.client() as client:
        client.submit(SPEC)
        client.submit(SPEC)
    assert len({request.headers["Idempotency-Key"] for request in script.requests}) == 2


@pytest.mark.parametrize(
    "act",
    [
        lambda client: client.create_user("ann", "correct horse battery"),
        lambda client: client.create_first_admin("secret", "ann", "correct horse battery"),
    ],
)
@pytest.mark.parametrize("fault", [httpx.ReadError("cut"), busy()])
def test_when_doing_it_twice_would_do_more_then_it_is_not_sent_again(
    pauses: list[float], fault: Step, act: Callable[[Client], object]
) -> None:
    script = Script(fault)
    with pytest.raises(Unavailable):
        act(script.client())
    assert len(script.requests) == 1
    assert pauses == []


def test_when_nothing_was_sent_then_even_that_is_tried_again(pauses: list[float]) -> None:
    script = Script(httpx.ConnectError("refused"), httpx.Response(201, json=USER))
    assert script.client().create_user("ann", "correct horse battery").id == "1"
    assert len(script.requests) == 2


def test_when_there_is_no_server_then_the_message_names_the_address_and_the_remedy(
    pauses: list[float],
) -> None:
    script = Script(*[httpx.ConnectError("connection refused") for _ in range(4)])
    with pytest.raises(Unavailable) as caught:
        script.client().me()
    assert "http://test" in caught.value.message
    assert "quantis up" in caught.value.message


def test_when_a_real_port_is_closed_then_unavailable(pauses: list[float]) -> None:
    with (
        Client("http://127.0.0.1:9", "t", retries=1) as client,
        pytest.raises(Unavailable, match=r"127\.0\.0\.1:9"),
    ):
        client.me()
    assert len(pauses) == 1


def test_when_the_server_is_silent_then_timed_out_with_its_own_exit_code(pauses: list[float]) -> None:
    script = Script(*[httpx.ReadTimeout("silence") for _ in range(2)])
    with pytest.raises(TimedOut) as caught:
        script.client(retries=1).me()
    assert caught.value.exit_code == 6


def test_when_a_file_is_sent_again_then_it_is_sent_from_its_start(
    pauses: list[float], tmp_path: Path
) -> None:
    path = tmp_path / "panel.csv"
    path.write_bytes(b"unique_id,ds,y\na,2024-01-01,1\n" * 10_000)
    report = {"file": "panel.csv", "outcome": "accept", "findings": [], "series": 1, "rows": 1, "freq": "D"}
    script = Script(busy(), httpx.ReadError("cut"), httpx.Response(200, json=report))
    assert script.client().check("d", path).file == "panel.csv"
    assert [request.content == path.read_bytes() for request in script.requests] == [True] * 3
    assert script.requests[0].url.params["file"] == "panel.csv"
    assert script.requests[0].headers["Content-Type"] == "text/csv"
    assert script.requests[0].headers["Content-Length"] == str(path.stat().st_size)


def test_when_the_answer_has_a_field_of_the_future_then_it_is_left_out() -> None:
    script = Script(httpx.Response(200, json={**DATASET, "retention": {"days": 3}}))
    assert script.client().dataset("d").name == "d"


@pytest.mark.parametrize(
    "answer", [httpx.Response(200, text="<html>"), httpx.Response(200, json={"hello": 1})]
)
def test_when_another_server_answers_then_it_says_so_and_does_not_crash(answer: httpx.Response) -> None:
    with pytest.raises(Unavailable, match="a Quantis server"):
        Script(answer).client().dataset("d")


def test_when_a_server_redirects_then_no_token_follows_it() -> None:
    script = Script(httpx.Response(302, headers={"Location": "http://elsewhere/"}))
    with pytest.raises(QuantisError, match="elsewhere"):
        script.client().me()
    assert len(script.requests) == 1


def test_when_pages_follow_then_the_cursor_is_handed_on_until_there_is_none() -> None:
    pages = [
        {"items": [DATASET], "next_cursor": "two"},
        {"items": [{**DATASET, "name": "e"}], "next_cursor": None},
    ]
    script = Script(*[httpx.Response(200, content=json.dumps(page)) for page in pages])
    assert [dataset.name for dataset in script.client().datasets()] == ["d", "e"]
    assert [request.url.params.get("cursor") for request in script.requests] == [None, "two"]


def bare(status: int) -> httpx.Response:
    """A failure as Serve's proxy says it while replicas come and go."""
    text = "Path '/v1/jobs' not found. Ping http://.../-/routes" if status == 404 else "Internal Server Error"
    return httpx.Response(status, text=text)


def away() -> httpx.Response:
    """The front's word while the API is away."""
    return busy(**{"Retry-After": "2"})


@pytest.mark.parametrize("fault", [bare(404), bare(500), bare(502), bare(503), httpx.ReadError("cut")])
@pytest.mark.parametrize(
    ("act", "answer"),
    [
        (lambda client: client.me(), httpx.Response(200, json=USER)),
        (lambda client: client.submit(SPEC), httpx.Response(202, json=JOB)),
        (lambda client: client.delete_service_account("c"), httpx.Response(204)),
        (lambda client: client.end_session("s"), httpx.Response(204)),
    ],
    ids=["read", "work with its key", "deletion", "end of a session"],
)
def test_when_a_failure_is_not_the_api_s_word_then_what_is_safe_is_sent_again(
    pauses: list[float], fault: Step, act: Callable[[Client], object], answer: httpx.Response
) -> None:
    script = Script(fault, fault, answer)
    act(script.client())
    assert len(script.requests) == 3
    assert len({request.headers.get("Idempotency-Key") for request in script.requests}) == 1


@pytest.mark.parametrize("fault", [bare(404), bare(500), bare(503)])
def test_when_a_failure_is_not_the_api_s_word_then_what_is_unsafe_is_sent_once(
    pauses: list[float], fault: Step
) -> None:
    script = Script(fault)
    with pytest.raises(Unavailable):
        script.client().create_user("ann", "correct horse battery")
    assert len(script.requests) == 1


def test_when_the_front_says_when_to_try_again_then_a_restart_is_waited_out(pauses: list[float]) -> None:
    script = Script(*[away() for _ in range(20)], httpx.Response(200, json=USER))
    assert script.client().me().user_name == "ann"
    assert pauses == [2.0] * 20


def test_when_a_server_was_there_then_its_restart_is_waited_out_whatever_is_heard_meanwhile(
    pauses: list[float],
) -> None:
    outage: list[Step] = [httpx.ReadError("cut"), bare(500), httpx.ConnectError("refused"), bare(404), away()]
    script = Script(httpx.Response(200, json=USER), *outage, *outage, httpx.Response(200, json=USER))
    client = script.client()
    client.me()
    assert client.me().user_name == "ann"
    assert len(pauses) == 10
    assert max(pauses) <= connection.MAX_BACKOFF


def test_when_a_server_that_was_there_is_silent_then_it_is_asked_as_often_as_the_retries_say(
    pauses: list[float],
) -> None:
    script = Script(httpx.Response(200, json=USER), *[httpx.ReadTimeout("silence") for _ in range(4)])
    client = script.client()
    client.me()
    with pytest.raises(TimedOut):
        client.me()
    assert len(script.requests) == 5


def test_when_the_outage_lasts_then_it_is_given_up_after_its_time_as_unavailable(pauses: list[float]) -> None:
    script = Script(*[away() for _ in range(100)])
    with pytest.raises(Unavailable) as caught:
        script.client().me()
    assert caught.value.exit_code == 5
    assert sum(pauses) == connection.OUTAGE_SECONDS


@pytest.mark.parametrize("fault", [bare(404), bare(500), bare(502), bare(503)])
def test_when_another_server_answers_then_it_is_unavailable_after_the_retries_and_never_not_found(
    pauses: list[float], fault: httpx.Response
) -> None:
    script = Script(*[fault] * 4)
    with pytest.raises(Unavailable, match="not an answer of Quantis") as caught:
        script.client().me()
    assert (caught.value.exit_code, len(script.requests)) == (5, 4)


@pytest.mark.parametrize(("status", "code"), [(404, "not_found"), (500, "internal"), (409, "conflict")])
def test_when_the_api_itself_refuses_then_it_is_final(pauses: list[float], status: int, code: str) -> None:
    script = Script(httpx.Response(status, json={"code": code, "detail": "so it is"}))
    with pytest.raises(QuantisError, match="so it is"):
        script.client().me()
    assert pauses == []


def test_when_a_deletion_s_answer_was_lost_then_not_found_says_that_it_may_be_done(
    pauses: list[float],
) -> None:
    gone = httpx.Response(404, json={"code": "not_found", "detail": "there is none"})
    with pytest.raises(NotFound) as caught:
        Script(httpx.ReadError("cut"), gone).client().delete_service_account("c")
    assert "may have deleted it" in caught.value.__notes__[0]


def test_when_signing_in_meets_a_restart_then_it_is_repeated_unless_it_works_once(
    pauses: list[float],
) -> None:
    token = {"access_token": "a", "token_type": "bearer", "expires_in": 600}
    script = Script(bare(500), away(), httpx.Response(200, json=token), httpx.Response(200, json=USER))
    with Client("http://test", user="ann", password="p", transport=httpx.MockTransport(script)) as client:
        assert client.me().user_name == "ann"
    assert [request.url.path for request in script.requests] == ["/v1/oauth/token"] * 3 + ["/v1/users/me"]
