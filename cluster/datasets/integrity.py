"""Integrity check: every version is read back and compared with its record."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.data_layout import DataLayout
from cluster.database.engine import Database
from cluster.datasets.catalogue import Catalogue
from cluster.repositories.inventory import Inventory, StoredVersion


@dataclass(frozen=True)
class IntegrityFault:
    """A version that does not read as recorded."""

    team: str
    dataset: str
    version: int
    reason: str

    def __str__(self) -> str:
        return f"{self.team}/{self.dataset} version {self.version}: {self.reason}"


@dataclass(frozen=True)
class IntegrityReport:
    versions: int
    rows: int
    broken: list[IntegrityFault]


def verify(database: Database, data_layout: DataLayout) -> IntegrityReport:
    """Recompute the content hash and the counts of every version of every dataset from its files."""
    versions, rows, broken = 0, 0, []
    for dataset in Inventory(database).datasets():
        catalogue = Catalogue(database, data_layout)  # one keeps open what it has read
        for version in dataset.versions:
            versions, rows = versions + 1, rows + version.rows
            reason = _differs(catalogue, dataset.team, dataset.name, version)
            if reason:
                broken.append(IntegrityFault(dataset.team, dataset.name, version.number, reason))
    return IntegrityReport(versions, rows, broken)


def _differs(catalogue: Catalogue, team: str, name: str, version: StoredVersion) -> str:
    try:
        dataset = catalogue.open(team, name, version.number)
        content_hash = dataset.store.content_hash(dataset.pins)
    except Exception as error:
        return f"cannot be read ({error})"
    if content_hash != version.content_hash:
        return f"has content {content_hash[:12]}, recorded is {version.content_hash[:12]}"
    return ""
