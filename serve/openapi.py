"""`python -m serve.openapi`: print the OpenAPI document, which the web client's types are made from."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cluster.database.engine import Database
from cluster.ray.submission import FakeJobs
from cluster.settings import Settings
from quantis.errors import Unavailable
from quantis.types.forecasts import ForecastRequest, ForecastResponse
from quantis.types.operations.reproduction import Reproduction
from serve.api.application import create_app
from serve.services import Services


class _Nobody:
    async def forecast(self, team: str, ref: str, request: ForecastRequest) -> ForecastResponse:
        raise Unavailable("this process only describes the API")

    async def reproduce(self, team: str, forecast_id: str) -> Reproduction:
        raise Unavailable("this process only describes the API")


def document() -> str:
    """Return the document as JSON text, keys in the order of the code."""
    settings = Settings(web_dist=Path("absent"))
    services = Services(settings, Database("sqlite://"), _Nobody(), FakeJobs())
    return json.dumps(create_app(services).openapi(), indent=1) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
