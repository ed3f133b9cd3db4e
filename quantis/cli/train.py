"""`quantis train` and `quantis tune`: the common jobs without a file."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

import typer

from quantis.cli.job_runs import run_job
from quantis.cli.models import show_leaderboard
from quantis.cli.options import AsOf, Json, Timeout, Url, parse_duration, split_names

Dataset = Annotated[str, typer.Argument(help="The dataset to learn from.")]
ModelName = Annotated[str, typer.Option("--model", help="The name of the model to make a version of.")]
Horizon = Annotated[int, typer.Option("--h", min=1, help="Steps to forecast.")]
Version = Annotated[
    int | None, typer.Option("--version", min=1, help="Dataset version; the latest when absent.")
]
Preset = Annotated[
    str | None,
    typer.Option(help="fast (2 min), balanced (10 min; without --families the default) or best (1 h)."),
]
Families = Annotated[
    str | None,
    typer.Option(help="Names with commas, such as theta,statistical,boosting,tft; the preset's when absent."),
]
TimeLimit = Annotated[
    timedelta | None,
    typer.Option(
        metavar="TIME",
        parser=lambda text: parse_duration(text),
        help="The whole job's time, such as 90s or 10min.",
    ),
]
WarmStart = Annotated[
    str | None,
    typer.Option(
        "--from", metavar="MODEL", help="Go on from the weights of this tft: name@champion or name:7."
    ),
]
Steps = Annotated[int | None, typer.Option("--steps", min=1, help="Gradient steps of the TFT.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the job to its end.")]


def register(app: typer.Typer) -> None:
    app.command("train", rich_help_panel="Work")(train)
    app.command("tune", rich_help_panel="Work")(tune)


def train(
    dataset: Dataset,
    model: ModelName,
    h: Horizon = 24,
    preset: Preset = None,
    families: Families = None,
    time_limit: TimeLimit = None,
    windows: Annotated[
        int | None,
        typer.Option(min=1, help="Windows of the backtest; enough to tell, when absent."),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option(help="A column known in advance, scored as a forecast; may be repeated."),
    ] = None,
    backtest_mode: Annotated[
        str,
        typer.Option(help="plain, or vintage: at each window only what was known then, revisions left out."),
    ] = "plain",
    version: Version = None,
    as_of: AsOf = None,
    steps: Steps = None,
    warm_start: WarmStart = None,
    wait: Wait = True,
    timeout: Timeout = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Train every model family, compare them on rolling origins and keep the best."""
    from quantis.client.problems import validate
    from quantis.types.job_specs import TrainSpec

    chosen: dict[str, Any] = {"families": split_names(families)} if families else {}
    chosen |= {"preset": preset} if preset else {}
    spec = validate(
        TrainSpec,
        dataset=dataset,
        version=version,
        as_of=as_of,
        model=model,
        h=h,
        time_limit=time_limit,
        n_windows=windows,
        backtest_mode=backtest_mode,
        baselines=tuple(baseline or ()),
        warm_start=warm_start,
        tft={"steps": steps} if steps else {},
        **chosen,
    )
    run_job(
        spec,
        url=url,
        wait=wait,
        timeout=timeout,
        as_json=as_json,
        show=lambda api, job: show_leaderboard(api.leaderboard(job.id)),
    )


def tune(
    dataset: Dataset,
    model: ModelName,
    h: Horizon = 24,
    trials: Annotated[int, typer.Option(min=1, help="Settings to try.")] = 4,
    version: Version = None,
    as_of: AsOf = None,
    time_limit: TimeLimit = None,
    steps: Steps = None,
    wait: Wait = True,
    timeout: Timeout = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Search for a better size, window and learning rate of the TFT, and make a version of the best."""
    from quantis.client.problems import validate
    from quantis.types.job_specs import TuneSpec

    spec = validate(
        TuneSpec,
        dataset=dataset,
        version=version,
        as_of=as_of,
        model=model,
        h=h,
        trials=trials,
        time_limit=time_limit,
        tft={"steps": steps} if steps else {},
    )
    run_job(
        spec,
        url=url,
        wait=wait,
        timeout=timeout,
        as_json=as_json,
        show=lambda api, job: show_leaderboard(api.leaderboard(job.id)),
    )
