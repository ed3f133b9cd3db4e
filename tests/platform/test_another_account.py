"""Another account of the same machine reads no folder of the platform, reaches no port from afar, submits nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cluster.data_layout import DataLayout
from cluster.local import processes
from cluster.local.processes import Platform
from tests.platform.live import Live

grpc = pytest.importorskip("grpc")
NOBODY = 65534
LISTEN = "0A"
VISIT = """
import json, os, sys, urllib.error, urllib.request
folders, dashboard, ran = json.load(sys.stdin)
opened = []
for folder in folders:
    try:
        opened.append(os.listdir(folder))
    except PermissionError:
        pass
body = json.dumps({"entrypoint": f"touch {ran}"}).encode()
request = urllib.request.Request(dashboard + "/api/jobs/", body, {"Content-Type": "application/json"})
try:
    status = urllib.request.urlopen(request, timeout=10).status
except urllib.error.HTTPError as error:
    status = error.code
print(json.dumps({"uid": os.getuid(), "opened": opened, "status": status}))
"""
"""Program of another account: it lists the folders, and submits a job."""


@pytest.fixture(scope="module")
def platform(bare: Live) -> Platform:
    platform = processes.load(DataLayout(bare.folder))
    assert platform is not None
    return platform


def listening(instance: str) -> set[tuple[str, int]]:
    """(address in hexadecimal, port) of every socket on which a process of the platform listens."""
    inodes = set()
    for pid in processes.family(instance):
        for entry in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                inodes.add(str(entry.readlink()))
            except OSError:  # closed since
                continue
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            address, port = fields[1].split(":")
            if fields[3] == LISTEN and f"socket:[{fields[9]}]" in inodes:
                found.add((address, int(port, 16)))
    return found


def is_loopback(address: str) -> bool:
    """127.0.0.0/8, ::1 and ::ffff:127.0.0.0/104, as the kernel writes them."""
    mapped = address.startswith("0000000000000000FFFF0000")
    return address == "00000000000000000000000001000000" or (
        (len(address) == 8 or mapped) and address.endswith("7F")
    )


def refusal(port: int) -> str:
    """Return the status of a call without a token to a replica's own gRPC server."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/ray.serve.ASGIService/HandleRequest")
        with pytest.raises(grpc.RpcError) as refused:
            call(b"", timeout=20)
    return str(refused.value.code().name)


def test_when_the_platform_is_up_then_it_listens_on_the_loopback_and_the_rest_asks_for_the_token(
    platform: Platform,
) -> None:
    sockets = listening(platform.instance)
    ports = {port for _, port in sockets}
    assert {platform.port, platform.serve_port, int(platform.ray_address.rpartition(":")[2])} <= ports
    # Serve binds the servers between its replicas to every address, whatever it is told.
    elsewhere = {port for address, port in sockets if not is_loopback(address)}
    assert len(elsewhere) <= 4
    assert {refusal(port) for port in elsewhere} <= {"UNAUTHENTICATED"}


@pytest.mark.parametrize(
    ("address", "loopback"),
    [("0100007F", True), ("00000000", False), ("0201A8C0", False), ("0" * 32, False),
     ("00000000000000000000000001000000", True), ("0000000000000000FFFF00000100007F", True),
     ("0000000000000000FFFF00000201A8C0", False)],
)  # fmt: skip
def test_when_an_address_is_read_then_the_loopback_is_told_from_the_rest(
    address: str, loopback: bool
) -> None:
    assert is_loopback(address) is loopback


def test_when_another_account_comes_then_it_reads_no_folder_and_submits_no_job(
    bare: Live, platform: Platform, tmp_path: Path
) -> None:
    python = "/usr/bin/python3"
    if os.getuid() != 0 or shutil.which("setpriv") is None or not Path(python).exists():
        pytest.skip("only root acts as another account, with setpriv and a python that all may run")
    layout, ran = DataLayout(bare.folder), Path("/tmp") / f"quantis-ran-{os.getpid()}"
    sessions = Path(platform.ray_temp) / "ray" / "session_latest"
    assert (sessions / "logs").is_dir()
    folders = [
        platform.ray_temp,
        sessions / "logs",
        sessions / "sockets",
        layout.root,
        layout.logs,
        layout.run,
    ]
    visit = subprocess.run(
        ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", python, "-c", VISIT],
        input=json.dumps([[str(folder) for folder in folders], platform.ray_dashboard, str(ran)]),
        text=True, capture_output=True, cwd="/", timeout=60, check=True,
    )  # fmt: skip
    assert json.loads(visit.stdout) == {"uid": NOBODY, "opened": [], "status": 401}
    assert not ran.exists()


def test_when_the_folders_are_looked_at_then_they_are_their_owner_s_alone(
    bare: Live, platform: Platform
) -> None:
    for folder in (Path(platform.ray_temp), bare.folder):
        assert folder.stat().st_mode & 0o077 == 0, folder
