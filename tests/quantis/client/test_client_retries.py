"""What is sent again, and what never is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from quantis.client import Client
from quantis.errors import QuantisError, TimedOut, Unavailable
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
