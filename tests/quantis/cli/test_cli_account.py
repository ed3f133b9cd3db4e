"""Signing in on the command line."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from quantis.testing import FakeApi, serving
from quantis.types.accounts import Role
from tests.quantis.cli.conftest import PASSWORD, USER, finished, start


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n")
    return path


def test_when_signed_in_with_a_password_file_then_later_commands_know_who(
    quantis: Any, server: str, password_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "config" / "credentials.json").unlink()
    assert quantis("whoami").code == 3
    done = quantis("login", "--user", USER, "--password-file", str(password_file))
    assert (done.code, done.out) == (0, "")
    assert f"as {USER} (admin)" in done.err
    assert quantis("whoami", "--json").json["user_name"] == USER


def test_when_the_password_comes_by_stdin_then_it_is_read_from_there(
    quantis: Any, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(PASSWORD + "\n"))
    assert quantis("login", "--user", USER, "--password-file", "-", "--json").json["user_name"] == USER


def test_when_the_demos_login_file_is_named_then_it_holds_both(
    quantis: Any, server: str, tmp_path: Path
) -> None:
    path = tmp_path / "demo-login.json"
    path.write_text(json.dumps({"user_name": USER, "password": PASSWORD}))
    assert quantis("login", "--login-file", str(path), "--json").json["user_name"] == USER
    path.write_text(json.dumps({"user_name": USER}))
    done = quantis("login", "--login-file", str(path))
    assert done.code == 2
    assert "password" in done.err


def test_when_the_setup_secret_is_at_hand_then_one_becomes_the_first_admin(
    quantis: Any, tmp_path: Path
) -> None:
    new = FakeApi()
    (tmp_path / "secret").write_text(new.accounts.setup_secret + "\n")
    (tmp_path / "password").write_text(PASSWORD)
    arguments = ("login", "--user", "first", "--password-file", str(tmp_path / "password"))
    with serving(new) as url:
        assert quantis(*arguments, "--url", url).code == 3
        done = quantis(*arguments, "--setup-secret", str(tmp_path / "secret"), "--url", url, "--json")
        assert done.json["role"] == "admin"
        assert quantis(*arguments, "--setup-secret", str(tmp_path / "secret"), "--url", url).code == 4
        assert quantis("whoami", "--url", url, "--json").json["user_name"] == "first"


def test_when_the_password_is_wrong_then_code_3_and_it_is_not_repeated(
    quantis: Any, server: str, tmp_path: Path
) -> None:
    path = tmp_path / "wrong"
    path.write_text("wrong-wrong-wrong")
    done = quantis("login", "--user", USER, "--password-file", str(path))
    assert done.code == 3
    assert "wrong-wrong-wrong" not in done.err + done.out


def test_when_there_is_no_terminal_then_no_question_is_asked(server: str) -> None:
    done = finished(start("login", "--user", USER, stdin=-3), timeout=120)
    assert done.code == 2
    assert "--password-file" in done.err


def test_when_not_signed_in_then_the_remedy_is_named(quantis: Any, server: str, tmp_path: Path) -> None:
    (tmp_path / "config" / "credentials.json").unlink()
    done = quantis("data", "ls")
    assert done.code == 3
    assert "quantis login" in done.err
    assert done.err.count("\n") == 1


def test_when_the_role_is_too_low_then_code_3(quantis: Any, server: str, api: FakeApi, csv: Path) -> None:
    api.add_user("vic", PASSWORD, Role.viewer)
    path = csv.with_name("password")
    path.write_text(PASSWORD)
    quantis("login", "--user", "vic", "--password-file", str(path))
    done = quantis("data", "push", "hourly", str(csv), "--json")
    assert (done.code, done.json["error"]["code"]) == (3, "forbidden")


def test_when_signed_out_then_nobody_is_signed_in(quantis: Any, server: str) -> None:
    assert quantis("logout").code == 0
    assert quantis("whoami").code == 3


def test_when_the_password_would_cross_the_network_in_the_clear_then_a_warning(
    quantis: Any, tmp_path: Path
) -> None:
    path = tmp_path / "password"
    path.write_text(PASSWORD)
    done = quantis("login", "--user", USER, "--password-file", str(path), "--url", "http://host.invalid:1")
    assert "not https" in done.err
    assert done.code == 5
