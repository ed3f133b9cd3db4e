"""Findings of a data check."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from quantis.types.base import Frozen


class Severity(StrEnum):
    error = "error"
    warning = "warning"
    info = "info"


class Finding(Frozen):
    """A coded result of a data check."""

    code: str
    severity: Severity
    series: str | None = None
    row: int | None = Field(default=None, description="Row in the file, from 1, without the header.")
    column: str | None = None
    message: str
