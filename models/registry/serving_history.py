"""History of which versions answered a model's name, in the tags of the registered model: one for each change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from quantis.errors import NotFound
from quantis.types.registry import Serving, Share, Traffic

PREFIX = "quantis.served."
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def serving_tag(champion: int | None, traffic: Traffic) -> tuple[str, str]:
    """Return name and value of the tag that records who answers from now on."""
    microseconds = (datetime.now(UTC) - _EPOCH) // timedelta(microseconds=1)
    shares = {str(share.version): share.percent for share in traffic.shares}
    return f"{PREFIX}{microseconds}", json.dumps({"champion": champion, "shares": shares})


def find_serving(model: str, tags: Mapping[str, str], time: datetime) -> Serving:
    """Return who answered at a time; NotFound before the first recorded change."""
    changes = sorted(
        (_EPOCH + timedelta(microseconds=int(name.removeprefix(PREFIX))), text)
        for name, text in tags.items()
        if name.startswith(PREFIX)
    )
    before = [change for change in changes if change[0] <= time]
    if not before:
        first = f"; the first recorded change is of {changes[0][0]:%Y-%m-%d %H:%M:%S} UTC" if changes else ""
        raise NotFound(
            f"no version of {model!r} is known to have answered at {time:%Y-%m-%d %H:%M:%S} UTC{first}"
        )
    since, text = before[-1]
    state = json.loads(text)
    percents = {int(version): percent for version, percent in state["shares"].items()}
    if state["champion"] is not None:  # it has the rest
        percents[state["champion"]] = percents.get(state["champion"], 0) + 100 - sum(percents.values())
    return Serving(
        model=model,
        since=since,
        until=changes[len(before)][0] if len(changes) > len(before) else None,
        champion=state["champion"],
        shares=[Share(version=version, percent=percent) for version, percent in percents.items() if percent],
    )
