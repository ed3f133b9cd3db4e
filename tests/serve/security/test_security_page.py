"""docs/security.md keeps its word: every test that it names exists, and no requirement is left out."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cluster.database.tables import Base

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "security.md").read_text()
NUMBER = re.compile(r"\b(\d{1,2}\.\d{1,2}\.\d{1,2})\b")

# OWASP ASVS 5.0, levels 1 and 2: per section the numbers within it.
SECTIONS = """
1.1 1-2|1.2 1-9|1.3 1-11|1.4 1-3|1.5 1-2|2.1 1-3|2.2 1-3|2.3 1-4|2.4 1|3.2 1-2|3.3 1-4|3.4 1-6|3.5 1-5|3.7 1-2
4.1 1-3|4.2 1|4.3 1-2|4.4 1-4|5.1 1|5.2 1-3|5.3 1-2|5.4 1-3|6.1 1-3|6.2 1-11|6.3 1-3|6.4 1-4|6.5 1-5|6.6 1-3|6.8 1-3
7.1 1-3|7.2 1-4|7.3 1-2|7.4 1-5|7.5 1-2|7.6 1-2|8.1 1-2|8.2 1-3|8.3 1|8.4 1|9.1 1-3|9.2 1-4|10.1 1-2|10.2 1-2
10.3 1-4|10.4 1-11|10.5 1-5|10.6 1-2|10.7 1-3|11.1 1-2|11.2 1-3|11.3 1-3|11.4 1-3|11.5 1|11.6 1|12.1 1-3|12.2 1-2
12.3 1-4|13.1 1|13.2 1-5|13.3 1-2|13.4 1-5|14.1 1-2|14.2 1-4|14.3 1-3|15.1 1-3|15.2 1-3|15.3 1-7
16.1 1|16.2 1-5|16.3 1-4|16.4 1-3|16.5 1-3
"""


def required() -> list[str]:
    found = []
    for entry in SECTIONS.replace("\n", "|").strip("|").split("|"):
        section, _, numbers = entry.partition(" ")
        first, _, last = numbers.partition("-")
        found += [f"{section}.{number}" for number in range(int(first), int(last or first) + 1)]
    return found


def part(title: str) -> str:
    return PAGE.partition(f"{title}\n")[2].partition("\n#")[0]


def test_when_the_page_names_a_test_then_that_test_is_there() -> None:
    named = re.findall(r"`((?:tests|web)/[\w/.-]+)(?:::(\w+))?`", PAGE)
    assert len(named) > 150
    gone = [
        f"{file}::{name}"
        for file, name in named
        if not (ROOT / file).is_file() or (name and f"def {name}(" not in (ROOT / file).read_text())
    ]
    assert gone == []


def test_when_requirements_are_counted_then_each_of_levels_1_and_2_stands_once() -> None:
    rows = {title: part(f"### {title}").splitlines()[2:] for title in ("Shown", "Not applicable", "Open")}
    stated = [
        number for lines in rows.values() for line in lines for number in NUMBER.findall(line.split("|")[1])
    ]
    assert sorted(stated) == sorted(required())
    unproven = [line for line in rows["Shown"] if line and not re.search(r"`(tests|web)/", line)]
    assert unproven == []


def test_when_data_are_kept_then_the_page_says_of_what_level_they_are() -> None:
    levels = PAGE.partition("**Levels of data**")[2].partition("\n#")[0]
    assert re.findall(r"^\| (\w+) \|", levels, re.M)[1:] == ["secret", "personal", "confidential", "internal"]
    named = set(re.findall(r"`(\w+)`", levels))
    assert set(Base.metadata.tables) - named == set(), "a table without a level"
    assert all(row.rstrip(" |").rpartition("|")[2].strip() for row in levels.splitlines() if row[:1] == "|")


def test_when_the_top_ten_of_apis_are_counted_then_each_has_a_test() -> None:
    rows = [
        line for line in part("## OWASP API Security Top 10, 2023").splitlines() if line.startswith("| API")
    ]
    assert [row.split()[1] for row in rows] == [f"API{number}" for number in range(1, 11)]
    assert all("`tests/" in row for row in rows)


@pytest.mark.parametrize("name", ["lock.txt", "dev.txt", "bench.txt"])
def test_when_a_lock_is_read_then_every_package_has_a_version_and_hashes_and_no_address(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text()
    entries = re.split(r"\n(?=\S)", text.strip())
    assert len(entries) > 20
    loose = [
        e.split()[0]
        for e in entries
        if not re.match(r"[\w.\[\]-]+==[\w.!+-]+", e) or "--hash=sha256:" not in e
    ]
    assert loose == []
    assert "://" not in text


def test_when_the_sbom_is_made_then_it_lists_what_is_locked() -> None:
    locked = set(re.findall(r"^([\w.-]+)==", (ROOT / "requirements" / "lock.txt").read_text(), re.M))
    command = re.search(r"^sbom:.*\n(?:\t.*\n)+", (ROOT / "Makefile").read_text(), re.M)
    assert command
    assert "cyclonedx-py requirements" in command[0]
    assert "npm sbom --sbom-format cyclonedx" in command[0]
    done = subprocess.run(
        [str(ROOT / ".venv/bin/cyclonedx-py"), "requirements", "--output-reproducible", "requirements/lock.txt"],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    bill = json.loads(done.stdout)
    assert bill["bomFormat"] == "CycloneDX"
    assert {one["name"] for one in bill["components"]} == locked
    assert all(one["version"] for one in bill["components"])


def test_when_the_product_is_scanned_then_bandit_finds_nothing() -> None:
    bandit = shutil.which("bandit", path=str(ROOT / ".venv/bin"))
    assert bandit
    folders = ["quantis", "features", "models", "monitoring", "cluster", "jobs", "serve"]
    done = subprocess.run(
        [bandit, "-q", "-c", "pyproject.toml", "-r", *folders, "-f", "json"],
        cwd=ROOT, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    found = json.loads(done.stdout)["results"]
    assert [f"{one['filename']}:{one['line_number']} {one['test_id']}" for one in found] == []
