"""The door for facts: whoever measures hands them in here, and knows neither rules nor channels."""

from __future__ import annotations

from collections.abc import Sequence

from cluster.repositories.operations.alerts import Alerts
from monitoring import instruments
from quantis.types.operations.alerts import Alert, Fact


class FactRecorder:
    def __init__(self, alerts: Alerts) -> None:
        self._alerts = alerts

    def record_facts(self, team: str, facts: Sequence[Fact]) -> list[Alert]:
        """Compare facts with the team's rules and show them to Prometheus; return the alerts that changed."""
        for fact in facts:
            instruments.set_fact(team, fact)
        return self._alerts.record_facts(team, facts)
