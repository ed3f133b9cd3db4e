"""A failure of a job is two sentences, without a path, a process id or an escape code, whatever Ray says."""

from __future__ import annotations

import errno
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.machine import BOUNDS, GIB
from cluster.ray.failures import describe, explain, explain_end, single_line, split_message
from quantis.errors import InvalidInput, TimedOut

UNWANTED = re.compile(r"\x1b|pid=|ip=|/tmp/|/work/|Traceback|\n|ray::")
RAY_TEXT = (
    "\x1b[36mray::_run_metered()\x1b[39m (pid=2211, ip=10.1.2.3)\n  File \"/work/app/jobs/evaluation/runner.py\", "
    "line 12, in work\n    raise ValueError('no')\nValueError: no such thing in /tmp/quantis-12ab/session_1/sockets"
)  # fmt: skip
JOB_TEXT = (
    "Job entrypoint command failed with exit code {code}, last available logs (truncated to 20,000 chars):\n"
    + RAY_TEXT * 30
)


class RayTaskError(Exception):
    """As Ray's: its text is a traceback, its cause the error."""

    def __init__(self, cause):
        super().__init__(RAY_TEXT)
        self.cause = cause


class WorkerGroupError(Exception):
    def __init__(self, *errors):
        super().__init__(RAY_TEXT)
        self.worker_failures = dict(enumerate(errors))


class OutOfMemoryError(Exception):
    """As Ray's and torch's are called."""


class ActorDiedError(Exception):
    """As Ray's is called."""


def raised(error, cause=None):
    try:
        raise error from cause
    except Exception as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "cause", "remedy"),
    [
        (MemoryError(), "ran out of memory (limit 2.0 GiB)", "fewer series"),
        (RayTaskError(MemoryError("Unable to allocate 12.7 GiB")), "ran out of memory (limit", "more memory"),
        (WorkerGroupError(OutOfMemoryError(RAY_TEXT)), "ran out of memory", "QUANTIS_JOB_MEMORY_MB"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "ran out of memory", "fewer"),
        (ActorDiedError(RAY_TEXT), "was killed", "fewer series"),
        (RuntimeError("No CUDA GPUs are available"), "GPU", "use_gpu"),
        (TimeoutError(), "did not answer in time", "time_limit"),
        (FileNotFoundError(errno.ENOENT, "no file", "/data/x"), "deleted", "Submit the job again"),
        (OSError(errno.ENOSPC, "no space", "/data/x"), "disk is full", "operator"),
        (TimedOut("it took 9 s; give it more"), "It took 9 s.", "Give it more."),
        (InvalidInput("h 0 is too small; take 1; or 2"), "H 0 is too small; take 1.", "Or 2."),
        (InvalidInput("bundle /data/models/a/b.json is broken"), "is broken.", "submit it again"),
        (RayTaskError(ValueError(RAY_TEXT)), "unexpected error ended it (ValueError:", "operator"),
        (ZeroDivisionError(), "(ZeroDivisionError)", "operator"),
    ],
)
def test_when_a_job_fails_then_it_says_one_sentence_of_cause_and_one_of_remedy(
    monkeypatch, error, cause, remedy
):
    monkeypatch.setattr(BOUNDS, "limit", 2 * GIB)
    found = explain(raised(error))
    assert cause in found.cause
    assert remedy in found.remedy
    for sentence in (found.cause, found.remedy):
        assert not UNWANTED.search(sentence)
        assert sentence[-1] == "."
        assert len(sentence) < 400
    assert found.details is not None
    assert type(error).__name__ in found.details
    assert "\x1b" not in found.details


def test_when_a_cause_is_chained_then_the_error_of_ours_is_what_is_said():
    error = raised(RuntimeError(RAY_TEXT), raised(InvalidInput("the roles differ; choose others")))
    assert describe(error) == ("The roles differ.", "Choose others.")


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        (JOB_TEXT.format(code=137), "most likely because memory had run out"),
        (JOB_TEXT.format(code=-9), "most likely because memory had run out"),
        (JOB_TEXT.format(code=3), "ended with code 3"),
        ("Job supervisor actor failed to start within 900.0 seconds. It needs ...", "no room to start"),
        ("Job supervisor actor could not be scheduled: " + RAY_TEXT, "no room to start"),
        ("", "without a result"),
        (RAY_TEXT, "without a result"),
    ],
)
def test_when_only_ray_knows_how_a_job_ended_then_its_pages_become_two_sentences(message, cause):
    found = explain_end(message)
    assert cause in found.cause
    assert not UNWANTED.search(found.message)
    assert len(found.message) < 400
    assert "\x1b" not in (found.details or "")
    assert bool(found.details) == bool(message)


@given(st.text(max_size=200))
def test_when_any_text_is_said_then_it_is_one_short_line_without_control_characters(text):
    line = single_line(text)
    assert "\n" not in line
    assert "\x1b" not in line
    assert len(line) <= 300
    cause, remedy = split_message(text)
    assert remedy.endswith((".", "?", "!"))
    assert "\n" not in cause + remedy
