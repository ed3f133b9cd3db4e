"""Nothing happens at import, files stay readable, decisions say why."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

MAX_LINES = 350
SOURCES = (
    "quantis", "features", "models", "monitoring", "cluster", "jobs", "serve", "tests", "bench", "examples", "web",
)  # fmt: skip
SKIPPED = {"node_modules", "dist", "__pycache__", "public"}
HEADINGS = ("Context", "Decision", "Consequences")

ACTS = re.compile(
    r"(os\.(environ|environb|getenv|putenv|makedirs|mkdir|remove|rename|system|chdir|umask|fork\w*)"
    r"|shutil\.\w+|subprocess\.\w+|socket\.\w+|tempfile\.\w+|requests\.\w+|httpx\.(get|post|Client|AsyncClient)"
    r"|urllib\.request\.\w+|ray\.(?!serve\.deployment|exceptions)\w+|mlflow\.\w+|logging\.basicConfig"
    r"|structlog\.configure|random\.seed|numpy\.random\.\w+|torch\.(manual_seed|set_\w+|cuda)|threading\.\w+"
    r"|multiprocessing\.\w+|asyncio\.run|time\.sleep|warnings\.(filterwarnings|simplefilter)"
    r"|sqlalchemy\.create_engine|sys\.exit)\b.*"
)
SAFE = re.compile(
    r"threading\.(Lock|RLock|local|Event|Condition|(Bounded)?Semaphore)|tempfile\.NamedTemporaryFile$"
)
RUN_BY_ALEMBIC = "cluster/database/migrations/"
WRITES = {"mkdir", "write_text", "write_bytes", "unlink", "touch", "rmdir", "start", "connect"}


def acts_at_import(source: Any, resolve: Callable[..., str | None]) -> list[str]:
    known = source.aliases()
    found = []
    for node in _run_at_import(source.tree.body):
        if isinstance(node, ast.Attribute):
            name = resolve(node, known)
            if name == "os.environ":
                found.append(f"{source.path}:{node.lineno}: {name}")
        if not isinstance(node, ast.Call):
            continue
        name = resolve(node.func, known) or ""
        if ACTS.fullmatch(name) and not SAFE.fullmatch(name):
            found.append(f"{source.path}:{node.lineno}: {name}()")
        if isinstance(node.func, ast.Name) and node.func.id in ("open", "print", "input"):
            found.append(f"{source.path}:{node.lineno}: {node.func.id}()")
        if isinstance(node.func, ast.Attribute) and node.func.attr in WRITES:
            found.append(f"{source.path}:{node.lineno}: .{node.func.attr}()")
    return found


def _run_at_import(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """Every node that runs when the module is imported: not the bodies of functions, nor of the main guard."""
    pending: list[ast.AST] = list(body)
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            defaults = [d for d in (*node.args.defaults, *node.args.kw_defaults) if d is not None]
            pending += [*node.decorator_list, *defaults]
        elif isinstance(node, ast.If) and "__name__" in ast.unparse(node.test):
            pending += node.orelse
        elif not isinstance(node, ast.Lambda):
            pending += ast.iter_child_nodes(node)


def test_when_a_module_is_imported_then_nothing_happens(product: list[Any], resolve: Any) -> None:
    modules = [source for source in product if not source.path.startswith(RUN_BY_ALEMBIC)]
    assert [line for source in modules for line in acts_at_import(source, resolve)] == []


@pytest.mark.parametrize(
    "text",
    [
        "import os\nHOME = os.environ['HOME']",
        "import os\nHOME = os.getenv('HOME')",
        "import os\nclass A:\n    home = os.environ.get('HOME')",
        "import os\ndef f(home=os.getenv('HOME')): ...",
        "from pathlib import Path\nPath('x').mkdir()",
        "TEXT = open('x').read()",
        "import ray\nray.init()",
        "import ray\n@ray.remote\ndef f(): ...\nif True:\n    x = ray.put(1)",
        "import httpx\nCLIENT = httpx.Client()",
        "import torch\ntorch.manual_seed(1)",
        "from subprocess import run\nrun(['ls'])",
        "import threading\nthreading.Thread().start()",
        "import logging\nlogging.basicConfig()",
        "try:\n    from os import makedirs\n    makedirs('x')\nexcept OSError:\n    pass",
    ],
)
def test_when_a_module_acts_at_import_then_the_check_says_so(parse: Any, resolve: Any, text: str) -> None:
    assert acts_at_import(parse("models/bad.py", text), resolve)


@pytest.mark.parametrize(
    "text",
    [
        "import os\ndef f():\n    return os.environ['HOME']",
        "import os\nif __name__ == '__main__':\n    print(os.getcwd())",
        "import threading\nLOCK = threading.Lock()",
        "from pathlib import Path\nROOT = Path('x') / 'y'",
        "import os\nread = lambda: os.getenv('X')",
    ],
)
def test_when_a_module_only_defines_then_the_check_is_silent(parse: Any, resolve: Any, text: str) -> None:
    assert acts_at_import(parse("models/good.py", text), resolve) == []


def too_long(files: list[Path]) -> list[str]:
    def lines(file: Path) -> int:
        text = file.read_text()
        return 0 if "auto-generated" in text[:400] else text.count("\n")

    return [f"{file}: {lines(file)} lines, at most {MAX_LINES}" for file in files if lines(file) > MAX_LINES]


def test_when_files_are_counted_then_none_is_too_long(root: Path) -> None:
    files = [
        file
        for folder in SOURCES
        for pattern in ("*.py", "*.ts", "*.tsx", "*.mjs", "*.sh")
        for file in (root / folder).rglob(pattern)
        if not SKIPPED & set(file.parts)
    ]
    assert len(files) > 50
    assert too_long(files) == []


def test_when_a_file_is_too_long_then_the_check_says_so_unless_it_is_generated(tmp_path: Path) -> None:
    (tmp_path / "long.py").write_text("x = 1\n" * (MAX_LINES + 1))
    (tmp_path / "short.py").write_text("x = 1\n" * MAX_LINES)
    (tmp_path / "made.ts").write_text("/* This file was auto-generated */\n" * (MAX_LINES + 1))
    (only,) = too_long(sorted(tmp_path.iterdir()))
    assert "long.py: 351 lines" in only


def missing_headings(text: str) -> list[str]:
    headings = re.findall(r"^#{2,3}\s+(\w+)", text, re.M)
    return [heading for heading in HEADINGS if heading not in headings]


def test_when_a_decision_is_read_then_it_says_context_decision_and_consequences(root: Path) -> None:
    pages = sorted((root / "docs" / "decisions").glob("*.md"))
    assert pages
    assert {page.name: gaps for page in pages if (gaps := missing_headings(page.read_text()))} == {}


def test_when_a_decision_lacks_a_part_then_the_check_names_it() -> None:
    assert missing_headings("# Title\n\n## Context\nx\n\n## Decision\ny\n") == ["Consequences"]


def test_when_tests_are_laid_out_then_names_are_unique_and_no_folder_is_a_package(root: Path) -> None:
    files = sorted((root / "tests").rglob("*.py"))
    assert not [file for file in files if file.name == "__init__.py"]
    names = [file.name for file in files if file.name != "conftest.py"]
    assert sorted(set(names)) == sorted(names)


REVISION = re.compile(r'^(revision|down_revision) = "?(\w+)"?$', re.M)


def broken_chain(texts: Iterable[str]) -> list[str]:
    """Revisions of migrations that do not follow the one numbered before them."""
    found = [dict(REVISION.findall(text)) for text in texts]
    pairs = sorted((each["revision"], each["down_revision"]) for each in found)
    expected = [(f"{n:04}", f"{n - 1:04}" if n > 1 else "None") for n in range(1, len(pairs) + 1)]
    return [
        f"{pair[0]} follows {pair[1]}" for pair, right in zip(pairs, expected, strict=True) if pair != right
    ]


def test_when_migrations_are_listed_then_each_follows_the_one_before(root: Path) -> None:
    files = sorted((root / "cluster/database/migrations/versions").glob("*.py"))
    assert broken_chain(file.read_text() for file in files if file.name != "__init__.py") == []


def test_when_two_migrations_have_the_same_number_then_the_check_names_it() -> None:
    texts = [
        f'revision = "{n}"\ndown_revision = {before}\n' for n, before in (("0001", None), ("0002", '"0001"'))
    ]
    assert broken_chain(texts) == []
    assert broken_chain([*texts, 'revision = "0002"\ndown_revision = "0001"\n']) == ["0002 follows 0001"]
