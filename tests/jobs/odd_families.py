"""Families that go wrong, each in its own way."""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa

from examples.own_model import Drift
from models.arrays import floats
from quantis.errors import InvalidInput
from quantis.panel import ID


class Endless(Drift):
    """Heeds no deadline."""

    family = "endless"

    @classmethod
    def fit(cls, snapshot, task, deadline=None):
        time.sleep(3600)


class Picky(Drift):
    """Fails on one series, and with it on every panel that holds it."""

    family = "picky"

    def predict(self, snapshot):
        if "shop03" in snapshot.future[ID].to_pylist():
            raise InvalidInput("shop03 is too much for me")
        return super().predict(snapshot)


class Broken(Drift):
    family = "broken"

    def predict(self, snapshot):
        answer = super().predict(snapshot)
        return answer.set_column(
            answer.column_names.index("mean"), "mean", pa.array(floats(answer["mean"]) * np.nan)
        )
