"""Everything that the document lets a caller send has an end: texts, lists, maps and numbers of fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter

from quantis.types.registry import AliasRequest

Json = dict[str, Any]
ENDED = ("enum", "const")
FORMATS = {"date-time": 64, "duration": 64, "date": 10, "uuid": 36, "binary": None}  # a reader bounds these


@pytest.fixture(scope="module")
def document(module_world) -> Json:
    return module_world.app.openapi()


def unbounded(schema: Any, document: Json, place: str, seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """The places within a schema that take something without an end."""
    if not isinstance(schema, dict):
        return
    if reference := schema.get("$ref"):
        if reference not in seen:
            name = reference.rpartition("/")[2]
            yield from unbounded(document["components"]["schemas"][name], document, name, seen | {reference})
        return
    for word in ("anyOf", "oneOf", "allOf"):
        for part in schema.get(word, []):
            yield from unbounded(part, document, place, seen)
    if any(word in schema for word in (*ENDED, "anyOf", "oneOf", "allOf")):
        return
    kind = schema.get("type")
    if kind == "string" and "maxLength" not in schema and not _ends(schema.get("pattern", "")):
        if schema.get("format") not in FORMATS:
            yield f"{place}: a text"
    elif kind == "array":
        if "maxItems" not in schema and "prefixItems" not in schema:
            yield f"{place}: a list"
        yield from unbounded(schema.get("items"), document, f"{place}[]", seen)
    elif kind == "object":
        yield from _of_object(schema, document, place, seen)
    elif kind is None:
        yield f"{place}: anything"


def _of_object(schema: Json, document: Json, place: str, seen: frozenset[str]) -> Iterator[str]:
    more = schema.get("additionalProperties", True)
    if more is not False:
        if "maxProperties" not in schema:
            yield f"{place}: a map"
        yield from unbounded(more if isinstance(more, dict) else {}, document, f"{place}{{}}", seen)
        if not _bounds_names(schema.get("propertyNames", {})):
            yield f"{place}: the names of a map"
    for name, inner in schema.get("properties", {}).items():
        yield from unbounded(inner, document, f"{place}.{name}", seen)


def _bounds_names(names: Json) -> bool:
    return "maxLength" in names or "enum" in names or _ends(names.get("pattern", ""))


def _ends(pattern: str) -> bool:
    """Whether a pattern is anchored and repeats nothing without an end."""
    return pattern.startswith("^") and pattern.endswith("$") and not any(mark in pattern for mark in "*+")


def taken(document: Json) -> Iterator[tuple[str, Json]]:
    """Every schema of something that a caller sends."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            for parameter in operation.get("parameters", []):
                yield f"{method.upper()} {path} ?{parameter['name']}", parameter["schema"]
            for content in operation.get("requestBody", {}).get("content", {}).values():
                yield f"{method.upper()} {path}", _as_read(content["schema"], document)


def _as_read(schema: Json, document: Json) -> Json:
    """A form's fields beyond those named are dropped, within the few kB that a form may have."""
    name = schema.get("$ref", "").rpartition("/")[2]
    if name.startswith("Body_"):
        return document["components"]["schemas"][name] | {"additionalProperties": False}
    return schema


def test_when_the_document_is_walked_then_nothing_that_it_takes_is_without_an_end(document):
    found = {where for place, schema in taken(document) for where in unbounded(schema, document, place)}
    assert sorted(found) == []


def test_when_a_body_is_described_then_it_takes_no_field_beyond_those(document):
    def names(schema: Any) -> set[str]:
        if isinstance(schema, list):
            return set().union(*(names(part) for part in schema)) if schema else set()
        if not isinstance(schema, dict):
            return set()
        own = {schema["$ref"].rpartition("/")[2]} if "$ref" in schema else set()
        return own.union(*(names(part) for part in schema.values()))

    reached, todo = set(), set().union(*(names(schema) for _, schema in taken(document)))
    while todo:
        name = todo.pop()
        reached.add(name)
        todo |= names(document["components"]["schemas"][name]) - reached
    open_ones = {
        name
        for name in reached
        if document["components"]["schemas"][name].get("type") == "object"
        and document["components"]["schemas"][name].get("additionalProperties") is not False
    }
    assert open_ones == set()
    assert len(reached) > 15


@pytest.mark.parametrize(
    ("schema", "ends"),
    [
        ({"type": "string"}, False), ({"type": "string", "maxLength": 3}, True),
        ({"type": "string", "pattern": "^a{0,9}$"}, True),
        ({"type": "string", "pattern": "^a+$"}, False), ({"type": "array", "items": {"type": "integer"}}, False),
        ({"type": "array", "maxItems": 2, "items": {"type": "string"}}, False), ({}, False),
        ({"type": "object"}, False),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, False), ({"enum": ["a"]}, True),
    ],
)  # fmt: skip
def test_when_a_schema_has_no_end_then_the_walk_sees_it(schema, ends):
    assert (list(unbounded(schema, {}, "x")) == []) == ends


def test_when_a_model_is_asked_for_its_schema_again_then_its_checks_do_not_pile_up():
    def depth(value: Any) -> int:
        parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return 1 + max((depth(part) for part in parts), default=0)

    before = depth(AliasRequest.__pydantic_core_schema__)
    for _ in range(5):
        TypeAdapter(list[AliasRequest])
    assert depth(AliasRequest.__pydantic_core_schema__) == before
