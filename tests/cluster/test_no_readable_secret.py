"""The database holds no secret that could be read back: only hashes. See docs/encryption.md."""

from __future__ import annotations

import re

import pytest

from cluster.database.tables import Base

_SECRET = re.compile(r"secret|token|passw|key|credential|private|cipher", re.IGNORECASE)
HARMLESS = {
    "users.password_hash": "argon2id",
    "refresh_tokens.token_hash": "sha256 of 32 random bytes",
    "refresh_tokens.*": "the table's name",
    "api_keys.*": "the table's name",
    "api_keys.key_hash": "sha256 of 32 random bytes",
    "clients.secret_hash": "sha256 of 32 random bytes",
    "latest_facts.key": "the name of a series or column",
    "idempotency_keys.*": "chosen by a client, opens nothing",
}
"""Columns that sound like secrets, and why they are none. One that must be read back needs encryption."""


def suspects(columns: list[str]) -> list[str]:
    """The columns that sound like secrets and are not known to be harmless."""

    def harmless(column: str) -> bool:
        table, name = column.split(".")
        return column in HARMLESS or (
            f"{table}.*" in HARMLESS and not _SECRET.search(name.replace("key", ""))
        )

    return [column for column in columns if _SECRET.search(column) and not harmless(column)]


def test_when_the_tables_are_read_then_no_column_holds_a_readable_secret() -> None:
    columns = [
        f"{name}.{column.name}" for name, table in Base.metadata.tables.items() for column in table.columns
    ]
    assert len(columns) > 50
    assert suspects(columns) == []


@pytest.mark.parametrize(
    "column",
    [
        "webhooks.secret",
        "api_keys.secret",
        "clients.secret",
        "stores.access_key",
        "users.token",
        "refresh_tokens.token",
    ],
)
def test_when_a_column_would_hold_one_then_the_check_says_so(column: str) -> None:
    assert suspects([column]) == [column]
