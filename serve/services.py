"""Services of the routes, made once per process and handed to each request."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from fastapi import Request

from cluster.alerting.webhook_hosts import WebhookHosts
from cluster.backend import Backend
from cluster.datasets.object_import import ObjectImporter
from cluster.encryption import Cipher
from cluster.model_monitoring.dataset_reports import DatasetReports
from cluster.model_monitoring.live_reports import LiveReports
from cluster.ray.submission import JobServer
from cluster.repositories.accounts import UserAccounts
from cluster.repositories.audit import AuditTrail
from cluster.repositories.clients import Clients
from cluster.repositories.factors import SecondFactors
from cluster.repositories.idempotency import IdempotencyKeys
from cluster.repositories.keys import ApiKeys
from cluster.repositories.principals import Principals
from cluster.repositories.sessions import Sessions
from cluster.tenancy.rate_counters import open_counters
from quantis.errors import InvalidInput
from quantis.types.forecasts import ForecastRequest, ForecastResponse
from quantis.types.operations.reproduction import Reproduction
from serve.http.shared_calls import SharedCalls
from serve.security.authentication import Authenticator
from serve.security.concurrency_limits import (
    BODIES,
    FORECASTS_PER_REPLICA,
    READS_AT_ONCE,
    STREAMS,
    ConcurrencyLimit,
    FairTurns,
)
from serve.security.oidc import OidcProvider
from serve.security.rate_limits import RateLimits


class ForecastService(Protocol):
    """Source of forecasts: the Serve deployment, or an engine in this process."""

    async def forecast(self, team: str, ref: str, request: ForecastRequest) -> ForecastResponse: ...

    async def reproduce(self, team: str, forecast_id: str) -> Reproduction: ...


@dataclass
class Services(Backend):
    """The backend of an API process, with what only requests need."""

    forecaster: ForecastService
    job_server: JobServer

    @cached_property
    def accounts(self) -> UserAccounts:
        return UserAccounts(self.database)

    @cached_property
    def dataset_reports(self) -> DatasetReports:
        return DatasetReports(self)

    @cached_property
    def live_reports(self) -> LiveReports:
        return LiveReports(self)

    @cached_property
    def imports(self) -> ObjectImporter:
        settings = self.settings
        locations = [text.strip() for text in settings.import_urls.split(",") if text.strip()]
        return ObjectImporter(locations, settings.import_endpoint)

    @cached_property
    def idempotency(self) -> IdempotencyKeys:
        return IdempotencyKeys(self.database)

    @cached_property
    def sessions(self) -> Sessions:
        return Sessions(self.database)

    @cached_property
    def second_factors(self) -> SecondFactors:
        return SecondFactors(self.database, Cipher(self.settings.encryption_keys()))

    @cached_property
    def keys(self) -> ApiKeys:
        return ApiKeys(self.database)

    @cached_property
    def clients(self) -> Clients:
        return Clients(self.database)

    @cached_property
    def audit(self) -> AuditTrail:
        return AuditTrail(self.database)

    @cached_property
    def rate_limits(self) -> RateLimits:
        return RateLimits(open_counters(self.settings.data_layout.run, self.settings.secret("redis_url")))

    @cached_property
    def open_bodies(self) -> ConcurrencyLimit:
        return ConcurrencyLimit(
            "request bodies that have not arrived", BODIES, "send one after the other, or at once"
        )

    @cached_property
    def fair_reads(self) -> FairTurns:
        return FairTurns(READS_AT_ONCE)

    @cached_property
    def fair_forecasts(self) -> FairTurns:
        """Forecasts of a caller that wait for the forecaster at once: as many as make it grow to its largest."""
        return FairTurns(FORECASTS_PER_REPLICA * self.settings.forecaster_max_replicas)

    @cached_property
    def shared_forecasts(self) -> SharedCalls[ForecastResponse]:
        return SharedCalls()

    @cached_property
    def open_streams(self) -> ConcurrencyLimit:
        return ConcurrencyLimit(
            "streams of events", STREAMS, "close one, or ask for the job itself now and then"
        )

    @cached_property
    def authenticator(self) -> Authenticator:
        principals = Principals(self.database, self.settings.require_second_factor)
        return Authenticator(principals, self.token_keys, self.settings.outage_seconds)

    @cached_property
    def oidc_provider(self) -> OidcProvider | None:
        """The configured identity provider, if any."""
        return OidcProvider.from_settings(self.settings)

    @cached_property
    def token_keys(self) -> tuple[bytes, ...]:
        """Keys of access tokens: the first signs, all of them read."""
        return self.settings.token_secrets()

    def check_secrets(self) -> None:
        """Raise InvalidInput when a needed secret is missing or weak, or the list of webhooks' hosts is wrong."""
        self.settings.token_secrets()
        WebhookHosts(self.settings.webhook_hosts)
        OidcProvider.from_settings(self.settings)
        sealed = (self.second_factors, self.alert_channels)
        if not self.settings.encryption_keys() and any(secrets.count_encrypted() for secrets in sealed):
            raise InvalidInput(
                "the database holds sealed secrets (second factors, alert channels) and there is no encryption key; "
                "bring the file encryption-key back into QUANTIS_SECRETS_DIR, or set QUANTIS_ENCRYPTION_KEY"
            )
        for secrets in sealed:
            secrets.reencrypt()  # what a key that is to go has sealed


def services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services
