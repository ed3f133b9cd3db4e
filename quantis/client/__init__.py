"""The client: everything the platform's API offers, with typed values in and out."""

from quantis.client.client import Client
from quantis.client.frames import forecast_frame

__all__ = ["Client", "forecast_frame"]
