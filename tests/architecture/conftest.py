"""What the house rules look at: every Python source of the product, parsed once, names resolved."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("quantis", "features", "models", "monitoring", "cluster", "jobs", "serve")


@dataclass(frozen=True)
class Source:
    path: str
    tree: ast.Module

    @classmethod
    def parse(cls, path: str, text: str) -> Source:
        return cls(path, ast.parse(text, path))

    def aliases(self) -> dict[str, str]:
        """Local name -> dotted name it was imported as, wherever in the file."""
        known: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for name in node.names:
                    first = name.name.partition(".")[0]
                    known[name.asname or first] = name.name if name.asname else first
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for name in node.names:
                    known[name.asname or name.name] = f"{node.module}.{name.name}"
        return known

    def uses(self) -> Iterator[tuple[int, str]]:
        """Every dotted name that the file imports or reaches through an import, with its line."""
        known = self.aliases()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, name.name) for name in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield from ((node.lineno, f"{node.module}.{name.name}") for name in node.names)
            elif isinstance(node, ast.Attribute) and (name := dotted(node, known)):
                yield node.lineno, name


def dotted(node: ast.expr, known: dict[str, str]) -> str | None:
    """`np.random.seed` -> numpy.random.seed; None when the root is not an imported name."""
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Attribute) and (root := dotted(node.value, known)):
        return f"{root}.{node.attr}"
    return None


@pytest.fixture(scope="session")
def product() -> list[Source]:
    files = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
    assert len(files) > len(PACKAGES)
    return [Source.parse(file.relative_to(ROOT).as_posix(), file.read_text()) for file in files]


@pytest.fixture(scope="session")
def parse() -> Callable[[str, str], Source]:
    return Source.parse


@pytest.fixture(scope="session")
def resolve() -> Callable[[ast.expr, dict[str, str]], str | None]:
    return dotted


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT
