"""Keys, sessions, users, approvals and the audit trail from the command line, on the platform's own API."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pyotp
import pytest
import uvicorn
from sqlalchemy import update

from cluster.database.engine import Database
from cluster.database.tables import AuditEventRow, UserRow
from cluster.local.processes import free_ports
from cluster.ray.submission import FakeJobs
from cluster.repositories.accounts import UserAccounts
from cluster.settings import Settings
from quantis.client import Client
from quantis.errors import ReauthenticationRequired, SecondFactorRequired
from quantis.types.accounts import Role
from quantis.types.approvals import AliasChange, Policy
from quantis.types.registry import HeadToHead, Traffic
from serve.api.application import create_app
from serve.services import Services
from tests.serve.api_under_test import MakesNothingAgain

PASSWORD = "correct horse battery"


@pytest.fixture
def mine(tmp_path: Path) -> tuple[str, str]:
    """The option with the admin's own password."""
    (tmp_path / "mine").write_text(PASSWORD)
    return "--my-password-file", str(tmp_path / "mine")


class Nobody(MakesNothingAgain):
    async def forecast(self, team, ref, request):
        raise NotImplementedError


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """A platform on a port; `root` is its admin and is signed in."""
    settings = Settings(data_dir=tmp_path / "data", web_dist=tmp_path / "none")
    settings.data_layout.prepare()
    for name in ("jwt-secret", "encryption-key"):
        settings.make_secret(name)
    database = Database(settings.sql_url)
    database.migrate()
    UserAccounts(database).create("default", "root", PASSWORD, Role.admin)
    services = Services(settings, database, Nobody(), FakeJobs())
    (port,) = free_ports(1)
    config = uvicorn.Config(
        create_app(services), host="127.0.0.1", port=port, log_level="error", lifespan="off"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    monkeypatch.setenv("QUANTIS_URL", f"http://127.0.0.1:{port}")
    with Client() as client:
        client.login("root", PASSWORD, save=True)
    yield services
    server.should_exit = True
    thread.join(60)
    database.close()


def test_when_a_key_is_made_then_it_works_from_the_environment_until_it_is_revoked(
    platform, quantis, monkeypatch, tmp_path, mine
):
    made = quantis("keys", "create", "nightly", "--scope", "read", "--days", "7", "--json", *mine).json
    monkeypatch.setenv("QUANTIS_CONFIG_DIR", str(tmp_path / "elsewhere"))
    assert quantis("whoami").code == 3
    monkeypatch.setenv("QUANTIS_API_KEY", made["key"])
    assert quantis("whoami", "--json").json["user_name"] == "root"
    done = quantis("users", "ls")
    assert (done.code, "only a person" in done.err) == (3, True)
    monkeypatch.delenv("QUANTIS_API_KEY")
    monkeypatch.setenv("QUANTIS_CONFIG_DIR", str(tmp_path / "config"))
    shown = quantis("keys", "ls").out
    assert "nightly" in shown
    assert made["key"] not in shown
    assert "is revoked" in quantis("keys", "revoke", made["id"]).err
    assert "revoked" in quantis("keys", "ls").out
    monkeypatch.setenv("QUANTIS_API_KEY", made["key"])
    assert quantis("whoami").code == 3


def test_when_one_signs_in_with_a_key_then_later_commands_use_it(
    platform, quantis, tmp_path, monkeypatch, mine
):
    key = quantis("keys", "create", "laptop", "--json", *mine).json["key"]
    monkeypatch.setenv("QUANTIS_CONFIG_DIR", str(tmp_path / "another"))
    (tmp_path / "key").write_text(key + "\n")
    done = quantis("login", "--api-key-file", str(tmp_path / "key"))
    assert (done.code, "signed in" in done.err, key in done.err) == (0, True, False)
    assert quantis("whoami", "--json").json["user_name"] == "root"
    (tmp_path / "key").write_text("qk_wrong\n")
    assert quantis("login", "--api-key-file", str(tmp_path / "key")).code == 3
    assert quantis("whoami", "--json").json["user_name"] == "root"
    assert quantis("logout").code == 0
    assert quantis("whoami").code == 3


def test_when_a_second_factor_is_on_then_the_login_asks_for_its_code(
    platform, quantis, tmp_path, monkeypatch
):
    user = platform.accounts.all("default")[0]
    secret = platform.second_factors.begin(user.id).secret
    platform.second_factors.confirm(user.id, pyotp.TOTP(secret).at(int(time.time()) - 30))
    (tmp_path / "password").write_text(PASSWORD)
    login = ("login", "--user", "root", "--password-file", str(tmp_path / "password"))
    done = quantis(*login)
    assert (done.code, "no terminal to ask" in done.err) == (2, True)
    monkeypatch.setattr("quantis.cli.account._prompt", lambda label, **more: pyotp.TOTP(secret).now())
    assert quantis(*login).code == 0


def test_when_sessions_are_listed_then_the_others_can_be_ended(platform, quantis):
    with Client(user="root", password=PASSWORD) as other:
        other.me()
        assert quantis("sessions", "ls").out.count("quantis/") == 2
        assert quantis("sessions", "end", "--others").code == 0
        assert len(quantis("sessions", "ls", "--json").json["items"]) == 1
    assert quantis("sessions", "end").code == 2
    assert quantis("sessions", "end", "unknown").code == 4


def test_when_users_are_managed_then_the_list_says_so(platform, quantis, tmp_path, mine):
    (tmp_path / "password").write_text("another long password")
    made = quantis(
        "users", "create", "ann", "--password-file", str(tmp_path / "password"), "--role", "analyst", *mine
    )
    assert "ann can sign in as analyst" in made.err
    assert "ml_engineer, active" in quantis("users", "change", "ann", "--role", "ml_engineer", *mine).err
    assert "disabled" in quantis("users", "change", "ann", "--disable", *mine).err
    assert "disabled" in quantis("users", "ls").out
    assert quantis("users", "change", "ann").code == 2
    assert quantis("users", "change", "nobody", "--enable").code == 4


def test_when_only_the_stored_login_is_there_then_it_makes_no_credentials(
    platform, quantis, monkeypatch, tmp_path, mine
):
    done = quantis("keys", "create", "nightly")
    assert (done.code, "--my-password-file" in done.err) == (2, True)
    (tmp_path / "wrong").write_text("wrong password")
    done = quantis("keys", "create", "nightly", "--my-password-file", str(tmp_path / "wrong"))
    assert (done.code, "the password or the code is wrong" in done.err) == (3, True)
    assert quantis("keys", "ls", "--json").json["items"] == []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.prompt", lambda label, **options: PASSWORD)
    assert quantis("keys", "create", "nightly").code == 0


def test_when_the_client_has_the_password_then_it_gives_it_again_by_itself(platform):
    with Client(user="root", password=PASSWORD) as client:
        assert client.create_api_key("nightly").name == "nightly"
    with Client() as client:  # from the stored login
        with pytest.raises(ReauthenticationRequired, match="reauthentication"):
            client.create_api_key("weekly")
        with pytest.raises(ReauthenticationRequired, match="wrong"):
            client.reauthenticate("wrong password")
        client.reauthenticate(PASSWORD)
        assert client.create_api_key("weekly").name == "weekly"
        user = client.me()
    secret = platform.second_factors.begin(user.id).secret
    platform.second_factors.confirm(user.id, pyotp.TOTP(secret).now())
    with platform.database.write() as session:  # as if half a minute had passed: a code works once
        session.execute(update(UserRow).values(totp_step=0))
    with Client() as client:
        with pytest.raises(SecondFactorRequired):
            client.reauthenticate(PASSWORD)
        client.reauthenticate(PASSWORD, otp=pyotp.TOTP(secret).now())
        assert client.create_api_key("monthly").name == "monthly"


def test_when_the_trail_is_whole_then_verify_says_so_and_names_what_was_altered(platform, quantis, mine):
    quantis("keys", "create", "one", *mine)
    listed = quantis("audit", "ls", "--action", "api-keys", "--json").json["items"]
    made = [(one["actor"], one["outcome"], one["status"]) for one in listed]
    assert made == [("root", "done", 201), ("root", "refused", 403)]
    assert "POST" in quantis("audit", "ls").out
    done = quantis("audit", "verify")
    assert (done.code, "none altered" in done.err, done.out.startswith("head")) == (0, True, True)
    with platform.database.write() as session:
        session.execute(update(AuditEventRow).where(AuditEventRow.seq == 1).values(actor="somebody"))
    done = quantis("audit", "verify")
    assert (done.code, "event 1 was altered" in done.err) == (1, True)
    assert quantis("audit", "verify", "--json").json["first_altered"] == 1


def test_when_somebody_asked_for_a_change_then_the_list_shows_it_and_one_can_refuse(platform, quantis):
    assert "nothing waits" in quantis("approvals", "ls").err
    change = AliasChange(alias="champion", version=2, instead_of=1)
    request = platform.approvals.request("default", "demand", "ann", change)
    assert "champion: version 1 to 2" in quantis("approvals", "ls").out
    assert "refused: demand" in quantis("approvals", "refuse", request.id).err
    own = platform.approvals.request("default", "demand", "root", change)
    done = quantis("approvals", "approve", own.id)
    assert (done.code, "another person must approve" in done.err) == (3, True)
    assert "withdrawn" in quantis("approvals", "refuse", own.id).err
    assert quantis("approvals", "ls", "--all").out.count("demand") == 2


def test_when_the_two_versions_were_compared_then_the_list_of_requests_says_how_they_did(platform, quantis):
    row = HeadToHead(
        challenger=2, incumbent=1, incumbent_family="theta", verdict="worse",
        reason="v2 has 2.4 times the error of v1",
    )  # fmt: skip
    change = AliasChange(alias="champion", version=2, instead_of=1, head_to_head=row)
    platform.approvals.request("default", "demand", "ann", change)
    assert "v2 has 2.4 times the error of v1" in quantis("approvals", "ls").err
    listed = quantis("approvals", "ls", "--json").json["items"]
    assert listed[0]["change"]["head_to_head"]["reason"] == row.reason


def test_when_the_client_administers_then_service_accounts_teams_and_usage_answer(platform):
    with Client() as client:
        client.reauthenticate(PASSWORD)
        account = client.create_service_account("etl", "analyst", ["read", "data"])
        assert account.client_secret.startswith("qs_")
        assert client.renew_client_secret(account.id).client_secret != account.client_secret
        assert [one.name for one in client.service_accounts()] == ["etl"]
        client.delete_service_account(account.id)
        assert client.service_accounts() == []
        team = client.create_team("rivals", "boss", "another long password")
        assert (team.name, team.users) == ("rivals", 1)
        assert (
            client.set_quota("rivals", team.quota.model_copy(update={"jobs_at_once": 3})).quota.jobs_at_once
            == 3
        )
        assert {one.name for one in client.teams()} == {"default", "rivals"}
        names = {one.name for one in client.usage().items}
        assert names == {
            "jobs_at_once",
            "jobs_waiting",
            "cpu_seconds",
            "gpu_seconds",
            "storage_mb",
            "requests_per_minute",
        }
    with Client(user="boss", password="another long password") as boss:
        assert boss.me().team == "rivals"


def test_when_traffic_is_divided_then_it_says_so_and_under_two_people_what_waits(
    platform, quantis, monkeypatch
) -> None:
    held = [Traffic()]

    def set_traffic(model, traffic):
        held.append(traffic)
        return traffic

    registry = platform.registry("default")
    monkeypatch.setattr(registry, "traffic", lambda model: held[-1])
    monkeypatch.setattr(registry, "check_traffic", lambda model, traffic: None)
    monkeypatch.setattr(registry, "set_traffic", set_traffic)
    assert "demand: champion 100 %" in quantis("models", "traffic", "demand").err
    assert "demand: version 4 10 %, champion 90 %" in quantis("models", "traffic", "demand", "4=10").err
    assert quantis("models", "traffic", "demand", "4:10").code == 2
    platform.approvals.set_policy("default", "demand", Policy.two_person)
    assert "waits for a second person" in quantis("models", "traffic", "demand", "--off").err
    assert "traffic: version 4 10 %, champion 90 % to champion 100 %" in quantis("approvals", "ls").out
    assert held[-1] != Traffic()
