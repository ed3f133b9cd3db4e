"""Adaptive calibration of a model's intervals: its state, and the switch."""

from __future__ import annotations

from itertools import pairwise

from fastapi import APIRouter

from cluster.repositories.operations.calibrations import StoredCalibration
from quantis.types.base import Name
from quantis.types.operations.calibration import (
    CalibrationSwitch,
    ModelCalibration,
    StretchCalibration,
    VersionCalibration,
)
from serve.api.dependencies import AppServices, Audited, CurrentUser
from serve.api.strict_route import StrictRoute
from serve.services import Services

router = APIRouter(prefix="/v1", tags=["models"], route_class=StrictRoute)


@router.get("/models/{name}/calibration")
def model_calibration(name: Name, principal: CurrentUser, services: AppServices) -> ModelCalibration:
    """Return how scored actuals have moved the intervals of each version, newest first."""
    services.registry(principal.team).versions(name)
    return _calibration(services, principal.team, name)


@router.put("/models/{name}/calibration")
def set_model_calibration(
    name: Name, body: CalibrationSwitch, principal: CurrentUser, services: AppServices, call: Audited
) -> ModelCalibration:
    """Switch adaptive calibration on or off; what was learned stays, and goes on when it is on again."""
    services.registry(principal.team).versions(name)
    call.detail = {"enabled": body.enabled}
    team, user = principal.team, principal.user_name
    services.calibrations.set_enabled(team, name, enabled=body.enabled, user=user)
    return _calibration(services, team, name)


def _calibration(services: Services, team: str, name: str) -> ModelCalibration:
    stored = services.calibrations.of_model(team, name)
    return ModelCalibration(
        model=name,
        enabled=services.calibrations.is_enabled(team, name),
        versions=[_version_calibration(each) for each in stored],
    )


def _version_calibration(stored: StoredCalibration) -> VersionCalibration:
    state = stored.state
    stretches = zip(pairwise((0, *state.ends)), state.factors, state.points, strict=True)
    return VersionCalibration(
        version=stored.version,
        number=stored.number,
        changed_at=stored.created_at,
        applied=stored.applied,
        stretches=[
            StretchCalibration(first_step=before + 1, last_step=last, factor=factor, points=points)
            for (before, last), factor, points in stretches
        ],
    )
