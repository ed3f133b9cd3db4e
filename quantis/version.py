"""The version of Quantis; `pyproject.toml` and the client's user agent read it here."""

__version__ = "0.1.0"
