"""Quantis: probabilistic forecasts of panels of time series."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quantis.client import Client as Client
    from quantis.client import forecast_frame as forecast_frame

__version__ = "0.1.0"
__all__ = ["Client", "__version__", "forecast_frame"]


def __getattr__(name: str) -> Any:
    """The client is loaded when first named, so that the vocabulary stays cheap to import."""
    if name in ("Client", "forecast_frame"):
        import quantis.client

        return getattr(quantis.client, name)
    raise AttributeError(f"module 'quantis' has no attribute {name!r}")
