"""Failures of jobs in two sentences, a cause and a remedy; what Ray and Python say of them goes to the details.

Ray's errors are told by their names, so that whoever explains one need not import Ray.
"""

from __future__ import annotations

import errno
import re
import traceback
from collections.abc import Callable, Iterator, Mapping

from cluster.machine import BOUNDS, GIB
from quantis.errors import QuantisError
from quantis.types.jobs import JobError

_DETAIL_LENGTH = 20_000
_MAX_SENTENCE = 300
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-_]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_PLACES = re.compile(
    r"\(?\b(?:pid|ip|actor_id|node_id|worker_id|repr|task_id)=[^\s,)]+,?\s*\)?|\bray::[\w.<>]+\(?\)?"
    r"|(?:(?<=^)|(?<=[\s'\"(=:]))(?:/[\w.@+~-]+){2,}/?(?::\d+)?|\b0x[0-9a-f]{6,}\b|\b[0-9a-f]{32,}\b"
)
"""Ids, addresses and paths of one machine."""

_AGAIN = "Submit it again; if it fails once more, send the job's id to an operator, who sees the details."
_MEMORY_REMEDY = (
    "Train with fewer series, fewer windows or a smaller model, or ask an operator for more memory "
    "(QUANTIS_JOB_MEMORY_MB)."
)
_NO_MEMORY = re.compile(
    r"out.?of.?memory|cannot allocate memory|can't allocate memory|unable to allocate|bad.?alloc|\boom\b",
    re.I,
)
_KILLED = re.compile(r"exit code (?:137|134|-9|-6)\b|SIGKILL|signal 9", re.I)
_EXIT_CODE = re.compile(r"exit code (-?\d+)")
_NO_ROOM = re.compile(
    r"failed to start within|could not be scheduled|insufficient resources|START_TIMEOUT", re.I
)
_NO_GPU = re.compile(
    r"no CUDA GPUs|CUDA (?:driver|error|is not available)|NCCL|no GPU|not compiled with CUDA", re.I
)
_LOST = frozenset(
    {"WorkerCrashedError", "ActorDiedError", "RayActorError", "NodeDiedError", "LocalRayletDiedError"}
)
_OUT_OF_MEMORY = frozenset({"MemoryError", "OutOfMemoryError", "ArrowMemoryError"})


def explain(error: BaseException) -> JobError:
    """Explain an error that ended a job, with its whole traceback as the details."""
    cause, remedy = describe(error)
    details = "".join(traceback.format_exception(error))
    return JobError(cause=cause, remedy=remedy, details=without_escapes(details)[-_DETAIL_LENGTH:])


def explain_end(message: str) -> JobError:
    """Explain the end of a job that could not say itself why it failed, from what Ray says of it."""
    cause, remedy = _end_of_process(message)
    return JobError(cause=cause, remedy=remedy, details=without_escapes(message)[-_DETAIL_LENGTH:] or None)


def describe(error: BaseException) -> tuple[str, str]:
    """Return the cause and the remedy of an error, a sentence each, that name no place of a machine."""
    chain = list(_causes(error))
    for each in chain:
        if isinstance(each, QuantisError):
            return split_message(each.message)
    for explanation in _KINDS:
        if sentences := explanation(chain):
            return sentences
    root = chain[-1]
    reason = single_line(f"{type(root).__name__}: {root}" if str(root) else type(root).__name__)
    return f"An unexpected error ended it ({reason}).", _AGAIN


def split_message(message: str) -> tuple[str, str]:
    """Split a message of ours, `rule; remedy`, into two sentences."""
    cause, separator, remedy = single_line(message, len(message)).rpartition("; ")
    if not separator:
        cause, remedy = remedy, "Change the job accordingly and submit it again"
    return _sentence(cause), _sentence(remedy)


def single_line(text: str, limit: int = _MAX_SENTENCE) -> str:
    """Return a text on one line, without escape codes, process ids, addresses and paths; cut at `limit`."""
    text = _PLACES.sub(" ", without_escapes(text).replace("\n", " "))
    text = re.sub(r"\s+([,.;:)])", r"\1", " ".join(text.split()))
    return text if len(text) <= limit else f"{text[: limit - 3].rstrip()}..."


def without_escapes(text: str) -> str:
    """Return a text without a terminal's escape codes and other control characters."""
    return _ESCAPE.sub("", text.replace("\r", "\n"))


def _sentence(text: str) -> str:
    text = text.strip()
    return (text[:1].upper() + text[1:]).rstrip(".") + ("" if text.endswith(("?", "!")) else ".")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it stands for: causes, and the errors of Ray Train's workers."""
    visited: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting:
        each = waiting.pop(0)
        if id(each) in visited:
            continue
        visited.add(id(each))
        yield each
        workers = getattr(each, "worker_failures", None)
        inner = [getattr(each, "cause", None), getattr(each, "_base_exc", None), each.__cause__]
        inner += workers.values() if isinstance(workers, Mapping) else []
        waiting += [cause for cause in inner if isinstance(cause, BaseException)]


def _names(chain: list[BaseException]) -> set[str]:
    return {kind.__name__ for error in chain for kind in type(error).__mro__}


def _text(chain: list[BaseException]) -> str:
    return " ".join(str(error) for error in chain)


def _memory(chain: list[BaseException]) -> tuple[str, str] | None:
    if not (_names(chain) & _OUT_OF_MEMORY or _NO_MEMORY.search(_text(chain))):
        return None
    limit = f" (limit {BOUNDS.limit / GIB:.1f} GiB)" if BOUNDS.limit else ""
    return f"The worker ran out of memory{limit}.", _MEMORY_REMEDY


def _gpu(chain: list[BaseException]) -> tuple[str, str] | None:
    if not _NO_GPU.search(_text(chain)):
        return None
    return (
        "A GPU was asked for, and the worker found none that works.",
        "Leave use_gpu out, or ask an operator for a node with a GPU.",
    )


def _lost_worker(chain: list[BaseException]) -> tuple[str, str] | None:
    if not _names(chain) & _LOST:
        return None
    return (
        "A worker of the job was killed, or its machine was lost; most often it had run out of memory.",
        _MEMORY_REMEDY,
    )


def _timeout(chain: list[BaseException]) -> tuple[str, str] | None:
    if not _names(chain) & {"TimeoutError", "GetTimeoutError"}:
        return None
    return (
        "A part of the job did not answer in time.",
        "Submit it again; give it a longer time_limit if it has one.",
    )


def _files(chain: list[BaseException]) -> tuple[str, str] | None:
    numbers = {error.errno for error in chain if isinstance(error, OSError)}
    if numbers & {errno.ENOSPC, errno.EDQUOT}:
        return "The platform's disk is full.", "Ask an operator for room, then submit the job again."
    if numbers & {errno.ENOENT, errno.ESTALE}:
        return (
            "A file that the job reads is gone: its dataset or model was deleted, or compacted, meanwhile.",
            "Submit the job again, with a dataset and a model that are there.",
        )
    if numbers & {errno.EACCES, errno.EPERM, errno.EROFS}:
        return (
            "The job may not read or write a file of the platform.",
            "Ask an operator to mend the data folder.",
        )
    return None


_Kind = Callable[[list[BaseException]], tuple[str, str] | None]
_KINDS: tuple[_Kind, ...] = (_gpu, _memory, _lost_worker, _files, _timeout)


def _end_of_process(message: str) -> tuple[str, str]:
    if _NO_ROOM.search(message):
        return (
            "The cluster had no room to start the job in time.",
            "Submit it again when fewer jobs run, or ask an operator for more memory or machines.",
        )
    if _KILLED.search(message) or _NO_MEMORY.search(message):
        return "The job's process was killed, most likely because memory had run out.", _MEMORY_REMEDY
    if code := _EXIT_CODE.search(message):
        return f"The job's process ended with code {code[1]} before it could say why.", _AGAIN
    return "Ray ended the job without a result.", _AGAIN
