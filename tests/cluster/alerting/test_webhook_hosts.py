from __future__ import annotations

import pytest

from cluster.alerting.webhook_hosts import WebhookHosts, parse_address
from quantis.errors import Forbidden, InvalidInput, Unavailable

PUBLIC = "93.184.216.34"
INSIDE = [
    "127.0.0.1", "127.8.8.8", "10.0.0.5", "172.16.1.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
    "224.0.0.1", "255.255.255.255", "192.0.2.1", "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2001:db8::1",
    "fd00:ec2::254",
]  # fmt: skip


def hosts(entries: str, **names: list[str]) -> WebhookHosts:
    """An operator's list, and a resolver of the names given (`_` stands for a dot)."""
    known = {name.replace("_", "."): addresses for name, addresses in names.items()}
    return WebhookHosts(entries, lambda host, port: known.get(host, []))


def test_when_nothing_is_allowed_then_the_refusal_names_the_setting():
    with pytest.raises(Forbidden, match="QUANTIS_WEBHOOK_HOSTS"):
        hosts("").check(parse_address("https://hooks.example.org/x"))


@pytest.mark.parametrize(
    ("entries", "url", "allowed"),
    [
        ("hooks.example.org", "https://hooks.example.org/x?token=1", True),
        ("Hooks.Example.org.", "https://HOOKS.example.org/x", True),
        ("hooks.example.org", "https://hooks.example.org./x", True),
        ("a.org, hooks.example.org", "http://hooks.example.org/x", True),
        ("hooks.example.org", "https://hooks.example.org:8443/x", False),
        ("hooks.example.org:8443", "https://hooks.example.org:8443/x", True),
        ("hooks.example.org:8443", "https://hooks.example.org/x", False),
        ("hooks.example.org", "https://evil.hooks.example.org/x", False),
        ("hooks.example.org", "https://hooks.example.org.evil.org/x", False),
        ("127.0.0.1:9000", "http://127.0.0.1:9000/x", True),
        ("127.0.0.1:9000", "http://127.0.0.1:8265/x", False),
        ("10.1.0.0/16", "https://10.1.2.3/x", True),
        ("10.1.0.0/16", "https://10.2.2.3/x", False),
        ("[::1]:9000", "http://[::1]:9000/x", True),
        ("::1", "https://[::1]/x", True),
        ("127.0.0.1", "http://127.1/x", False),
        ("127.0.0.1", "http://2130706433/x", False),
        ("127.0.0.1", "http://0x7f.0.0.1/x", False),
        ("127.0.0.1", "http://localhost/x", False),
    ],
)
def test_when_hosts_are_listed_then_only_they_with_their_ports_are_allowed(entries, url, allowed):
    list_of_hosts, address = hosts(entries), parse_address(url)
    if allowed:
        list_of_hosts.check(address)
    else:
        with pytest.raises(Forbidden, match="QUANTIS_WEBHOOK_HOSTS"):
            list_of_hosts.check(address)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://hooks.example.org/", "file:///etc/passwd", "gopher://hooks.example.org/", "//hooks.example.org/x",
        "https://", "https:///x", "hooks.example.org", "https://user@hooks.example.org/", "https://hooks.example.org/#x",
        "https://hooks.example.org:0/", "https://hooks.example.org:99999/", "https://hooks.example.org:x/",
        "https://hooks.example.org\\@evil.org/", "https://hooks.example.org/a b", "https://hooks.example.org/\r\nX: 1",
        "https://[::1/", "https://höoks.example.org/", "https://evil.org@hooks.example.org/",
    ],
)  # fmt: skip
def test_when_an_address_is_not_plainly_one_then_it_is_refused(url):
    with pytest.raises((InvalidInput, Forbidden)):
        hosts("hooks.example.org").check(parse_address(url))


@pytest.mark.parametrize("address", INSIDE)
def test_when_an_allowed_name_resolves_to_the_inside_then_it_is_refused(address):
    url = parse_address("https://hooks.example.org/x")
    with pytest.raises(Forbidden, match="this machine or of a private"):
        hosts("hooks.example.org", hooks_example_org=[address]).resolve(url)


def test_when_a_name_resolves_to_both_sides_then_only_the_checked_addresses_are_connected_to():
    url = parse_address("https://hooks.example.org/x")
    both = [PUBLIC, "127.0.0.1", "2606:2800:220:1:248:1893:25c8:1946"]
    assert hosts("hooks.example.org", hooks_example_org=both).resolve(url) == [both[0], both[2]]


def test_when_the_operator_lists_the_inner_address_too_then_it_is_reached_on_that_port_alone():
    allowed = hosts("alerts.internal:8443, 10.0.0.0/8, alerts.internal", alerts_internal=["10.0.0.5"])
    assert allowed.resolve(parse_address("https://alerts.internal/x")) == ["10.0.0.5"]
    with pytest.raises(Forbidden, match="private"):
        allowed.resolve(parse_address("https://alerts.internal:8443/x"))
    opened = hosts("alerts.internal:8443, 10.0.0.5:8443", alerts_internal=["10.0.0.5"])
    assert opened.resolve(parse_address("https://alerts.internal:8443/x")) == ["10.0.0.5"]


def test_when_a_name_has_no_address_then_it_may_have_one_later():
    with pytest.raises(Unavailable, match="is the name right"):
        hosts("hooks.example.org").resolve(parse_address("https://hooks.example.org/x"))


@pytest.mark.parametrize(
    "entry", ["*.example.org", "user@host", "10.0.0.0/99", "host/path", "https://host", "[::1", ":80"]
)
def test_when_the_operator_s_list_is_wrong_then_the_platform_says_so(entry):
    with pytest.raises(InvalidInput, match="QUANTIS_WEBHOOK_HOSTS"):
        WebhookHosts(f"hooks.slack.com, {entry}")


def test_when_an_address_is_shown_then_its_token_is_not():
    shown = parse_address("https://hooks.slack.com/services/T0/B0/xyz?token=q").redacted
    assert shown == "https://hooks.slack.com/..."
    assert parse_address("http://[::1]:9000/secret").redacted == "http://[::1]:9000/..."
