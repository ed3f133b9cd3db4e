"""Sign-in at an OpenID provider: discovery, authorization code with PKCE, and the provider's keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx

from cluster.settings import Settings
from quantis.errors import InvalidInput, Unauthenticated, Unavailable
from serve.security import tokens

CALLBACK = "/v1/oauth/oidc/callback"
KEYS_SECONDS, NEW_KEYS_SECONDS = 3600.0, 10.0
_MAX_RESPONSE_BYTES = 256 * 1024
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


@dataclass(frozen=True)
class AuthorizationRequest:
    """A sign-in under way: the values that the browser keeps until it comes back."""

    state: str
    nonce: str
    verifier: str

    def text(self) -> str:
        return ".".join((self.state, self.nonce, self.verifier))

    @classmethod
    def read(cls, text: str) -> AuthorizationRequest:
        parts = text.split(".")
        if len(parts) != 3 or not all(re.fullmatch(r"[A-Za-z0-9_-]{43}", part) for part in parts):
            raise Unauthenticated("no sign-in was begun in this browser; begin again")
        return cls(*parts)


@dataclass(frozen=True)
class ExternalIdentity:
    issuer: str
    subject: str
    name: str


class OidcProvider:
    def __init__(self, issuer: str, client_id: str, client_secret: str | None, public_url: str) -> None:
        self._issuer = _check_https(issuer, "QUANTIS_OIDC_ISSUER")
        self._client_id, self._client_secret = client_id, client_secret
        self._callback = _check_https(public_url, "QUANTIS_PUBLIC_URL").rstrip("/") + CALLBACK
        self._lock = threading.Lock()
        self._document: dict[str, Any] = {}
        self._keys: list[dict[str, Any]] = []
        self._read_at = float("-inf")

    @classmethod
    def from_settings(cls, settings: Settings) -> OidcProvider | None:
        """Return the configured provider, if any; InvalidInput when its settings are not complete."""
        if settings.oidc_issuer is None:
            return None
        if not settings.oidc_client_id or not settings.public_url:
            raise InvalidInput(
                "QUANTIS_OIDC_ISSUER needs QUANTIS_OIDC_CLIENT_ID and QUANTIS_PUBLIC_URL beside it"
            )
        secret = settings.secret("oidc_client_secret")
        return cls(settings.oidc_issuer, settings.oidc_client_id, secret, settings.public_url)

    def begin(self, prompt: str | None = None) -> tuple[str, AuthorizationRequest]:
        """Return the address to send the browser to, and the request that it keeps meanwhile.

        `prompt="login"` has the provider authenticate somebody anew who is signed in there already.
        """
        login = AuthorizationRequest(*(secrets.token_urlsafe(32) for _ in range(3)))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(login.verifier.encode()).digest()).rstrip(b"=")
        parameters = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._callback,
            "scope": "openid profile email",
            "state": login.state,
            "nonce": login.nonce,
            "code_challenge": challenge.decode(),
            "code_challenge_method": "S256",
        } | ({"prompt": prompt} if prompt else {})
        address = str(self._discover()["authorization_endpoint"])
        return f"{address}{'&' if '?' in address else '?'}{urlencode(parameters)}", login

    def finish(self, login: AuthorizationRequest, state: str, code: str) -> ExternalIdentity:
        """Return the identity behind a code; Unauthenticated when anything about it does not fit."""
        if not hmac.compare_digest(login.state.encode(), state.encode(errors="replace")):
            raise Unauthenticated("this is not the sign-in that was begun in this browser; begin again")
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._callback,
            "client_id": self._client_id,
            "code_verifier": login.verifier,
        }
        if self._client_secret:
            form["client_secret"] = self._client_secret
        response = _fetch_json("POST", str(self._discover()["token_endpoint"]), form)
        token = response.get("id_token")
        if not isinstance(token, str):
            raise Unauthenticated("the identity provider did not say who signed in; begin again")
        keys = self._keys_for(tokens.key_name(token))
        claims = tokens.read_identity(token, keys, self._issuer, self._client_id, login.nonce)
        return ExternalIdentity(self._issuer, claims["sub"], _user_name(claims))

    def _discover(self) -> dict[str, Any]:
        with self._lock:
            if time.monotonic() - self._read_at > KEYS_SECONDS:
                self._read()
            return self._document

    def _keys_for(self, kid: str | None) -> list[dict[str, Any]]:
        """Return the provider's keys, read again for an unknown key, since providers rotate them."""
        with self._lock:
            is_known = any(key.get("kid") == kid for key in self._keys)
            if not is_known and time.monotonic() - self._read_at > NEW_KEYS_SECONDS:
                self._read()
            return self._keys

    def _read(self) -> None:
        document = _fetch_json("GET", self._issuer.rstrip("/") + "/.well-known/openid-configuration")
        if document.get("issuer") != self._issuer:
            raise Unavailable("the identity provider calls itself by another name than QUANTIS_OIDC_ISSUER")
        for name in _ENDPOINTS:
            _check_https(str(document.get(name)), name)
        keys = _fetch_json("GET", str(document["jwks_uri"])).get("keys")
        self._keys = [key for key in keys if isinstance(key, dict)] if isinstance(keys, list) else []
        self._document, self._read_at = document, time.monotonic()


def _check_https(url: str, name: str) -> str:
    """Return an https address, or one of this machine; InvalidInput otherwise."""
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not (parts.scheme == "https" and parts.hostname) and not local:
        raise InvalidInput(f"{name} is {url[:200]!r}; it must be an https address")
    return url


def _fetch_json(method: str, url: str, form: dict[str, str] | None = None) -> dict[str, Any]:
    try:
        with httpx.stream(method, url, data=form, timeout=5.0, follow_redirects=False) as response:
            body = b""
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > _MAX_RESPONSE_BYTES:
                    raise Unavailable("the identity provider's answer is too long")
            if form is not None and 400 <= response.status_code < 500:
                raise Unauthenticated("the identity provider refused the sign-in; begin again")
            response.raise_for_status()
            document = httpx.Response(200, content=body).json()
    except (httpx.HTTPError, ValueError) as error:
        raise Unavailable("the identity provider does not answer as it should; try again later") from error
    if not isinstance(document, dict):
        raise Unavailable("the identity provider does not answer as it should; try again later")
    return document


def _user_name(claims: dict[str, Any]) -> str:
    """Make a user name of the provider's claims."""
    claimed = claims.get("preferred_username") or claims.get("email") or "user"
    name = re.sub(r"[^a-z0-9_-]+", "-", str(claimed).partition("@")[0].lower()).strip("-_")[:63]
    return name if re.match(r"[a-z]", name) else f"u-{name}"[:63]
