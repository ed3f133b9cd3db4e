"""Adaptive calibration of a model's intervals: its state by version, and the switch."""

from __future__ import annotations

from pydantic import Field

from quantis.types.base import Frozen, RequestBody, Timestamp


class CalibrationSwitch(RequestBody):
    enabled: bool = Field(description="False: intervals stay as the versions' bundles have them.")


class StretchCalibration(Frozen):
    """A stretch of the horizon, and the factor on the widths of its intervals."""

    first_step: int
    last_step: int
    factor: float = Field(description="1 changes nothing; 1.2 makes intervals a fifth wider.")
    points: float = Field(
        description="Scored points that it was learned from, few of one series and time counted."
    )


class VersionCalibration(Frozen):
    """The calibration of a version, as scored actuals have moved it."""

    version: int
    number: int = Field(description="Counts its states from 1; entries of forecasts name theirs.")
    changed_at: Timestamp
    applied: bool
    stretches: list[StretchCalibration]


class ModelCalibration(Frozen):
    """The adaptive calibration of a model; versions without scored actuals are not listed."""

    model: str
    enabled: bool
    versions: list[VersionCalibration]
