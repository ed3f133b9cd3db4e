from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from cluster.backend import Backend
from cluster.settings import Settings
from tests.cluster.alerting.notified import KEY
from tests.cluster.alerting.receiver import Receiver, receiving


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def backend(database, receiver, tmp_path) -> Backend:
    return Backend(
        Settings(
            data_dir=tmp_path,
            database_url=database.url,
            encryption_key=SecretStr(KEY),
            webhook_hosts=receiver.hosts,
        ),
        database,
    )
