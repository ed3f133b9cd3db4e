"""An in-memory platform behind the client's transport, for tests of code that uses the client.

    api = FakeApi()
    api.add_user("ann", "a long password", Role.ml_engineer)
    client = Client("http://test", user="ann", password="a long password", transport=api.transport())

It is small. Accounts, roles, checks and versions are real (the panel's own checks run).
A job does nothing until the test emits its events, with `emit`. A forecast is the last value
with the spread of a random walk, and is marked as such. Nothing is written to disk.
"""

from quantis.testing.api import FakeApi
from quantis.testing.http import serving

__all__ = ["FakeApi", "serving"]
