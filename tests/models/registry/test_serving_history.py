"""Changes of who answers, as tags, and who answered at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from models.registry.serving_history import find_serving, serving_tag
from quantis.errors import NotFound
from quantis.types.registry import Share, Traffic


def test_when_changes_follow_each_other_then_each_time_has_the_last_one_before_it() -> None:
    tags = dict([serving_tag(1, Traffic())])
    first = datetime.now(UTC)
    name, text = serving_tag(1, Traffic(shares=(Share(version=2, percent=25),)))
    tags[name] = text
    second = datetime.now(UTC)
    tags.update([serving_tag(None, Traffic(shares=(Share(version=2, percent=25),)))])
    third = datetime.now(UTC)
    assert find_serving("m", tags, first).shares == [Share(version=1, percent=100)]
    divided = find_serving("m", tags, second)
    assert divided.shares == [Share(version=2, percent=25), Share(version=1, percent=75)]
    assert divided.since <= second <= (divided.until or first)
    orphaned = find_serving("m", tags, third)
    assert (orphaned.champion, orphaned.shares, orphaned.until) == (
        None,
        [Share(version=2, percent=25)],
        None,
    )
    with pytest.raises(NotFound, match="the first recorded change is of"):
        find_serving("m", tags, first - timedelta(days=1))
    with pytest.raises(NotFound, match="no version of 'm'"):
        find_serving("m", {"quantis.traffic": "{}"}, first)
