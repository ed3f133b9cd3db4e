"""The language: names and docstrings in the field's words, and the linter's rules. Ratchets only fall."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RATCHETS = Path(__file__).with_name("ratchets")
PACKAGES = ("quantis", "features", "models", "monitoring", "cluster", "jobs", "serve")
SLACK = 10
"""A count may be this much below its ratchet before the ratchet must follow."""

BANNED_NAMES = frozenset((RATCHETS / "banned-names.txt").read_text().split())
BANNED_OPENINGS = re.compile(
    r"(What|Whether|How|Those|Which|Who|Whose|Whoever|Where|When|Why|One's|Everything)\b"
)


def bound_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Names that a module binds: variables, parameters, functions, classes, aliases."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.ExceptHandler):
            yield node.lineno, node.name or ""
        elif isinstance(node, ast.alias) and node.asname:
            yield node.lineno, node.asname


def banned_names(sources: Iterable[Any]) -> list[str]:
    return [
        f"{source.path}:{line}: {name}"
        for source in sources
        for line, name in bound_names(source.tree)
        if name.strip("_") in BANNED_NAMES
    ]


def banned_openings(sources: Iterable[Any]) -> list[str]:
    lines = []
    for source in sources:
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            docstring = ast.get_docstring(node) or ""
            if BANNED_OPENINGS.match(docstring):
                lines.append(f"{source.path}:{getattr(node, 'lineno', 1)}: {docstring.splitlines()[0]}")
    return lines


def ruff(*arguments: str, text: str | None = None) -> list[dict[str, Any]]:
    """Findings of the linter, under the project's settings."""
    command = [sys.executable, "-m", "ruff", "check", "--preview", "--output-format", "json", *arguments]
    done = subprocess.run(command, cwd=ROOT, input=text, text=True, capture_output=True)
    assert done.returncode in (0, 1), done.stderr
    findings: list[dict[str, Any]] = json.loads(done.stdout)
    return findings


def not_imperative() -> list[str]:
    """Docstrings whose first line is not imperative; noun phrases count as well, so that this is no limit."""
    return [
        f"{Path(finding['filename']).relative_to(ROOT)}:{finding['location']['row']}"
        for finding in ruff("--select", "D401", *PACKAGES)
    ]


def held_ratchet(name: str, violations: list[str]) -> None:
    """AssertionError when there are more violations than the ratchet says, or many fewer."""
    limit = int((RATCHETS / name).read_text())
    count = len(violations)
    listed = "\n".join(violations[-30:])
    assert count <= limit, f"{count} {name}, at most {limit}; the last of them:\n{listed}"
    assert count >= limit - SLACK, (
        f"only {count} {name}: write {count} into tests/architecture/ratchets/{name}"
    )


def test_when_names_are_bound_then_fewer_and_fewer_are_banned(product: list[Any]) -> None:
    held_ratchet("names", banned_names(product))


def test_when_docstrings_open_then_fewer_and_fewer_open_with_a_riddle(product: list[Any]) -> None:
    held_ratchet("docstrings", banned_openings(product))


def test_when_docstrings_are_linted_then_fewer_and_fewer_are_not_imperative() -> None:
    held_ratchet("imperative", not_imperative())


@pytest.mark.parametrize(
    "text",
    [
        "found = 1",
        "def f(one): ...",
        "def _kept(): ...",
        "for place in (): ...",
        "x = [moment for moment in ()]",
        "import numpy as what",
        "class told: ...",
    ],
)
def test_when_a_banned_name_is_bound_then_the_check_says_so(parse: Any, text: str) -> None:
    assert len(banned_names([parse("models/bad.py", text)])) == 1
    assert banned_names([parse("models/good.py", "scores = 1\nfor row in (): ...\nx.found(1)\n")]) == []


def test_when_a_docstring_is_a_riddle_then_the_check_says_so(parse: Any) -> None:
    text = '"""What is known of a key."""\ndef f():\n    """Whether it is."""\n\nclass A:\n    """Rows of a panel."""\n'
    assert banned_openings([parse("models/bad.py", text)]) == [
        "models/bad.py:1: What is known of a key.",
        "models/bad.py:2: Whether it is.",
    ]


def test_when_violations_exceed_or_undercut_a_ratchet_then_it_says_so() -> None:
    limit = int((RATCHETS / "names").read_text())
    held_ratchet("names", ["x"] * limit)
    with pytest.raises(AssertionError, match="at most"):
        held_ratchet("names", ["x"] * (limit + 1))
    if limit > SLACK:
        with pytest.raises(AssertionError, match="write"):
            held_ratchet("names", ["x"] * (limit - SLACK - 1))


def raised(numbers: list[int]) -> list[tuple[int, int]]:
    """Steps of a ratchet's history that go up, oldest first."""
    return [(before, after) for before, after in pairwise(numbers) if after > before]


def committed_numbers(path: Path) -> list[int]:
    command = ["git", "log", "--reverse", "--format=", "-p", "--unified=0", "--", str(path)]
    history = subprocess.run(command, cwd=ROOT, text=True, capture_output=True).stdout
    return [int(number) for number in re.findall(r"^\+(\d+)$", history, re.M)]


@pytest.mark.parametrize("name", ["names", "docstrings", "imperative"])
def test_when_a_ratchet_was_changed_then_it_only_fell(name: str) -> None:
    path = RATCHETS / name
    assert raised([*committed_numbers(path), int(path.read_text())]) == []


def test_when_a_ratchet_rises_then_the_check_says_so() -> None:
    assert raised([9, 7, 7, 8, 3]) == [(7, 8)]


BRANCHES = "\n".join(f"    if x == {number}:\n        return {number}" for number in range(11))


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("C901", f"def f(x):\n{BRANCHES}\n    return x\n"),
        ("PLR0917", "def f(a, b, c, d, e, g): ...\n"),
        ("SLF001", "def f(a):\n    return a._private\n"),
        ("ERA001", "# x = compute(1)\n"),
    ],
)
def test_when_code_breaks_a_rule_then_the_linter_says_so(rule: str, text: str) -> None:
    findings = ruff("--extend-select", "PLR0917", "--stdin-filename", "models/bad.py", "-", text=text)
    assert rule in {finding["code"] for finding in findings}


def test_when_types_are_checked_then_the_tests_are_read_as_well(tmp_path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"^types:.*\n\t.*-m mypy \$\(PYTHON_FILES\)$", makefile, re.M)
    assert re.search(r"^PYTHON_FILES := .*\btests\b", makefile, re.M)
    bad = tmp_path / "test_bad.py"
    bad.write_text("def test_when_added_then_wrong():\n    assert 1 + 'x'\n")
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), str(bad)]
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "[operator]" in done.stdout
