"""What the routes work with, made once per process and handed to each request."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from fastapi import Request

from cluster.catalogue import Catalogue
from cluster.database.engine import Database
from cluster.registries import open_registry
from cluster.repositories.accounts import Accounts
from cluster.repositories.jobs import Jobs
from cluster.repositories.vintages import Vintages
from cluster.settings import Settings
from cluster.submission import JobServer
from models.registry import Registry
from quantis.types.forecasts import ForecastRequest, ForecastResponse


class ForecastPort(Protocol):
    """Whoever answers forecasts: the Serve deployment, or an engine in this process."""

    async def forecast(self, team: str, ref: str, request: ForecastRequest) -> ForecastResponse: ...


@dataclass
class Services:
    settings: Settings
    database: Database
    forecaster: ForecastPort
    job_server: JobServer
    _registries: dict[str, Registry] = field(default_factory=dict)
    _opening: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def accounts(self) -> Accounts:
        return Accounts(self.database)

    @cached_property
    def catalogue(self) -> Catalogue:
        return Catalogue(self.database, self.settings.storage)

    @cached_property
    def jobs(self) -> Jobs:
        return Jobs(self.database)

    @cached_property
    def vintages(self) -> Vintages:
        return Vintages(self.database)

    @cached_property
    def token_key(self) -> bytes:
        return self.settings.token_secret()

    def registry(self, team: str) -> Registry:
        """The team's registry; opened once, since MLflow takes seconds to open."""
        with self._opening:
            if team not in self._registries:
                self._registries[team] = open_registry(self.settings, team)
            return self._registries[team]


def services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services
