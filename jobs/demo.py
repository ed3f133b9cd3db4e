"""`python -m jobs.demo`: the main job on real data, from a raw file to a scored forecast.

Everything goes through the API as any user's work would; what a former run made is used again.
"""

from __future__ import annotations

import argparse
import io
import json
import secrets
import sys
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.local.processes import MemoryWatch, Platform
from cluster.settings import Settings
from cluster.up import fail, up
from jobs.demo_data import HELD_OUT, TRAIN_AS_OF, co2_csv, flights_panel
from jobs.demo_week.actuals import Actuals, hold_back
from jobs.demo_week.receiver import Receiver, receiving
from jobs.demo_week.trial import Trial
from jobs.demo_week.week import HeldOutWeek, Plan, WeekReport
from quantis.client import Client
from quantis.errors import Conflict, QuantisError, Unavailable
from quantis.files import write_atomic
from quantis.progress import StepReporter
from quantis.types.datasets import DatasetSpec, VersionAction
from quantis.types.forecasts import SeriesRequest
from quantis.types.job_results import FeaturizeResult, ForecastResult
from quantis.types.job_specs import (
    Family,
    FeaturizeSpec,
    ForecastSpec,
    JobSpec,
    TftParams,
    TrainSpec,
    TuneSpec,
)
from quantis.types.jobs import Job, JobEvent, JobState
from quantis.types.registry import ModelVersion

MODEL = "demand"
H = 24
ORIGINS = HELD_OUT // H
SHOWN = "JFK/B6"
WEEK = Plan(MODEL, TRAIN_AS_OF, ORIGINS, SHOWN)


@dataclass
class Report:
    """Values that the demo printed."""

    url: str = ""
    seconds: dict[str, float] = field(default_factory=dict)
    reused: list[str] = field(default_factory=list)
    dataset: dict[str, Any] = field(default_factory=dict)
    leaderboard: list[dict[str, Any]] = field(default_factory=list)
    champion: dict[str, Any] = field(default_factory=dict)
    tune: dict[str, Any] = field(default_factory=dict)
    answers: list[dict[str, Any]] = field(default_factory=list)
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    better_than_naive_168: float = 0.0
    week: WeekReport = field(default_factory=WeekReport)
    peak_gib: float = 0.0
    total_seconds: float = 0.0


class Demo:
    """The demo, a method for each chapter."""

    def __init__(self, settings: Settings, steps: StepReporter, receiver: Receiver, quick: bool) -> None:
        hosts = ",".join(filter(None, (settings.webhook_hosts, receiver.host)))
        self.settings = settings.model_copy(update={"webhook_hosts": hosts})
        self.steps = steps
        self.receiver = receiver
        self.report = Report()
        self.tft = TftParams(steps=20) if quick else TftParams()
        self.trials = 2 if quick else 4

    def run(self) -> Report:
        started = time.monotonic()
        platform = up(self.settings, self.steps)
        self.report.url = platform.url
        with MemoryWatch(platform.instance) as watch, self._client(platform) as client:
            actuals = self._ingest(client)
            self._featurize(client)
            self._train(client)
            self._tune(client)
            champion, challenger = self._versions(client)
            trial = Trial(client, self.steps, champion, challenger)
            trial.start()
            week = HeldOutWeek(client, self.steps, WEEK, actuals, self.receiver)
            with week.channel():
                week.arrive()
            self._serve(client)
            self._score(client)
            week.judge(champion)
            week.report.trial = trial.judge(ORIGINS * len(actuals.series))
            self.report.week = week.report
        self.report.peak_gib = round(watch.peak / 2**30, 2)
        self.report.seconds = self.steps.seconds
        self.report.total_seconds = round(time.monotonic() - started, 1)
        return self.report

    def _client(self, platform: Platform) -> Client:
        path = self.settings.data_layout.root / "demo-login.json"
        with self.steps.step("sign in") as step:
            client = Client(platform.url)
            if client.setup_state().open:
                login = {"user_name": "demo", "password": secrets.token_urlsafe(18)}
                write_atomic(path, json.dumps(login))
                secret = self.settings.secret_path("setup-secret").read_text().strip()
                client.create_first_admin(secret, login["user_name"], login["password"])
                step.note = f"first admin made; {path} holds user and password"
            if not path.exists():
                raise Conflict(
                    f"an admin exists but {path} does not; use another QUANTIS_DATA_DIR for the demo"
                )
            client.close()
        return Client.from_login_file(path, platform.url)

    def _ingest(self, client: Client) -> Actuals:
        """Upload the year without what was observed in its last week, and return the whole of it."""
        with self.steps.step("read the flights of 2013") as step:
            spec, table = flights_panel()
            step.note = f"{table.num_rows:,} rows, {len(table['unique_id'].unique())} series"
        data = _parquet(hold_back(table, spec, TRAIN_AS_OF))
        self._upload(client, spec, data, "flights.parquet")
        with self.steps.step("upload the same rows again") as step:
            repeated = client.upload(spec.name, data, file="flights.parquet")
            if repeated.created:
                raise Unavailable("the same rows made a new version; that is a fault, please report it")
            step.note = f"still version {repeated.version.number}, hash {repeated.version.content_hash[:12]}"
        uploaded = next(each for each in client.versions(spec.name) if each.action == VersionAction.upload)
        self.report.dataset = uploaded.model_dump(mode="json")
        co2 = DatasetSpec(name="co2", freq="W", description="Weekly CO2 at Mauna Loa, an ordinary CSV.")
        self._upload(client, co2, co2_csv(), "co2.csv")
        return Actuals(table, spec)

    def _upload(self, client: Client, spec: DatasetSpec, data: bytes, file: str) -> None:
        with self.steps.step(f"ingest {file}") as step:
            try:
                client.create_dataset(spec)
            except Conflict:
                self.report.reused.append(f"dataset {spec.name}")
            result = client.upload(spec.name, data, file=file)
            findings = f"{len(result.report.findings)} findings, {result.report.outcome}"
            state = "new" if result.created else "reused"
            step.note = f"{state} version {result.version.number}, {findings}"

    def _featurize(self, client: Client) -> None:
        job = self._job(
            client, "features on Ray Data", FeaturizeSpec(dataset="flights", as_of=TRAIN_AS_OF, h=H)
        )
        result = cast("FeaturizeResult", job.result)
        self.steps.report(f"      {result.rows:,} rows, {len(result.columns)} columns")

    def _train(self, client: Client) -> None:
        spec = TrainSpec(
            dataset="flights",
            model=MODEL,
            as_of=TRAIN_AS_OF,
            h=H,
            families=(Family.seasonal_naive, Family.statistical, Family.boosting, Family.tft),
            n_windows=2,
            baselines=("scheduled",),
            tft=self.tft,
        )
        job = self._job(client, "train: backtest, leaderboard, champion", spec)
        board = client.leaderboard(job.id)
        self.report.leaderboard = [row.model_dump(mode="json") for row in board.rows]
        self.report.champion = client.resolve(f"{MODEL}@champion").model_dump(mode="json")
        self._print_board()

    def _tune(self, client: Client) -> None:
        tft = self.tft.model_copy(update={"steps": max(10, self.tft.steps // 5)})
        spec = TuneSpec(dataset="flights", model=MODEL, as_of=TRAIN_AS_OF, h=H, trials=self.trials, tft=tft)
        job = self._job(client, f"tune: {self.trials} trials", spec)
        self.report.tune = job.result.model_dump(mode="json") if job.result else {}

    def _versions(self, client: Client) -> tuple[ModelVersion, ModelVersion]:
        """Return the champion, and the newest other version, which the gate held back."""
        champion = client.resolve(f"{MODEL}@champion")
        candidates = [each for each in client.model_versions(MODEL) if each.version != champion.version]
        return champion, max(candidates, key=lambda each: each.version)

    def _serve(self, client: Client) -> None:
        with self.steps.step("forecasts over HTTP") as step:
            history = client.read_series(
                "flights", SHOWN, as_of=TRAIN_AS_OF, start=TRAIN_AS_OF - timedelta(days=21)
            )
            actuals = client.read_series(
                "flights", SHOWN, start=TRAIN_AS_OF, end=TRAIN_AS_OF + timedelta(hours=H - 1)
            )
            response = client.forecast(
                f"{MODEL}@champion",
                [
                    SeriesRequest(unique_id=SHOWN),
                    SeriesRequest(unique_id="SFO/XX", ds=history.ds[-200:], y=history.y[-200:]),
                    SeriesRequest(unique_id="LGA/DL", ds=history.ds[-3:], y=history.y[-3:]),
                    SeriesRequest(unique_id="JFK/ZZ", y=[], stat_exog={"origin": "JFK"}),
                    SeriesRequest(unique_id="nobody"),
                ],
                as_of=TRAIN_AS_OF,
            )
            if len(actuals.ds) != H:
                raise Unavailable(f"{len(actuals.ds)} actuals follow, {H} were stored; that is a fault")
            step.note = f"forecast {response.forecast_id}"
        for entry in response.forecasts:
            self.report.answers.append(
                entry.model_dump(mode="json", include={"unique_id", "status", "method", "reason"})
            )
            self.steps.report(f"      {entry.unique_id:8} {entry.method:15} {entry.reason or ''}")

    def _score(self, client: Client) -> None:
        spec = ForecastSpec(
            dataset="flights",
            model=MODEL,
            as_of=WEEK.end,
            score=True,
            origins=ORIGINS,
            baselines=("scheduled",),
        )
        champion = self.report.champion["version"]
        job = self._job(client, f"score the held-out week: {ORIGINS} origins of {H} h", spec, f"v{champion}")
        self.report.scores = cast("ForecastResult", job.result).model_dump()["scores"]
        model_wape, naive_wape = (self.report.scores[name]["wape"] for name in (MODEL, "seasonal_naive_168"))
        self.report.better_than_naive_168 = round(1 - model_wape / naive_wape, 4)
        self._print_scores()

    def _job(self, client: Client, title: str, spec: JobSpec, *about: str) -> Job:
        """Run a job to its end; one that succeeded before is used again."""
        with self.steps.step(title) as step:
            content = self.report.dataset["content_hash"][:12]
            for attempt in range(1, 100):
                key = "-".join(["demo", content, *about, str(attempt)])
                job = self._submit(client, spec, f"{spec.kind}-{key}")
                if job is None or job.state in (JobState.failed, JobState.stopped):
                    continue
                if job.state == JobState.succeeded:
                    self.report.reused.append(f"{spec.kind} job {job.id}")
                    step.note = "reused"
                    return job
                job = client.wait(job.id, on_event=self._on_event, timeout=1800)
                break
            if job is None or job.state != JobState.succeeded:
                reason = f"{job.state}: {job.message}" if job else "no attempt was left"
                raise Unavailable(f"{title} ended {reason}; `quantis jobs logs` shows its log")
        return job

    def _submit(self, client: Client, spec: JobSpec, key: str) -> Job | None:
        """Submit a job; None when the key belongs to another request, of a demo with other settings."""
        try:
            return client.submit(spec, idempotency_key=key)
        except Conflict:
            return None

    def _on_event(self, event: JobEvent) -> None:
        if event.kind == "step":
            self.steps.report(f"      {event.message}  {event.data.get('seconds')} s")

    def _print_board(self) -> None:
        self.steps.report(
            f"      {'model':20} {'MASE':>7} {'WQL':>7} {'80 %':>6} {'skill':>7} {'seconds':>8}"
        )
        for row in self.report.leaderboard:
            mark = "*" if row["chosen"] else " "
            figures = [_figure(row[name], 3) for name in ("mase", "wql", "coverage_80", "skill")]
            mase, wql, coverage, skill = figures
            self.steps.report(
                f"    {mark} {row['model']:20} {mase:>7} {wql:>7} {coverage:>6} {skill:>7} {row['seconds']:8.1f}"
                + (f"  failed: {row['failed'][:60]}" if row["failed"] else "")
            )

    def _print_scores(self) -> None:
        self.steps.report(f"      {'held-out week':20} {'WAPE':>7} {'MASE':>7}")
        for name, score in sorted(self.report.scores.items(), key=lambda item: item[1]["wape"]):
            self.steps.report(
                f"      {name:20} {_figure(score['wape'], 4):>7} {_figure(score['mase'], 3):>7}"
            )
        share = self.report.better_than_naive_168
        self.steps.report(f"      {MODEL} beats seasonal naive (168) by {share:.1%} in WAPE")


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def main() -> int:
    parser = argparse.ArgumentParser(prog="quantis demo", description=__doc__)
    parser.add_argument("--port", type=int, help="port of the API (default 8000, or QUANTIS_PORT)")
    parser.add_argument(
        "--quick", action="store_true", help="a short TFT training and two trials, for a smoke test"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    settings = Settings() if arguments.port is None else Settings(port=arguments.port)
    steps = StepReporter()
    steps.report(f"Quantis demo, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC")
    try:
        with receiving(settings.data_layout.run) as receiver:
            report = Demo(settings, steps, receiver, arguments.quick).run()
    except QuantisError as error:
        return fail(error, arguments.json)
    if arguments.json:
        sys.stdout.write(json.dumps(asdict(report)) + "\n")
        return 0
    steps.report(f"\nDone in {report.total_seconds:.0f} s, {report.peak_gib:.1f} GiB at most.")
    if report.reused:
        steps.report(f"Reused: {', '.join(report.reused)}")
    steps.report(f"Look: {report.url}/explorer?dataset=flights&series={SHOWN}&model={MODEL}")
    steps.report(
        f"Sign in with {settings.data_layout.root / 'demo-login.json'}; `quantis down` stops everything."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
