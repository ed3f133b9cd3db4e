"""OpenAPI document, completed by what FastAPI does not know: errors are problems, some routes are public."""

from __future__ import annotations

import threading
from typing import Any

from fastapi import FastAPI

from quantis.types.accounts import REAUTHENTICATION_HEADER
from quantis.types.jobs import JobEvent
from serve.http import problems
from serve.security.policy import POLICY

STREAM = "text/event-stream"
_PROBLEM = {"$ref": "#/components/schemas/Problem"}
Json = dict[str, Any]
_REAUTHENTICATION: Json = {
    "name": REAUTHENTICATION_HEADER,
    "in": "header",
    "required": False,  # a client may send it after the refusal that asks for it
    "schema": {"type": "string", "maxLength": 4096, "pattern": "^[!-~]*$"},
    "description": "Needed: what `POST /v1/users/me/reauthentication` answered to this session.",
}


def install(app: FastAPI) -> None:
    """Complete the document of `app.openapi()`, once."""
    generate, lock, complete = app.openapi, threading.Lock(), list[Json]()

    def openapi() -> Json:
        with lock:  # nobody may read it while it is half done
            if not complete:
                document = generate()
                _complete(document)
                complete.append(document)
        return complete[0]

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(document: Json) -> None:
    public = {
        (method, path.replace(":path}", "}")) for (method, path), rule in POLICY.items() if rule is None
    }
    reauthenticated = {key for key, rule in POLICY.items() if rule is not None and rule.reauthenticate}
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if (method.upper(), path) in reauthenticated:
                operation.setdefault("parameters", []).append(_REAUTHENTICATION)
            if (method.upper(), path) in public:
                operation.pop("security", None)
            for status, response in operation["responses"].items():
                if status[0] in "45":
                    response["content"] = {problems.MEDIA_TYPE: {"schema": _PROBLEM}}
                elif STREAM in response.get("content", {}):
                    response["content"] = {
                        STREAM: {}
                    }  # a schema would speak of the whole text, not of its events
            responses = operation["responses"]
            if "200" in responses and "201" in responses:
                responses["200"]["content"] = responses["201"]["content"]
    schemas = document["components"]["schemas"]
    schemas["JobEvent"] = JobEvent.model_json_schema()
    _remove_keyword(schemas, "uniqueItems")  # what is sent twice counts once


def _remove_keyword(value: Any, word: str) -> None:
    if isinstance(value, dict):
        value.pop(word, None)
        for part in value.values():
            _remove_keyword(part, word)
    elif isinstance(value, list):
        for part in value:
            _remove_keyword(part, word)
