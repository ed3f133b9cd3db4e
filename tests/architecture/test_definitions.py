"""One definition each: public classes, numpy aliases, size limits."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from tests.architecture.conftest import ROOT

ALIASES = "quantis/types/arrays.py"
SIZE_LIMIT = re.compile(r"(MAX|MOST|LARGEST|LONGEST)_\w+|\w+_(LIMIT|BYTES)")
Definitions = Iterator[tuple[str, str]]


def public_classes(source: Any) -> Definitions:
    for node in source.tree.body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, f"{source.path}:{node.lineno}"


def constants(source: Any) -> Iterator[tuple[str, ast.expr, str]]:
    """Names, values and places of the assignments at a module's top."""
    for node in source.tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value, f"{source.path}:{node.lineno}"
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            yield node.target.id, node.value, f"{source.path}:{node.lineno}"


def array_aliases(source: Any) -> Definitions:
    for name, value, position in constants(source):
        text = ast.unparse(value)
        if isinstance(value, ast.Subscript) and re.match(r"(npt\.)?NDArray|(np\.|numpy\.)ndarray", text):
            yield name, position


def size_limits(source: Any) -> Definitions:
    for name, value, position in constants(source):
        if SIZE_LIMIT.fullmatch(name.lstrip("_")) and not isinstance(value, ast.Name | ast.Attribute):
            yield name.lstrip("_"), position


def repeated(sources: Iterable[Any], definitions: Callable[[Any], Definitions]) -> dict[str, list[str]]:
    """Names with more than one definition, and where these stand."""
    positions: dict[str, list[str]] = {}
    for source in sources:
        for name, position in definitions(source):
            positions.setdefault(name, []).append(position)
    return {name: where for name, where in positions.items() if len(where) > 1}


def test_when_public_classes_are_listed_then_each_name_is_defined_once(product: list[Any]) -> None:
    assert repeated(product, public_classes) == {}


def test_when_array_aliases_are_listed_then_they_stand_in_one_module(product: list[Any]) -> None:
    assert repeated(product, array_aliases) == {}
    elsewhere = [at for source in product for _, at in array_aliases(source) if source.path != ALIASES]
    assert elsewhere == []


def test_when_size_limits_are_listed_then_each_is_defined_once(product: list[Any]) -> None:
    assert repeated(product, size_limits) == {}


@pytest.mark.parametrize(
    ("definitions", "text"),
    [
        (public_classes, "class Parts:\n    pass\n"),
        (array_aliases, "Floats = npt.NDArray[np.float64]\n"),
        (array_aliases, "Mask = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]\n"),
        (size_limits, "MAX_ROWS = 10\n"),
        (size_limits, "_MAX_ROWS: int = 10 * 2\n"),
        (size_limits, "BODY_LIMIT = 1_000_000\n"),
    ],
)
def test_when_something_is_defined_twice_then_the_check_says_where(
    parse: Any, definitions: Callable[[Any], Definitions], text: str
) -> None:
    sources = [parse("models/a.py", text), parse("serve/b.py", text)]
    (where,) = repeated(sources, definitions).values()
    assert where == ["models/a.py:1", "serve/b.py:1"]


@pytest.mark.parametrize(
    ("definitions", "text"),
    [
        (public_classes, "class _Parts:\n    pass\n"),
        (array_aliases, "Shape = tuple[int, ...]\n"),
        (size_limits, "from quantis.limits import MAX_ROWS\nLARGEST_ROWS = MAX_ROWS\n"),
    ],
)
def test_when_a_name_is_private_or_refers_to_another_then_the_check_is_silent(
    parse: Any, definitions: Callable[[Any], Definitions], text: str
) -> None:
    assert repeated([parse("models/a.py", text), parse("serve/b.py", text)], definitions) == {}


def test_when_migrations_are_listed_then_each_follows_the_one_before() -> None:
    """Two that were written side by side would leave the database with two newest schemas, and no upgrade."""
    previous = "None"
    for path in sorted((ROOT / "cluster" / "database" / "migrations" / "versions").glob("*.py")):
        source = path.read_text()
        assert f"\ndown_revision = {previous}\n" in source, path.name
        previous = f'"{path.name.partition("_")[0]}"'
        assert f"\nrevision = {previous}\n" in source, path.name
