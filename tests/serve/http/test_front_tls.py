"""HTTPS with a certificate of a CA made here: who may speak to it, how, and where plain HTTP is sent."""

from __future__ import annotations

import datetime
import ssl
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cluster.local import haproxy
from cluster.local.haproxy import HAProxyConfig
from quantis import Client
from quantis.errors import Forbidden, InvalidInput, Unavailable
from tests.serve import fronted
from tests.serve.api_under_test import PASSWORD


@pytest.fixture(scope="module")
def papers(tmp_path_factory) -> Path:
    """A folder with ca.pem, cert.pem and key.pem."""
    folder = tmp_path_factory.mktemp("papers")
    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = signed("Test CA", authority, "Test CA", authority, ca=True)
    (folder / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    cert = signed("localhost", key, "Test CA", authority, ca=False)
    (folder / "cert.pem").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    for name, one in (("key.pem", key), ("other.pem", ec.generate_private_key(ec.SECP256R1()))):
        text = one.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / name).write_bytes(text)
    return folder


def signed(subject, key, issuer, authority, *, ca):
    def name(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    return (
        x509.CertificateBuilder()
        .subject_name(name(subject)).issuer_name(name(issuer)).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(authority, hashes.SHA256())
    )  # fmt: skip


@pytest.fixture(scope="module")
def door(module_world, papers):
    with fronted.opened(
        module_world.app, module_world.settings, papers / "cert.pem", papers / "key.pem"
    ) as found:
        yield found


@pytest.fixture(scope="module")
def trust(papers) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(papers / "ca.pem"))


def test_when_a_browser_comes_by_http_then_it_is_sent_to_https_with_its_path(door):
    answer = httpx.get(f"http://127.0.0.1:{door.port}/jobs?state=RUNNING")
    assert answer.status_code == 308
    assert answer.headers["location"] == f"https://127.0.0.1:{door.tls_port}/jobs?state=RUNNING"
    for method, path in (
        ("POST", "/v1/oauth/token"),
        ("GET", "/v1/datasets"),
        ("GET", "/%76%31/jobs"),
        ("PUT", "/"),
    ):
        refused = httpx.request(method, f"http://127.0.0.1:{door.port}{path}")
        assert refused.status_code == 403
        assert f"use https on port {door.tls_port}" in refused.json()["detail"]
    for host in (b"evil.example/x", b"a b", b"x%0d%0aX-Evil:1", b"<script>"):
        said = door.say(b"GET / HTTP/1.1\r\nHost: " + host + b"\r\n\r\n", wait=2)
        assert b" 400 " in said, (host, said)


def test_when_https_answers_then_it_says_so_for_a_year_and_plain_http_does_not(door, trust):
    with httpx.Client(verify=trust, base_url=f"https://localhost:{door.tls_port}") as client:
        for path in ("/healthz", "/v1/datasets", "/-/routes", "/nowhere"):
            answer = client.get(path)
            assert answer.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "server" not in answer.headers
    assert "strict-transport-security" not in httpx.get(f"http://127.0.0.1:{door.port}/").headers


def test_when_a_tls_version_is_old_then_there_is_no_handshake(door, papers):
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        old = ssl.create_default_context(cafile=str(papers / "ca.pem"))
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.minimum_version = old.maximum_version = version
        with pytest.raises(ssl.SSLError), door.connection(tls=old):
            pass
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        new = ssl.create_default_context(cafile=str(papers / "ca.pem"))
        new.minimum_version = new.maximum_version = version
        with door.connection(tls=new) as raw:
            assert raw.version() == version.name.replace("_", ".").replace("TLSv1.", "TLSv1.")


def test_when_the_handshake_stalls_or_is_noise_then_others_are_served(door, trust):
    asked = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    idle = replace(door, port=door.tls_port)
    with idle.connection() as stalled:
        stalled.sendall(b"\x16\x03\x01\x02\x00")
        idle.say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", wait=2)
        assert b" 200 " in door.say(asked, tls=trust)


def test_when_the_client_knows_the_ca_then_it_works_and_else_it_says_what_to_set(door, papers, monkeypatch):
    url = f"https://localhost:{door.tls_port}"
    monkeypatch.setenv("QUANTIS_CA_FILE", str(papers / "ca.pem"))
    with Client(url, user="viewer", password=PASSWORD) as client:
        assert client.me().user_name == "viewer"
    with (
        Client(f"http://127.0.0.1:{door.port}", user="viewer", password=PASSWORD) as client,
        pytest.raises(Forbidden, match=f"use https on port {door.tls_port}"),
    ):
        client.me()
    monkeypatch.setenv("QUANTIS_CA_FILE", str(papers / "key.pem"))
    with pytest.raises(InvalidInput, match="holds no certificates"):
        Client(url, token="x")
    monkeypatch.delenv("QUANTIS_CA_FILE")
    with (
        Client(url, user="viewer", password=PASSWORD, retries=0) as client,
        pytest.raises(Unavailable, match="QUANTIS_CA_FILE"),
    ):
        client.me()


@pytest.mark.parametrize(
    ("cert", "key", "said"),
    [
        ("cert.pem", None, "needs its key"), (None, "key.pem", "needs its key"),
        ("cert.pem", "none.pem", "can be read"),
        ("cert.pem", "other.pem", "not a certificate and its private key"),
        ("key.pem", "cert.pem", "not a certificate and its private key"),
    ],
)  # fmt: skip
def test_when_certificate_and_key_do_not_fit_then_nothing_starts_and_the_reason_is_said(
    module_world, papers, cert, key, said
):
    given = {"tls_cert": papers / cert if cert else None, "tls_key": papers / key if key else None}
    settings = module_world.settings.model_copy(update=given)
    settings.data_layout.prepare()
    with pytest.raises(InvalidInput, match=said):
        haproxy.start(settings, HAProxyConfig("127.0.0.1", 1, 2, 1, 3), {})
