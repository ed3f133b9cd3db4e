"""Composition root: makes what works on data, models and jobs from settings and a database."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from cluster.alerting.delivery import ChannelTarget, DeliveryLoop
from cluster.alerting.fact_recorder import FactRecorder
from cluster.alerting.mail import MailServer
from cluster.alerting.measurement import MeasurementLoop
from cluster.alerting.webhook_hosts import WebhookHosts
from cluster.alerting.webhooks import WebhookClient
from cluster.data_layout import DataLayout
from cluster.database.engine import Database
from cluster.datasets.catalogue import Catalogue
from cluster.deletion import Deletion
from cluster.encryption import Cipher
from cluster.model_ops.open_registry import open_registry
from cluster.model_ops.promotion import Promotion
from cluster.repositories.approvals import Approvals
from cluster.repositories.backtests import Backtests
from cluster.repositories.inventory import Purges, Tombstones
from cluster.repositories.jobs import Jobs
from cluster.repositories.leases import Leases
from cluster.repositories.operations.alert_channels import AlertChannels
from cluster.repositories.operations.alert_deliveries import AlertDeliveries
from cluster.repositories.operations.alert_rules import AlertRules
from cluster.repositories.operations.alerts import Alerts
from cluster.repositories.operations.calibrations import Calibrations
from cluster.repositories.operations.experiment_arms import ExperimentArms
from cluster.repositories.operations.facts import Facts, WorkCounters
from cluster.repositories.operations.measured_facts import MeasuredFacts
from cluster.repositories.operations.online_experiments import OnlineExperiments
from cluster.repositories.operations.pipeline_runs import PipelineRuns
from cluster.repositories.operations.pipelines import Pipelines
from cluster.repositories.operations.schedules import Schedules
from cluster.repositories.operations.shadows import Shadows
from cluster.repositories.teams import Teams
from cluster.repositories.vintages import BatchForecasts, Vintages
from cluster.settings import Settings
from cluster.tenancy.quotas import Quotas
from models.families.catalogue import known_families
from quantis.types.approvals import Policy

if TYPE_CHECKING:
    from models.registry.mlflow_registry import Registry  # brings MLflow, which a worker has no use for


@dataclass
class Backend:
    """Data, models and jobs of one installation, for the API, a forecaster, a job or a worker.

    Each object is made once, at its first use; making a Backend touches neither disk nor database.
    """

    settings: Settings
    database: Database
    registries: dict[str, Registry] = field(default_factory=dict, kw_only=True)
    _registries_lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @classmethod
    def from_settings(cls, settings: Settings | None = None) -> Backend:
        """Connect to the database that the settings name; the environment's settings by default."""
        settings = settings or Settings()
        return cls(settings, Database(settings.sql_url))

    @property
    def data_layout(self) -> DataLayout:
        return self.settings.data_layout

    @cached_property
    def catalogue(self) -> Catalogue:
        return Catalogue(self.database, self.data_layout)

    @cached_property
    def jobs(self) -> Jobs:
        return Jobs(self.database)

    @cached_property
    def latest_facts(self) -> Facts:
        return Facts(self.database)

    @cached_property
    def work_counters(self) -> WorkCounters:
        return WorkCounters(self.database)

    @cached_property
    def pipelines(self) -> Pipelines:
        return Pipelines(self.database)

    @cached_property
    def pipeline_runs(self) -> PipelineRuns:
        return PipelineRuns(self.database)

    @cached_property
    def schedules(self) -> Schedules:
        return Schedules(self.database)

    @cached_property
    def vintages(self) -> Vintages:
        return Vintages(self.database)

    @cached_property
    def buffered_vintages(self) -> Vintages:
        """Return the same ledger, which writes to files while the database does not answer."""
        return Vintages(self.database, self.data_layout.waiting)

    @cached_property
    def batch_forecasts(self) -> BatchForecasts:
        return BatchForecasts(self.data_layout)

    @cached_property
    def backtests(self) -> Backtests:
        return Backtests(self.data_layout)

    @cached_property
    def tombstones(self) -> Tombstones:
        return Tombstones(self.database)

    @cached_property
    def purges(self) -> Purges:
        return Purges(self.database)

    @cached_property
    def deletion(self) -> Deletion:
        return Deletion(self)

    @cached_property
    def approvals(self) -> Approvals:
        return Approvals(self.database)

    @cached_property
    def alert_rules(self) -> AlertRules:
        return AlertRules(self.database)

    @cached_property
    def alerts(self) -> Alerts:
        return Alerts(self.database)

    @cached_property
    def webhooks(self) -> WebhookClient:
        return WebhookClient(WebhookHosts(self.settings.webhook_hosts))

    @cached_property
    def mail(self) -> MailServer:
        settings = self.settings
        return MailServer(
            settings.smtp_host,
            settings.smtp_port,
            user=settings.smtp_user,
            password=settings.secret("smtp_password") or "",
            sender=settings.smtp_sender,
            starttls=settings.smtp_starttls,
            public_url=settings.public_url,
        )

    @cached_property
    def alert_channels(self) -> AlertChannels:
        cipher = Cipher(self.settings.encryption_keys())
        return AlertChannels(self.database, cipher, ChannelTarget(self.webhooks, self.mail))

    @cached_property
    def alert_deliveries(self) -> AlertDeliveries:
        return AlertDeliveries(self.database)

    @cached_property
    def facts(self) -> FactRecorder:
        """Return the door for measured facts: `backend.facts.record_facts(team, facts)`."""
        return FactRecorder(self.alerts)

    def measurement_loop(self) -> MeasurementLoop:
        """Return the loop that measures what the database knows; several processes may each tick one."""
        measured, leases = MeasuredFacts(self.database), Leases(self.database)
        return MeasurementLoop(self.facts, measured, self.alert_rules, self.alerts, leases)

    def delivery_loop(self) -> DeliveryLoop:
        """Return the loop that sends notifications; several processes may each tick one."""
        leases = Leases(self.database)
        return DeliveryLoop(
            self.alert_channels, self.alert_deliveries, leases, webhooks=self.webhooks, mail=self.mail
        )

    @cached_property
    def calibrations(self) -> Calibrations:
        return Calibrations(self.database)

    @cached_property
    def online_experiments(self) -> OnlineExperiments:
        return OnlineExperiments(self.database)

    @cached_property
    def experiment_arms(self) -> ExperimentArms:
        return ExperimentArms(self.database)

    @cached_property
    def shadows(self) -> Shadows:
        return Shadows(self.database)

    @cached_property
    def teams(self) -> Teams:
        return Teams(self.database)

    @cached_property
    def quotas(self) -> Quotas:
        return Quotas(self.teams, self.settings)

    @cached_property
    def families(self) -> dict[str, str]:
        """Return the platform's model families and those that the operator allows."""
        return known_families(self.settings.own_families)

    def registry(self, team: str) -> Registry:
        """Return the team's registry; opened once, since MLflow takes seconds to open. Thread-safe."""
        with self._registries_lock:
            if team not in self.registries:
                self.registries[team] = open_registry(self.settings, team)
            return self.registries[team]

    def promotion(self, team: str) -> Promotion:
        return Promotion(self.registry(team), self.approvals, Policy(self.settings.policy))
