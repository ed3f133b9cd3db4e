from __future__ import annotations

import shutil

from cluster.model_ops.lineage import lineage
from cluster.settings import application_root
from quantis import __version__


def test_when_lineage_is_asked_for_then_code_lock_and_libraries_are_named():
    found = lineage(application_root())
    assert found.code_version.startswith(__version__)
    assert found.libraries["numpy"].count(".") == 2
    assert found.environment_hash is not None
    assert len(found.code_hash) == len(found.environment_hash) == 64
    assert lineage(application_root()).code_hash == found.code_hash


def test_when_a_source_changes_then_the_hash_of_the_code_does(tmp_path):
    for name in ("one", "two", "same"):
        (tmp_path / name / "models").mkdir(parents=True)
        (tmp_path / name / "models" / "a.py").write_text("x = 2\n" if name == "two" else "x = 1\n")
    one, two, same = (lineage(tmp_path / name) for name in ("one", "two", "same"))
    assert one.code_hash == same.code_hash != two.code_hash
    assert (one.environment_hash, one.code_version) == (None, __version__)


def test_when_the_checkout_has_a_commit_then_it_is_named(tmp_path):
    git = tmp_path / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "refs" / "heads" / "main").write_text("0123456789abcdef\n")
    assert lineage(tmp_path).code_version == f"{__version__} (0123456789ab)"
    shutil.rmtree(git / "refs")
    (git / "packed-refs").write_text("# pack-refs\nfedcba9876543210 refs/heads/main\n")
    assert lineage(tmp_path).code_version == f"{__version__} (fedcba987654)"
    (git / "HEAD").write_text("aaaabbbbccccdddd\n")
    assert lineage(tmp_path).code_version == f"{__version__} (aaaabbbbcccc)"
