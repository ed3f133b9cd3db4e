"""Quantis: probabilistic forecasts of panels of time series."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quantis.version import __version__

if TYPE_CHECKING:
    from quantis.client import Client as Client
    from quantis.client import forecast_frame as forecast_frame

__all__ = ["Client", "__version__", "forecast_frame"]


def __getattr__(name: str) -> Any:
    """Load the client when it is first named, so that the types stay cheap to import."""
    if name in ("Client", "forecast_frame"):
        import quantis.client

        return getattr(quantis.client, name)
    raise AttributeError(f"module 'quantis' has no attribute {name!r}")
