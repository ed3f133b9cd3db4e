"""Alert rules that come with every model: computed, so that no row has to be written for any of them."""

from __future__ import annotations

from quantis.types.operations.alerts import Above, AlertRule, AlertSeverity, Condition, FactName, Outside

PREFIX = "default-"


def _rule(
    name: str, condition: Condition, *, points: int = 0, severity: AlertSeverity = AlertSeverity.warning
) -> AlertRule:
    return AlertRule(
        id=PREFIX + name,
        name=name,
        source="default",
        condition=condition,
        minimum_points=points,
        severity=severity,
    )


_LIVE_POINTS = 200
"""Scored points below which a share of errors or of covered values says little."""

DEFAULT_RULES = (
    _rule(
        "error-above-naive",
        Above(fact=FactName.live_wape_over_naive, threshold=1.0, clear_below=0.95),
        points=_LIVE_POINTS,
        severity=AlertSeverity.critical,
    ),
    _rule(
        "error-above-backtest",
        Above(fact=FactName.live_wape_over_backtest, threshold=1.5, clear_below=1.3),
        points=_LIVE_POINTS,
    ),
    _rule(
        "coverage-outside-band",
        Outside(fact=FactName.coverage_80, low=0.7, high=0.9, margin=0.02),
        points=_LIVE_POINTS,
    ),
    _rule("coverage-burns", Above(fact=FactName.coverage_burn_rate, threshold=1.0)),
    _rule("drift", Above(fact=FactName.drift, threshold=0.25, clear_below=0.2)),
    _rule("anomaly", Above(fact=FactName.anomaly, threshold=0.0), severity=AlertSeverity.info),
    _rule("data-late", Above(fact=FactName.freshness_periods, threshold=2.0, clear_below=1.0)),
    _rule("job-failed", Above(fact=FactName.job_failed, threshold=0.0)),
    _rule("experiment-rolled-back", Above(fact=FactName.experiment_rolled_back, threshold=0.0)),
)
"""None of them asks a value to stay for long: facts of live accuracy are sums over many points already."""


def default_rule(rule_id: str) -> AlertRule | None:
    return next((rule for rule in DEFAULT_RULES if rule.id == rule_id), None)
