"""The model card: facts of a version, its training and its backtest."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from quantis.types.registry import Leaderboard, LeaderboardRow, Lineage, ModelVersion

_FAMILIES = {
    "seasonal_naive": "The last season again, with the errors that this has made as its intervals.",
    "theta": "The Theta method of each series, fitted when it is asked.",
    "statistical": "Classical statistics, one model per series, fitted when it is asked.",
    "boosting": "Gradient boosted trees (LightGBM) over lags, rolling statistics, calendar and covariates.",
    "boosting_recent": "Gradient boosted trees (LightGBM) like boosting, with old samples fading.",
    "boosting_plain": "Gradient boosted trees (LightGBM) like boosting, without covariates that change.",
    "tft_converted": "A Temporal Fusion Transformer that was trained elsewhere.",
    "ensemble": "A weighted mean of other families, with weights from backtests.",
    "tft": "A Temporal Fusion Transformer, one network over all series.",
}


def render_card(version: ModelVersion, board: Leaderboard | None, deleted: Collection[str] = ()) -> str:
    """Return the card in Markdown; without a leaderboard, where the training job is gone, the metrics alone.

    `deleted` are those of its dataset, job and parent that were deleted since.
    """
    parts = [
        f"# {version.model}, version {version.version}",
        _FAMILIES.get(version.family, f"A model of the family `{version.family}`, which its operator added."),
        _table(_facts(version, deleted)),
        "## What it was found to be worth",
        _gate(version),
        _board(board) if board else _table((name, f"{value:.4g}") for name, value in version.metrics.items()),
        _intervals(version),
        "## What it is not for",
        "\n".join(f"- {line}" for line in _limits(version)),
        "## What made it",
        _table(_origin(version, deleted)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(version: ModelVersion, deleted: Collection[str]) -> list[tuple[str, object]]:
    return [
        ("family", version.family),
        ("aliases", ", ".join(version.aliases) or "none"),
        ("forecasts", f"{version.h} steps of {version.freq}, with quantiles"),
        ("made", f"{version.created_at:%Y-%m-%d %H:%M} UTC"),
        ("trained on", f"{_name(version.dataset, deleted)} version {version.dataset_version}"),
        ("as it was known at", f"{version.as_of:%Y-%m-%d %H:%M} UTC" if version.as_of else "not recorded"),
    ]


def _gate(version: ModelVersion) -> str:
    reason = str(version.gate.get("reason", "It was not compared with others."))
    if version.family == "seasonal_naive":
        return f"This is the baseline itself. {reason}."
    beats = version.gate.get("beats_naive", version.gate.get("passed"))
    return f"{'It is better than seasonal naive' if beats else 'It is not better than seasonal naive'}: {reason}."


def _board(board: Leaderboard) -> str:
    windows = len(board.cutoffs)
    head = ["model", "MASE", "skill", "WQL", "WAPE", "80 % covers", "verdict", "seconds", "size"]
    rows = [_row(row) for row in board.rows]
    note = (
        f"{windows} window{'s' if windows != 1 else ''} of {board.h} steps, from "
        f"{min(board.cutoffs):%Y-%m-%d %H:%M} to {max(board.cutoffs):%Y-%m-%d %H:%M} UTC. Skill is 1 - MASE over "
        "the best seasonal naive's; the verdict is that of a one-sided signed-rank test at 5 %."
    )
    return f"{_markdown(head, rows)}\n\n{note}"


def _row(row: LeaderboardRow) -> list[str]:
    if row.failed:
        return [row.model, *["-"] * 5, f"failed: {row.failed}", "-", "-"]
    name = f"**{row.model}**" if row.chosen else row.model
    share = "-" if row.coverage_80 is None else f"{row.coverage_80:.0%}"
    skill = "-" if row.skill is None else f"{row.skill:+.1%}"
    size = "-" if row.size_bytes is None else _bytes(row.size_bytes)
    figures = [_number(row.mase), skill, _number(row.wql), _number(row.wape), share]
    return [name, *figures, row.verdict, f"{row.seconds:.1f}", size]


def _intervals(version: ModelVersion) -> str:
    covered = [(level, version.metrics.get(f"coverage_{level}")) for level in (80, 95)]
    sentences = [f"its {level} % intervals held {value:.1%}" for level, value in covered if value is not None]
    return f"In the backtest {' and '.join(sentences)} of what followed." if sentences else ""


def _limits(version: ModelVersion) -> list[str]:
    return [
        f"Horizons beyond {version.h} steps: it was neither trained nor evaluated on them.",
        "Series that it has not seen, with too short a history, or without the covariates that it knows in "
        "advance: a simpler method answers for these, and the answer says so.",
        "Times unlike those it learned from. The figures above are of the past, and nothing monitors yet whether "
        "its intervals still hold: compare forecasts with what followed from time to time.",
    ]


def _origin(version: ModelVersion, deleted: Collection[str]) -> list[tuple[str, object]]:
    lineage: Lineage | None = version.lineage
    data = [("data", f"`{version.content_hash}`"), ("job", _name(version.experiment, deleted))]
    if lineage is None:
        return [*data, ("code", "not recorded (a bundle of format 1)")]
    libraries = ", ".join(f"{name} {number}" for name, number in lineage.libraries.items())
    return [
        *data,
        ("code", f"{lineage.code_version}, `{lineage.code_hash}`"),
        ("lock file", f"`{lineage.environment_hash}`" if lineage.environment_hash else "none"),
        ("libraries", libraries),
        ("trained", f"{lineage.trained_at:%Y-%m-%d %H:%M} UTC"),
        *([("went on from", _name(lineage.parent, deleted))] if lineage.parent else []),
    ]


def _name(name: str | None, deleted: Collection[str]) -> str:
    return f"{name} (deleted)" if name in deleted else name or "none"


def _table(rows: Iterable[tuple[str, object]]) -> str:
    return _markdown(["", ""], [[name, str(value)] for name, value in rows])


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _bytes(size: int) -> str:
    return f"{size} B" if size < 1000 else f"{size / 1000:.0f} kB" if size < 1e6 else f"{size / 1e6:.1f} MB"
