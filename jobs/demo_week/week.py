"""The demo's held-out week as it comes: each day is forecast, then its actuals arrive and judge the forecast."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from jobs.demo_week.actuals import Actuals, PlantedFault
from jobs.demo_week.polling import PATIENCE, await_value
from jobs.demo_week.receiver import Receiver
from quantis.client import Client
from quantis.errors import Conflict, Forbidden, QuantisError, Unavailable
from quantis.panel import ID
from quantis.progress import StepReporter
from quantis.types.operations.alert_channels import AlertChannel, DeliveryState
from quantis.types.operations.alerts import FactName
from quantis.types.operations.live import LiveAccuracy, LiveFigures, VintageKind
from quantis.types.registry import ModelVersion

CHANNEL = "demo"
NO_VALUE = 999.0
"""The planted fault: the feed sends its code for a missing value as a value."""
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Plan:
    """The week and what forecasts it; `faulty_series` has the planted fault."""

    model: str
    start: datetime
    days: int
    faulty_series: str

    @property
    def end(self) -> datetime:
        return self.start + self.days * _DAY

    @property
    def origins(self) -> list[datetime]:
        return [self.start + day * _DAY for day in range(self.days)]

    @property
    def fault_at(self) -> datetime:
        """Noon of the first day."""
        return self.start + _DAY / 2


@dataclass
class WeekReport:
    """Values that the week's chapters printed."""

    live: dict[str, Any] = field(default_factory=dict)
    days: list[dict[str, Any]] = field(default_factory=list)
    alert: dict[str, Any] = field(default_factory=dict)
    trial: dict[str, Any] = field(default_factory=dict)


class HeldOutWeek:
    """The week, a method for each chapter; what a former run of the demo did is not done again."""

    def __init__(
        self, client: Client, steps: StepReporter, plan: Plan, actuals: Actuals, receiver: Receiver
    ) -> None:
        self.client, self.steps = client, steps
        self.plan, self.receiver = plan, receiver
        self.dataset = actuals.spec.name
        true = actuals.value(plan.faulty_series, plan.fault_at)
        self.fault = PlantedFault(plan.faulty_series, plan.fault_at, true, NO_VALUE)
        self.actuals = actuals.with_fault(self.fault)
        self.report = WeekReport()
        self._channel: AlertChannel | None = None

    @contextmanager
    def channel(self) -> Iterator[None]:
        """Have alerts told to the receiver; afterwards the channel is off, since nobody listens any more."""
        try:
            self._channel = self._open_channel()
        except Forbidden:
            self.steps.report(
                f"  nobody is told of alerts: this platform was started without {self.receiver.host} in "
                "QUANTIS_WEBHOOK_HOSTS.\n  After `quantis down` the demo starts one that has it."
            )
        try:
            yield
        finally:
            if self._channel is not None:
                with suppress(QuantisError):
                    self.client.change_alert_channel(self._channel.id, enabled=False)

    def _open_channel(self) -> AlertChannel:
        url, secret = self.receiver.url, self.receiver.secret
        for channel in self.client.alert_channels():
            if channel.name == CHANNEL:
                return self.client.change_alert_channel(channel.id, url=url, secret=secret, enabled=True)
        return self.client.create_webhook(CHANNEL, url, secret)

    def arrive(self) -> None:
        """Issue the forecast of each day before its actuals are appended; the first day has the planted fault."""
        live = self._live(self.plan.start, self.plan.end)
        if live.hindsight and not live.overall.n:
            raise Conflict(
                f"the last week of {self.dataset} was stored before it was forecast, by an older demo; "
                "use another QUANTIS_DATA_DIR"
            )
        first, *following = self.plan.origins
        self._arrive(f"{first:%d %B} is forecast, then its actuals arrive, one of them wrong", [first])
        self._await_alert()
        days = f"{following[0]:%d} to {following[-1]:%d %B}"
        self._arrive(f"{days}, each day forecast before its actuals arrive", following)

    def _arrive(self, title: str, origins: Sequence[datetime]) -> None:
        plan, arrived = self.plan, 0
        with self.steps.step(title) as step:
            stored_to = self.client.versions(self.dataset, limit=1)[0].last_ds
            to_come = [origin for origin in origins if origin > stored_to]
            issued = self._issued() if to_come else set()
            for origin in to_come:
                if origin not in issued:
                    self.client.forecast(f"{plan.model}@champion", self.actuals.series, as_of=origin)
                values = list(self.actuals.arrivals(origin, origin + _DAY))
                self.client.append(self.dataset, values)
                arrived += len(values)
            step.note = f"{arrived:,} actuals" if arrived else "reused"

    def _issued(self) -> set[datetime]:
        """Return the `as_of` of forecasts of all series, so that one from before a stop is not issued again."""
        rows = self.client.issued_forecasts(model=self.plan.model, limit=100)
        series: dict[str, set[str]] = {}
        as_of: dict[str, datetime] = {}
        for row in rows.to_pylist():
            series.setdefault(row["forecast_id"], set()).add(row[ID])
            as_of[row["forecast_id"]] = row["as_of"]
        return {as_of[key] for key, names in series.items() if names.issuperset(self.actuals.series)}

    def _await_alert(self) -> None:
        """Wait until the planted fault was told to the receiver; then correct it."""
        fault = self.fault
        with self.steps.step("an alert for the planted fault, by webhook") as step:
            started = time.monotonic()
            match = await_value(self._find_alert, PATIENCE)
            seconds = round(time.monotonic() - started, 1)
            self.client.append(self.dataset, [fault.correction(self.plan.start + _DAY)])
            if match is None:
                raise Unavailable(
                    f"no alert of the planted fault was told within {PATIENCE:.0f} s; "
                    "`quantis alerts ls --all` and `quantis alerts deliveries` say more"
                )
            delivery, alert = match
            is_verified = delivery in self.receiver.received
            step.note = (
                "its signature is verified" if is_verified else "reused" if delivery else "told to nobody"
            )
        self.report.alert = {
            "delivery": delivery,
            "url": self.receiver.url,
            "verified": is_verified,
            "seconds": seconds,
            **{name: alert[name] for name in ("rule_name", "severity", "summary")},
        }
        self.steps.report(
            f"      planted: {fault.reported:g} of {fault.unique_id} at {fault.ds:%d %b %H:%M}, where {fault.true:g} "
            "is true; corrected since"
        )
        self.steps.report(f"      told: {alert['severity']}, {alert['summary']}")

    def _find_alert(self) -> tuple[str | None, dict[str, Any]] | None:
        """Return the delivery that told of the planted fault, and the alert; without a channel the alert alone."""
        if self._channel is None:
            alerts = self.client.alerts(dataset=self.dataset, limit=100)
            documents = [alert.model_dump(mode="json") for alert in alerts]
            return next(((None, alert) for alert in documents if self._concerns_fault(alert)), None)
        for delivery in self.client.alert_deliveries(state=DeliveryState.delivered, limit=100):
            for alert in filter(self._concerns_fault, delivery.payload.get("alerts", ())):
                return delivery.id, alert
        return None

    def _concerns_fault(self, alert: dict[str, Any]) -> bool:
        worst = alert["detail"].get("worst", {})
        return (
            alert["fact"] == FactName.anomaly
            and worst.get("unique_id") == self.fault.unique_id
            and worst.get("y") == self.fault.reported
        )

    def judge(self, champion: ModelVersion) -> None:
        """Say what the actuals made of the week's forecasts."""
        plan = self.plan
        points = plan.days * 24 * len(self.actuals.series)
        with self.steps.step("every forecast is judged by its actuals") as step:
            live = await_value(lambda: self._scored_week(points), PATIENCE)
            if live is None:
                raise Unavailable(
                    f"fewer than {points:,} points of {plan.model} were scored within {PATIENCE:.0f} s; the week's "
                    "actuals were stored before it was forecast, or the log operations.log says why"
                )
            step.note = f"{live.overall.n:,} points, {live.corrected} corrected"
        self._report_days()
        self._report_live(live, champion.metrics.get("wape"))

    def _scored_week(self, points: int) -> LiveAccuracy | None:
        live = self._live(self.plan.start, self.plan.end)
        return live if live.overall.n >= points and live.corrected else None

    def _live(self, since: datetime, until: datetime) -> LiveAccuracy:
        return self.client.live(self.plan.model, since=since, until=until, kinds=[VintageKind.online])

    def _report_days(self) -> None:
        self.steps.report(f"      {'as it came':20} {'WAPE':>7} {'naive':>7} {'80 %':>7}")
        for origin in self.plan.origins:
            day = self._live(origin, origin + _DAY).overall
            self.report.days.append({"day": f"{origin:%Y-%m-%d}", **_figures(day)})
            self.steps.report(f"      {f'{origin:%a %d %B}':20} {_row(day)}")

    def _report_live(self, live: LiveAccuracy, backtest: float | None) -> None:
        self.report.live = {**_figures(live.overall), "backtest_wape": backtest, "corrected": live.corrected}
        self.steps.report(f"      {'the week':20} {_row(live.overall)}")
        if backtest is not None:
            self.steps.report(f"      {'its backtest':20} {backtest:7.4f}")


def _figures(live: LiveFigures) -> dict[str, Any]:
    return {
        "n": live.n,
        "wape": live.wape,
        "mase": live.mase,
        "seasonal_naive_wape": live.seasonal_naive.wape,
        "coverage_80": live.coverage.get("80"),
    }


def _row(live: LiveFigures) -> str:
    figures = (live.wape, live.seasonal_naive.wape, live.coverage.get("80"))
    wape, naive, coverage = ("-" if figure is None else f"{figure:.4f}" for figure in figures)
    return f"{wape:>7} {naive:>7} {coverage:>7}"
