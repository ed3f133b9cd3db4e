"""History of which versions answered a model's name, in the tags of the registered model: one for each change."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
    changes = _changes(tags)
    before = [change for change in changes if change[0] <= time]
    if not before:
        first = f"; the first recorded change is of {changes[0][0]:%Y-%m-%d %H:%M:%S} UTC" if changes else ""
        raise NotFound(
            f"no version of {model!r} is known to have answered at {time:%Y-%m-%d %H:%M:%S} UTC{first}"
        )
    return _serving(model, changes, len(before) - 1)


def changes_after(model: str, tags: Mapping[str, str], time: datetime) -> list[Serving]:
    """Return who answered from each change after a time on, oldest first."""
    changes = _changes(tags)
    return [_serving(model, changes, index) for index, (at, _) in enumerate(changes) if at > time]


def _changes(tags: Mapping[str, str]) -> list[tuple[datetime, str]]:
    return sorted(
        (_EPOCH + timedelta(microseconds=int(name.removeprefix(PREFIX))), text)
        for name, text in tags.items()
        if name.startswith(PREFIX)
    )


def _serving(model: str, changes: Sequence[tuple[datetime, str]], index: int) -> Serving:
    since, text = changes[index]
    state = json.loads(text)
    percents = {int(version): percent for version, percent in state["shares"].items()}
    if state["champion"] is not None:  # it has the rest
        percents[state["champion"]] = percents.get(state["champion"], 0) + 100 - sum(percents.values())
    return Serving(
        model=model,
        since=since,
        until=changes[index + 1][0] if index + 1 < len(changes) else None,
        champion=state["champion"],
        shares=[Share(version=version, percent=percent) for version, percent in percents.items() if percent],
    )
