"""A series that is said to have no value yet, over HTTP."""

from __future__ import annotations

import numpy as np
import pytest

from tests.serve.api.test_forecasts_api import URL, ask, moment, told
from tests.serve.api_under_test import HOURS


def test_when_a_series_has_no_value_yet_then_it_begins_where_it_says_with_what_its_like_do(client):
    new = {"unique_id": "NEW/N0", "y": []}
    (entry, later) = ask(client, [new, new | {"start": moment(HOURS + 5)}])["forecasts"]
    assert told(entry) == told(later) == ("NEW/N0", "fallback", "typical", "no_history")
    assert entry["ds"] == [moment(HOURS + step) for step in range(24)]
    assert later["ds"] == [moment(HOURS + 5 + step) for step in range(24)]
    assert later["mean"][:19] == entry["mean"][5:]
    fan = np.array(list(entry["quantiles"].values()))
    assert (np.diff(fan, axis=0) >= 0).all()
    assert len(ask(client, [new], h=3)["forecasts"][0]["mean"]) == 3


@pytest.mark.parametrize(
    ("start", "said"),
    [("2024-01-01T00:30:00Z", "is not a step of h"), ("2261-12-31T23:00:00Z", "would pass the year 2261")],
)
def test_when_a_series_without_a_value_begins_at_an_impossible_time_then_it_is_422(client, start, said):
    answer = client.post(URL, json={"series": [{"unique_id": "NEW/N0", "y": [], "start": start}]})
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
