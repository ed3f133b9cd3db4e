from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from cluster import settings as settings_module
from cluster.data_layout import DataLayout
from cluster.settings import (
    MINIMUM_SECRET,
    Settings,
    application_root,
    child_environment,
    ray_environment,
    ray_submission_id,
)
from quantis.errors import InvalidInput
from quantis.files import write_atomic

STRONG = "the strong one: 0123456789abcdef"
MOUNTED = "0123456789" * 4


@pytest.fixture
def settings(tmp_path):
    found = Settings(data_dir=tmp_path / "data")
    found.data_layout.prepare()
    return found


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


# Secrets


@pytest.mark.parametrize(
    "weak", [None, "", "short", "x" * (MINIMUM_SECRET - 1), "changeme" * 8, "   " + "x" * 20 + "   \n" * 5]
)
def test_when_the_token_secret_is_missing_or_weak_then_the_refusal_names_it_and_the_remedy(
    settings, monkeypatch, weak
):
    if weak is not None:
        settings.secret_path("jwt-secret").write_text(weak)
    with pytest.raises(InvalidInput) as raised:
        settings.token_secrets()
    for part in ("token secret", "QUANTIS_JWT_SECRET", "jwt-secret", "QUANTIS_SECRETS_DIR", "openssl rand"):
        assert part in raised.value.message
    if weak and weak.strip():
        assert weak.strip() not in raised.value.message
    monkeypatch.setenv("QUANTIS_JWT_SECRET", "weak")
    with pytest.raises(InvalidInput, match=f"4 characters and needs {MINIMUM_SECRET}"):
        Settings(data_dir=settings.data_dir).token_secrets()


def test_when_secrets_are_given_in_several_places_then_the_environment_goes_first(
    settings, monkeypatch, tmp_path
):
    made = settings.make_secret("jwt-secret")
    assert settings.token_secrets() == (made.encode(),)
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    (mounted / "jwt-secret").write_text(MOUNTED + "\n")
    monkeypatch.setenv("QUANTIS_SECRETS_DIR", str(mounted))
    assert Settings(data_dir=settings.data_dir).token_secrets() == (MOUNTED.encode(),)
    monkeypatch.setenv("QUANTIS_JWT_SECRET", STRONG)
    found = Settings(data_dir=settings.data_dir)
    assert found.token_secrets() == (STRONG.encode(),)
    assert STRONG not in repr(found)
    assert STRONG not in found.model_dump_json()


def test_when_a_secret_is_made_then_it_is_private_long_and_made_once(settings):
    first = settings.make_secret("ray-token")
    assert len(first) == 64
    assert settings.make_secret("ray-token") == first
    assert settings.make_secret("setup-secret") != first
    assert mode(settings.secret_path("ray-token")) == 0o600
    assert mode(settings.data_layout.secrets) == 0o700


# Settings


def test_when_nothing_is_set_then_everything_lies_in_the_data_folder(settings):
    folder = settings.data_dir.resolve()
    assert settings.sql_url == f"sqlite:///{folder}/quantis.db"
    assert settings.tracking_uri == f"sqlite:///{folder}/mlflow.db"
    assert Settings().data_dir == application_root() / ".quantis"
    assert (application_root() / "cluster" / "settings.py").exists()


def test_when_the_environment_says_otherwise_then_it_counts(monkeypatch):
    monkeypatch.setenv("QUANTIS_DATABASE_URL", "postgresql+psycopg://x@y/z")
    monkeypatch.setenv("QUANTIS_PORT", "9000")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:6379")
    monkeypatch.setenv("QUANTIS_NOT_A_SETTING", "1")
    found = Settings()
    assert (found.sql_url, found.port, found.ray_address) == (
        "postgresql+psycopg://x@y/z",
        9000,
        "127.0.0.1:6379",
    )
    monkeypatch.setenv("QUANTIS_RAY_ADDRESS", "10.0.0.1:1")
    assert Settings().ray_address == "10.0.0.1:1"


@pytest.mark.parametrize(
    ("name", "value"), [("PORT", "0"), ("PORT", "70000"), ("PORT", "x"), ("POLICY", "nobody"), ("CPUS", "0")]
)
def test_when_a_setting_makes_no_sense_then_it_is_refused_by_name(monkeypatch, name, value):
    monkeypatch.setenv(f"QUANTIS_{name}", value)
    with pytest.raises(ValidationError, match=name.lower()):
        Settings()


def test_when_children_start_then_foreign_ray_and_python_settings_stay_behind(settings, monkeypatch):
    for name in ("RAY_ADDRESS", "RAY_AUTH_TOKEN", "PYTHONPATH", "PYTHONSTARTUP", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "foreign")
    monkeypatch.setenv("QUANTIS_JWT_SECRET", STRONG)
    monkeypatch.setenv("QUANTIS_PORT", "1")
    monkeypatch.setenv("HOME", "/home/me")
    own = settings.model_copy(update={"port": 8123, "instance": "mark", "webhook_hosts": "127.0.0.1:9"})
    found = child_environment(own, {**ray_environment(own), "QUANTIS_RAY_ADDRESS": "127.0.0.1:1"})
    assert "foreign" not in found.values()
    assert found["HOME"] == "/home/me"
    assert found["QUANTIS_JWT_SECRET"] == STRONG
    assert (found["QUANTIS_PORT"], found["QUANTIS_INSTANCE"], found["QUANTIS_RAY_ADDRESS"]) == (
        "8123",
        "mark",
        "127.0.0.1:1",
    )
    assert found["QUANTIS_WEBHOOK_HOSTS"] == "127.0.0.1:9"
    assert found["QUANTIS_DATA_DIR"] == str(settings.data_layout.root)
    assert found["PYTHONPATH"] == str(application_root())
    assert found["RAY_AUTH_MODE"] == "token"
    assert found["RAY_AUTH_TOKEN_PATH"] == str(settings.secret_path("ray-token"))
    assert found["PROMETHEUS_MULTIPROC_DIR"] == str(settings.data_layout.metrics)


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, None), ("", None), ('{"metadata": {"job_submission_id": "quantis-1"}}', "quantis-1"), ("{}", None),
     ('{"metadata": {}}', None), ('{"metadata": {"job_submission_id": 7}}', None)],
)  # fmt: skip
def test_when_a_process_is_a_ray_job_s_driver_then_it_knows_its_submission(monkeypatch, text, expected):
    if text is not None:
        monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", text)
    assert ray_submission_id() == expected


# The data folder


def test_when_the_data_folder_is_prepared_then_nobody_else_may_enter_and_nothing_is_lost(tmp_path):
    data_layout = DataLayout(tmp_path / "a" / "b")
    data_layout.prepare()
    (data_layout.logs / "kept").write_text("x")
    data_layout.root.chmod(0o755)
    data_layout.prepare()
    for folder in (
        data_layout.root,
        data_layout.secrets,
        data_layout.run,
        data_layout.logs,
        data_layout.metrics,
        data_layout.artifacts,
    ):
        assert mode(folder) == 0o700
    assert (data_layout.logs / "kept").read_text() == "x"


def test_when_a_path_is_of_a_team_then_the_team_is_in_it(tmp_path):
    data_layout = DataLayout(tmp_path)
    for make in (data_layout.dataset, data_layout.features):
        assert make("red", "x").relative_to(tmp_path).parts[:2] == ("teams", "red")
        assert make("red", "x") != make("blue", "x")
    assert "red" in data_layout.vintages("red").parts


def test_when_a_secret_is_written_then_it_is_private_from_the_start_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        write_atomic(tmp_path / "secret", "one")
    finally:
        os.umask(before)
    assert mode(tmp_path / "secret") == 0o600
    (tmp_path / "secret").chmod(0o644)
    write_atomic(tmp_path / "secret", "two")
    assert (tmp_path / "secret").read_text() == "two"
    assert mode(tmp_path / "secret") == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["secret"]


def test_when_writing_breaks_then_the_old_content_stays_whole(tmp_path, monkeypatch):
    write_atomic(tmp_path / "secret", "old")

    def full(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr("quantis.files.os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        write_atomic(tmp_path / "secret", "new" * 1000)
    assert (tmp_path / "secret").read_text() == "old"


def test_when_a_link_stands_where_the_secret_goes_then_its_target_is_not_written(tmp_path):
    target = tmp_path / "target"
    target.write_text("untouched")
    Path(tmp_path / "secret").symlink_to(target)
    write_atomic(tmp_path / "secret", "new")
    assert target.read_text() == "untouched"
    assert not (tmp_path / "secret").is_symlink()


@pytest.mark.parametrize(
    "secret",
    ["change-me-change-me-change-me-12345678", "CHANGEME_0123456789abcdefghijklmnop",
     "your-256-bit-secret-0123456789abcd", "replace-this-with-a-long-random-text-42",
     "example-token-key-0123456789-abcdefgh", "$(openssl rand -hex 32) $(openssl)",
     "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7", "django-insecure-x7#k2(q9w!m4$v8&z1^r5*t3",
     "Password1234567890password0987654321", "quantis-token-key-20240131-k9x2m4v7z",
     "super-secret-key-for-signing-tokens-01", "abcdefghijklmnopqrstuvwxyz0123456789"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["jwt_secret", "encryption_key"])
def test_when_a_secret_is_one_of_an_example_then_it_is_refused_with_the_remedy(tmp_path, name, secret):
    settings = Settings.model_validate({"data_dir": tmp_path, name: SecretStr(secret)})
    with pytest.raises(InvalidInput, match=r"known to all; set QUANTIS_.*openssl rand -hex 32"):
        settings.token_secrets() if name == "jwt_secret" else settings.encryption_keys()


def test_when_secrets_are_random_then_none_is_taken_for_an_example():
    for _ in range(2000):
        for text in (secrets.token_hex(32), secrets.token_urlsafe(32)):
            assert settings_module._check_strength(text, "jwt_secret") == text.encode()


@pytest.mark.parametrize(
    ("name", "value"),
    [("access_token_seconds", 3601), ("access_token_seconds", 10**9), ("refresh_token_days", 91),
     ("session_days", 366)],
)  # fmt: skip
def test_when_tokens_would_live_for_ever_then_the_setting_is_refused_by_name(monkeypatch, name, value):
    monkeypatch.setenv(f"QUANTIS_{name.upper()}", str(value))
    with pytest.raises(ValidationError, match=name):
        Settings()
