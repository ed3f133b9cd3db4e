"""Addresses that webhooks may go to: hosts that an operator listed, resolved and checked before each call.

An entry of QUANTIS_WEBHOOK_HOSTS is a host, an address or a network, each with a port where it is not the scheme's own:
`hooks.slack.com`, `alerts.internal:8443`, `10.1.0.0/16`. A listed name opens public addresses alone. One that resolves
to an address of this machine or of a private network is reached only where that address is listed too, so that whoever
rules a name cannot point it at the platform's inside (server-side request forgery).
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from quantis.errors import Forbidden, InvalidInput, Unavailable
from quantis.reading.limits import printable

SCHEME_PORTS = {"https": 443, "http": 80}
_NAT64 = IPv6Network("64:ff9b::/96")
_IPAddress = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Sequence[str]]


@dataclass(frozen=True)
class WebhookAddress:
    """A webhook's address, taken apart; `port` is the scheme's own where none was written."""

    url: str
    scheme: str
    host: str
    port: int
    path: str

    @property
    def redacted(self) -> str:
        """Return what may be shown: the path and the query may be a token."""
        port = "" if self.port == SCHEME_PORTS[self.scheme] else f":{self.port}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}{port}/..."


def parse_address(url: str) -> WebhookAddress:
    """Take a webhook's address apart; InvalidInput unless it is plainly one."""
    if not url.isprintable() or not url.isascii() or any(mark in url for mark in " \\"):
        raise InvalidInput(
            "the address holds spaces, backslashes or letters beyond ASCII; write it percent-encoded"
        )
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        raise InvalidInput("the address is none; write https://host/path") from None
    if parts.scheme not in SCHEME_PORTS or not host:
        raise InvalidInput(
            "the address of a webhook is https://host/path, or http:// within one's own network"
        )
    if "@" in parts.netloc or parts.fragment:
        raise InvalidInput("the address of a webhook has no user, password or fragment; take them away")
    if port == 0:
        raise InvalidInput("the address has port 0, which none is; write another one")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return WebhookAddress(url, parts.scheme, host.rstrip("."), port or SCHEME_PORTS[parts.scheme], path)


class WebhookHosts:
    """The list of an operator."""

    def __init__(self, entries: str, resolve: Resolve | None = None) -> None:
        self._entries = [_Entry.parse(text) for text in map(str.strip, entries.split(",")) if text]
        self._resolve = resolve or _resolve

    def check(self, address: WebhookAddress) -> None:
        """Raise Forbidden unless the operator listed the host; it is not resolved yet."""
        if not self._entries:
            raise Forbidden(
                "no webhook may be called from here; an operator sets QUANTIS_WEBHOOK_HOSTS to allow hosts"
            )
        literal = _literal(address.host)
        if not any(entry.allows(address, literal) for entry in self._entries):
            raise Forbidden(
                f"{printable(address.redacted)} is no host that webhooks may go to; "
                "an operator adds it, with its port, to QUANTIS_WEBHOOK_HOSTS"
            )

    def resolve(self, address: WebhookAddress) -> list[str]:
        """Return the addresses that may be connected to; Forbidden where the host has none, Unavailable without any.

        Connect to one of these and to nothing else: a name may resolve otherwise a moment later.
        """
        self.check(address)
        literal = _literal(address.host)
        resolved = [str(literal)] if literal else self._resolve(address.host, address.port)
        if not resolved:
            raise Unavailable(
                f"the host of {printable(address.redacted)} has no address now; is the name right?"
            )
        reachable = [
            text for text in resolved if self._may_reach(ip_address(text.partition("%")[0]), address.port)
        ]
        if not reachable:
            raise Forbidden(
                f"the host of {printable(address.redacted)} resolves to an address of this machine or of a private "
                "network, which webhooks may not reach; an operator lists the address in QUANTIS_WEBHOOK_HOSTS"
            )
        return reachable

    def _may_reach(self, address: _IPAddress, port: int) -> bool:
        if any(entry.lists(address, port) for entry in self._entries):
            return True
        return all(part.is_global and not part.is_multicast for part in _embedded(address))


@dataclass(frozen=True)
class _Entry:
    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> _Entry:
        host, port = text, None
        if "/" not in text and (text.count(":") == 1 or text.startswith("[")):
            try:
                parts = urlsplit(f"//{text}")
                host, port = parts.hostname or "", parts.port
            except ValueError:
                host = ""
        host = host.lower().rstrip(".")
        if not host or any(mark in host for mark in "*@?# ") or ("/" in host and _network(host) is None):
            raise InvalidInput(
                f"QUANTIS_WEBHOOK_HOSTS holds {text!r}; write a host, an address or a network, such as "
                "hooks.slack.com, 10.0.0.5:8080 or 10.1.0.0/16, with commas between several"
            )
        return cls(host, port)

    def allows(self, address: WebhookAddress, literal: _IPAddress | None) -> bool:
        """Return True for an address with this host and port; without a port only the scheme's own will do."""
        if literal is not None:
            return self.lists(literal, address.port)
        return address.host == self.host and address.port == self._port_for(address)

    def lists(self, address: _IPAddress, port: int) -> bool:
        """Return True if the operator wrote down this very address, or a network that holds it."""
        network = _network(self.host)
        if network is None or address not in network:
            return False
        return port == self.port or (self.port is None and port in SCHEME_PORTS.values())

    def _port_for(self, address: WebhookAddress) -> int:
        return SCHEME_PORTS[address.scheme] if self.port is None else self.port


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _literal(host: str) -> _IPAddress | None:
    """Return the address that a host is written as; a name, or a number that a resolver might take for one, is none."""
    try:
        return ip_address(host)
    except ValueError:
        return None


def _embedded(address: _IPAddress) -> list[_IPAddress]:
    """Return an address and those of IPv4 that it stands for: mapped, 6to4, Teredo, NAT64."""
    if isinstance(address, IPv4Address):
        return [address]
    inner: list[IPv4Address | None] = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _NAT64:
        inner.append(IPv4Address(int(address) & 0xFFFFFFFF))
    parts = [part for part in inner if part is not None]
    return [*parts] if address.ipv4_mapped else [address, *parts]


def _resolve(host: str, port: int) -> list[str]:
    try:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []
    return list(dict.fromkeys(str(entry[4][0]) for entry in entries))
