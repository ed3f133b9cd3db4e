"""The OpenAPI document, with what FastAPI does not know: errors are problems, some routes are public."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from quantis.types.jobs import JobEvent
from serve import problems
from serve.policy import POLICY

STREAM = "text/event-stream"
Json = dict[str, Any]


def install(app: FastAPI) -> None:
    """Make `app.openapi()` the whole truth."""
    made = app.openapi

    def openapi() -> Json:
        if app.openapi_schema is None:
            _complete(made())
        return made()

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(document: Json) -> None:
    public = {
        (method, path.replace(":path}", "}")) for (method, path), rule in POLICY.items() if rule is None
    }
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if (method.upper(), path) in public:
                operation.pop("security", None)
            for status, answer in operation["responses"].items():
                _tell_media_type(status, answer.get("content", {}))
    # The events of a stream are not in its schema, which would speak of the whole text.
    document["components"]["schemas"]["JobEvent"] = JobEvent.model_json_schema()


def _tell_media_type(status: str, content: Json) -> None:
    if status[0] in "45" and "application/json" in content:
        content[problems.MEDIA_TYPE] = content.pop("application/json")
    for media_type in content:
        if media_type == STREAM:
            content[media_type] = {}
    if STREAM in content:
        content.pop("application/json", None)
