"""The floor plan: few modules a folder, no module without a user, documentation that names what exists."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

MOST_MODULES = 16
MOST_IN_LISTS = 20
LISTS = frozenset({"cluster/repositories", "quantis/cli", "serve/api"})
"""Folders where each file is one noun of a list."""

MIGRATIONS = "cluster/database/migrations/"
WITHOUT_IMPORTER = {
    "features/rolling/state.py": "issue 19 puts it to use: the state of online features",
    "quantis/testing/__init__.py": "the package's public fakes, imported by users' tests",
}
TOP_FOLDERS = (
    "quantis|features|models|monitoring|cluster|jobs|serve|web|kuberay|terraform|tests|bench|docs|examples"
    "|requirements"
)
PATH = re.compile(rf"(?<![\w/.:-])((?:{TOP_FOLDERS})/[\w./*-]*\w)")
MODULE = re.compile(
    r"(?:`|python -m )((?:quantis|features|models|monitoring|cluster|jobs|serve|bench)(?:\.\w+)+)"
)
MADE_LATER = ("web/dist", "web/node_modules", "build")


def module_name(path: str) -> str:
    """Dotted name of a source file: `models/registry/bundle.py` -> models.registry.bundle."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def crowded_folders(paths: Iterable[str]) -> list[str]:
    modules = Counter(path.rpartition("/")[0] for path in paths if not path.endswith("__init__.py"))
    return [
        f"{folder}: {count} modules"
        for folder, count in sorted(modules.items())
        if count > (MOST_IN_LISTS if folder in LISTS else MOST_MODULES)
    ]


def test_when_modules_are_counted_then_no_folder_is_crowded(product: list[Any]) -> None:
    assert crowded_folders(source.path for source in product) == []


def test_when_a_folder_is_crowded_then_the_check_names_it() -> None:
    paths = [f"models/m{number}.py" for number in range(MOST_MODULES + 1)] + ["models/__init__.py"]
    assert crowded_folders(paths) == ["models: 17 modules"]
    assert crowded_folders(paths[1:]) == []
    assert crowded_folders(path.replace("models", "serve/api") for path in paths) == []


def names_used(source: Any) -> set[str]:
    """Dotted names that a source imports, reaches through imports, or holds as text (`pkg.module:Class`)."""
    names = {name for _, name in source.uses()}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value.partition(":")[0])
    return names


def has_main_guard(source: Any) -> bool:
    return any(isinstance(node, ast.If) and "__main__" in ast.unparse(node.test) for node in source.tree.body)


def unused_modules(sources: Iterable[Any]) -> list[str]:
    """Modules that no other module of the product imports or names, and that are not run by themselves."""
    sources = list(sources)
    used = {source.path: names_used(source) for source in sources}
    unused = []
    for source in sources:
        if (
            has_main_guard(source)
            or source.path.endswith("__main__.py")
            or source.path.startswith(MIGRATIONS)
        ):
            continue
        if source.path.endswith("__init__.py") and not source.tree.body:
            continue
        name = module_name(source.path)
        others = (names for path, names in used.items() if path != source.path)
        if not any(other == name or other.startswith(name + ".") for names in others for other in names):
            unused.append(source.path)
    return unused


def test_when_modules_are_listed_then_each_has_an_importer_or_is_run(product: list[Any]) -> None:
    assert set(unused_modules(product)) <= set(WITHOUT_IMPORTER)


def test_when_an_exception_is_named_then_it_is_still_needed(product: list[Any]) -> None:
    assert set(WITHOUT_IMPORTER) - set(unused_modules(product)) <= {"quantis/testing/__init__.py"}


def test_when_nobody_imports_a_module_then_the_check_names_it(parse: Any) -> None:
    lonely = parse("models/lonely.py", "import numpy\n")
    tests = {
        "from models import lonely\n": [],
        "import models.lonely as m\n": [],
        "from models.lonely import f\n": [],
        "FAMILY = 'models.lonely:Family'\n": [],
        "from models import lonelier\n": ["models/lonely.py"],
    }
    for text, expected in tests.items():
        user = parse("jobs/train.py", text + "if __name__ == '__main__':\n    pass\n")
        assert unused_modules([lonely, user]) == expected, text


def missing_paths(text: str, root: Path) -> list[str]:
    """Paths and modules that a text names and the tree does not have."""
    missing = []
    for path in dict.fromkeys(PATH.findall(text)):
        there = any(root.glob(path)) if "*" in path else (root / path).exists()
        if not there and not path.startswith(MADE_LATER):
            missing.append(path)
    for name in dict.fromkeys(MODULE.findall(text)):
        parts = name.split(".")
        shortest = 1 if parts[1][0].isupper() else 2  # `quantis.Client` is a name of the package itself
        candidates = ["/".join(parts[:length]) for length in range(len(parts), shortest - 1, -1)]
        if not any((root / f"{path}.py").exists() or (root / path).is_dir() for path in candidates):
            missing.append(name)
    return missing


def documents(root: Path) -> list[Path]:
    return [root / "README.md", root / "pyproject.toml", *sorted((root / "docs").rglob("*.md"))]


def test_when_documents_name_paths_then_they_exist(root: Path) -> None:
    missing = {path.name: missing_paths(path.read_text(), root) for path in documents(root)}
    assert {name: paths for name, paths in missing.items() if paths} == {}


def test_when_a_document_names_a_path_that_is_gone_then_the_check_says_so(root: Path) -> None:
    text = "see [x](docs/nowhere.md), `models/registry/bundle.py`, `python -m jobs.nothing`, `features/*/as_of.py`"
    assert missing_paths(text, root) == ["docs/nowhere.md", "jobs.nothing"]


FOLDER_LINE = re.compile(r"^\| `([\w/]+)/` \| (.*?) \| (.*?) \| (.*?) \|$", re.M)


def floor_plan(text: str) -> dict[str, set[str]]:
    """Modules by folder, as a floor plan in Markdown lists them."""
    return {folder: set(re.findall(r"\w+", modules)) for folder, modules, _, _ in FOLDER_LINE.findall(text)}


def folders_of(sources: Iterable[Any]) -> dict[str, set[str]]:
    folders: dict[str, set[str]] = {}
    for source in sources:
        folder, _, file = source.path.rpartition("/")
        if file not in ("__init__.py", "__main__.py") and not source.path.startswith(MIGRATIONS):
            folders.setdefault(folder, set()).add(file.removesuffix(".py"))
    return folders


def differences(plan: Mapping[str, set[str]], tree: Mapping[str, set[str]]) -> list[str]:
    lines = []
    for folder in sorted({*plan, *tree}):
        planned, there = plan.get(folder, set()), tree.get(folder, set())
        lines += [f"{folder}/{name}: not in the plan" for name in sorted(there - planned)]
        lines += [f"{folder}/{name}: not in the tree" for name in sorted(planned - there)]
    return lines


def test_when_the_floor_plan_is_read_then_it_equals_the_tree(product: list[Any], root: Path) -> None:
    text = (root / "docs" / "house.md").read_text()
    assert differences(floor_plan(text), folders_of(product)) == []
    assert all(lives and may_not for _, _, lives, may_not in FOLDER_LINE.findall(text))


def test_when_the_floor_plan_is_old_then_the_check_says_where(parse: Any) -> None:
    plan = floor_plan("| `models/` | arrays, gone | families | settings |\n")
    tree = folders_of(
        [parse("models/arrays.py", ""), parse("models/new.py", ""), parse("models/__init__.py", "")]
    )
    assert differences(plan, tree) == ["models/new: not in the plan", "models/gone: not in the tree"]


TYPES = ("datasets", "forecasts", "jobs", "job_specs", "job_results", "observations", "registry")
DOMAIN = (
    "quantis/panel.py",
    "quantis/frequency.py",
    "features/",
    "models/",
    "jobs/evaluation/",
    *(f"quantis/types/{name}.py" for name in TYPES),
)


def domain_classes(sources: Iterable[Any]) -> set[str]:
    """Public classes of the modules that hold the field's words."""
    return {
        node.name
        for source in sources
        if source.path.startswith(DOMAIN)
        for node in source.tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    }


def terms_of(text: str) -> set[str]:
    return set(re.findall(r"^\| `(\w+)` \|", text, re.M))


def test_when_the_glossary_is_read_then_it_lists_each_domain_class(product: list[Any], root: Path) -> None:
    classes = domain_classes(product)
    terms = terms_of((root / "docs" / "glossary.md").read_text())
    assert classes
    assert classes - terms == set()
    public = {n.name for source in product for n in ast.walk(source.tree) if isinstance(n, ast.ClassDef)}
    assert terms - public == set(), "the glossary's classes that are gone"


@pytest.mark.parametrize(("path", "listed"), [("models/new.py", False), ("serve/new.py", True)])
def test_when_a_domain_class_is_new_then_the_glossary_misses_it(parse: Any, path: str, listed: bool) -> None:
    classes = domain_classes([parse(path, "class Novelty:\n    pass\nclass _Private:\n    pass\n")])
    assert (classes - terms_of("| `Snapshot` | what was known |\n") == set()) is listed
