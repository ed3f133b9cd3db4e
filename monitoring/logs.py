"""Structured logs: one JSON object a line, with the request and job it belongs to, without secrets."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any, cast

import structlog
from structlog.typing import EventDict, Processor

HIDDEN = "[hidden]"

_SECRET_KEYS = re.compile(
    r"(?i)(pass(word|wd|phrase)?|secret|token|authorization|cookie|api[_-]?key|private[_-]?key|credential)"
)
_HARMLESS_KEYS = frozenset({"token_type", "grant_type", "token_kind", "tokens"})
_SECRET_TEXTS = (
    (re.compile(r"eyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*"), HIDDEN),  # a JWT
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"(://[^/\s:@]*:)[^/\s@]+@"), rf"\1{HIDDEN}@"),  # a password in a URL
)
_REDACTION_DEPTH = 6
FILE_BYTES, OLD_FILES = 20_000_000, 5


def configure(process: str, *, file: Path | None = None, level: str = "INFO") -> None:
    """Send the logs of this process, its libraries' too, to `file` (rotated) or else to stderr.

    `process` names the role: api, forecaster, job, reconciler. A second call replaces the first.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.format_exc_info,
        _name_process(process),
        hide_secrets,
    ]
    handler = _handler(file)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(default=lambda value: _hide_text(str(value))),
            ],
        )
    )
    root = logging.getLogger()
    for old in [h for h in root.handlers if h.get_name() == handler.get_name()]:
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(level)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """Return a logger: `logger(__name__).info("job submitted", job_kind="train")`."""
    bound_logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return bound_logger


@contextmanager
def bound(*, request_id: str | None = None, job_id: str | None = None) -> Iterator[None]:
    """Add request or job to the log records of this thread or task."""
    context = {k: v for k, v in (("request_id", request_id), ("job_id", job_id)) if v is not None}
    with structlog.contextvars.bound_contextvars(**context):
        yield


def hide_secrets(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Replace values under secret names, and secrets inside texts, at any depth."""
    hidden = _hide(event, _REDACTION_DEPTH)
    return cast(MutableMapping[str, Any], hidden)


def _hide(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _hide_text(value)
    if depth == 0:
        return value if isinstance(value, int | float | bool | None) else HIDDEN
    if isinstance(value, Mapping):
        return {k: HIDDEN if _is_secret(k) and v else _hide(v, depth - 1) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_hide(item, depth - 1) for item in value]
    return value


def _hide_text(text: str) -> str:
    for pattern, replacement in _SECRET_TEXTS:
        text = pattern.sub(replacement, text)
    return text


def _is_secret(key: object) -> bool:
    return isinstance(key, str) and key not in _HARMLESS_KEYS and bool(_SECRET_KEYS.search(key))


def _name_process(process: str) -> Processor:
    def add(_logger: Any, _method: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    return add


def _handler(file: Path | None) -> logging.Handler:
    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = _SharedFile(file, encoding="utf-8")
    handler.set_name("quantis")
    return handler


class _SharedFile(WatchedFileHandler):
    """A log file of several processes. The process that finds it full rotates it; the others follow."""

    def emit(self, record: logging.LogRecord) -> None:
        if os.path.exists(self.baseFilename) and os.path.getsize(self.baseFilename) > FILE_BYTES:  # noqa: PTH110, PTH202
            self._turn_over(Path(self.baseFilename))
        super().emit(record)

    def _turn_over(self, file: Path) -> None:
        with file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not file.exists() or file.stat().st_size <= FILE_BYTES:
                return  # another process was first
            for number in range(OLD_FILES - 1, 0, -1):
                older = Path(f"{file}.{number}")
                if older.exists():
                    older.replace(f"{file}.{number + 1}")
            file.replace(f"{file}.1")
