"""Requests to the platform: address, token, retries, and errors as values of the tree."""

from __future__ import annotations

import json
import random
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from quantis import settings
from quantis.client.access import Access
from quantis.client.bodies import UploadBody
from quantis.client.problems import error_from_response, is_foreign_failure, is_problem
from quantis.errors import (
    InvalidInput,
    NotFound,
    QuantisError,
    ReauthenticationRequired,
    SecondFactorRequired,
    TimedOut,
    Unavailable,
)
from quantis.types.accounts import REAUTHENTICATION_HEADER, ReauthenticationToken, TokenResponse
from quantis.version import __version__

T = TypeVar("T")

RETRY_STATUS = frozenset({429, 502, 503, 504})
MAX_RETRY_DELAY, MAX_BACKOFF = 20.0, 5.0  # s, as the server asks for it and by ourselves
OUTAGE_SECONDS = 60.0
"""Seconds of pauses for which a server that was there may be away, as while it restarts."""


@dataclass(frozen=True)
class Request:
    """A call.

    `repeatable`: a POST that does no more when it is sent twice. `single_attempt`: the caller makes the next attempt.
    """

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    json: str | None = None
    form: dict[str, str] | None = None
    body: UploadBody | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = False
    signed: bool = True
    single_attempt: bool = False

    @property
    def may_repeat(self) -> bool:
        """True where sending it again after a failure does no more than sending it once (RFC 9110, 9.2.2)."""
        return (self.repeatable or self.method in ("GET", "PUT", "DELETE")) and not self.single_attempt


class Connection:
    def __init__(
        self,
        url: str,
        access: Access,
        *,
        transport: httpx.BaseTransport | None = None,
        timeout: float = 60.0,
        retries: int = 3,
    ) -> None:
        self.url, self.access = url, access
        self._reauthentication, self._reauthenticated_until = "", 0.0
        self._retries, self._has_answered = retries, False
        self._http = httpx.Client(
            base_url=_parse_url(url),
            transport=transport,
            verify=_load_ca_file(settings.ca_file()),
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0)),
            headers={"User-Agent": f"quantis/{__version__}"},
        )

    def close(self) -> None:
        self._http.close()

    def read(self, kind: type[T], request: Request) -> T:
        """Send a request and parse the answer; fields that this client does not know yet are left out."""
        response = self.send(request)
        try:
            return TypeAdapter(kind).validate_json(response.content, extra="ignore")
        except ValidationError as error:
            raise Unavailable(
                f"{request.method} {self.url}{request.path} answered what is no {kind.__name__}; is this address "
                "a Quantis server, and of this client's version?"
            ) from error

    def send(self, request: Request) -> httpx.Response:
        """Send a request and return the whole answer; raises the error that it stands for.

        What is safe to repeat is sent again after a lost connection and an answer that may be another one next
        time: some times, or for as long as a server may be away that was there or says when to try again.
        """
        attempts = _Attempts(0 if request.single_attempt else self._retries)
        while True:
            try:
                response = self._send_with_token(request)
            except httpx.TransportError as error:
                is_safe = request.may_repeat or isinstance(error, httpx.ConnectError)
                is_outage = self._has_answered and not isinstance(error, httpx.TimeoutException)
                if is_safe and attempts.pause(is_outage=is_outage):
                    continue
                raise self._transport_error(error) from error
            if request.may_repeat and self._pause_after(response, attempts):
                continue
            self._has_answered = self._has_answered or response.is_success or is_problem(response)
            if response.is_success:
                return response
            raise _final_error(request, response, attempts.made)

    def _pause_after(self, response: httpx.Response, attempts: _Attempts) -> bool:
        """Pause if the answer may be another one next time; False if not, or where no attempt is left."""
        if response.is_success:
            return False
        retry_after = response.headers.get("Retry-After")
        if is_foreign_failure(response):
            return attempts.pause(retry_after, is_outage=self._has_answered)
        if response.status_code not in RETRY_STATUS:
            return False
        return attempts.pause(retry_after, is_outage=response.status_code == 503 and retry_after is not None)

    def reauthenticate(self, password: str, otp: str | None = None) -> None:
        """Give the password again; calls that hand out credentials are let through for some minutes."""
        body = json.dumps({"password": password} | ({"otp": otp} if otp else {}))
        path = "/v1/users/me/reauthentication"
        reauthentication = self.read(ReauthenticationToken, Request("POST", path, json=body))
        self._reauthentication = reauthentication.token
        self._reauthenticated_until = time.monotonic() + reauthentication.expires_in

    @contextmanager
    def stream(self, request: Request, *, read_timeout: float) -> Iterator[httpx.Response]:
        """Yield an answer that is read as it comes; one attempt."""
        try:
            token = self._bearer(request)
            response = self._open_stream(request, token, read_timeout)
            if response.status_code == 401 and self.access.renew(token, self._request_token):
                response.close()
                response = self._open_stream(request, self._bearer(request), read_timeout)
            try:
                if not response.is_success:
                    response.read()
                    raise error_from_response(response)
                yield response
            finally:
                response.close()
        except httpx.TransportError as error:
            raise self._transport_error(error) from error

    def _open_stream(self, request: Request, token: str | None, read_timeout: float) -> httpx.Response:
        timeout = httpx.Timeout(10.0, read=read_timeout)
        return self._http.send(
            self._build_request(request, token, request.json, timeout=timeout), stream=True
        )

    def _send_with_token(self, request: Request) -> httpx.Response:
        token = self._bearer(request)
        response = self._send_attempt(request, token)
        if request.signed and _is_token_refused(response) and self.access.renew(token, self._request_token):
            response = self._send_attempt(request, self._bearer(request))
        if (
            request.signed
            and _asks_for_password(response)
            and self._reauthenticate_by_known_password(request)
        ):
            response = self._send_attempt(request, self._bearer(request))
        return response

    def _reauthenticate_by_known_password(self, request: Request) -> bool:
        """Give the password again that this client signed in with; False where there is none."""
        password = self.access.password
        if password is None or request.path.endswith("/reauthentication"):
            return False
        self.reauthenticate(password)
        return True

    def _send_attempt(self, request: Request, token: str | None) -> httpx.Response:
        content = request.body.open() if request.body else request.json
        try:
            return self._http.send(self._build_request(request, token, content))
        finally:
            if not isinstance(content, bytes | str | None):
                content.close()

    def _bearer(self, request: Request) -> str | None:
        return self.access.bearer(self._request_token) if request.signed else None

    def _request_token(self, form: dict[str, str]) -> TokenResponse:
        is_password = form["grant_type"] == "password" and "otp" not in form  # the others work once
        request = Request("POST", "/v1/oauth/token", form=form, signed=False, repeatable=is_password)
        return self.read(TokenResponse, request)

    def _build_request(
        self, request: Request, token: str | None, content: bytes | str | IO[bytes] | None, **extra: Any
    ) -> httpx.Request:
        headers = dict(request.headers)
        if token:
            headers["Authorization"] = f"Bearer {token}"
            if request.method != "GET" and time.monotonic() < self._reauthenticated_until:
                headers[REAUTHENTICATION_HEADER] = self._reauthentication
        if request.json is not None:
            headers["Content-Type"] = "application/json"
        if request.body is not None:
            headers["Content-Type"] = request.body.media_type
        return self._http.build_request(
            request.method,
            request.path,
            params={key: value for key, value in request.params.items() if value is not None},
            content=content,
            data=request.form,
            headers=headers,
            **extra,
        )

    def _transport_error(self, error: httpx.TransportError) -> Unavailable | TimedOut:
        if isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout):
            return TimedOut(f"{self.url} did not answer in time; ask again, or give a longer timeout")
        reason = str(error) or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            return Unavailable(
                f"the certificate of {self.url} is of nobody whom this machine trusts ({reason}); "
                "name the file of its CA in QUANTIS_CA_FILE"
            )
        return Unavailable(
            f"cannot reach Quantis at {self.url} ({reason}); start it with `quantis up`, "
            "or set QUANTIS_URL to where it runs"
        )


def _is_token_refused(response: httpx.Response) -> bool:
    """Return True for a 401 that another access token may cure; a missing code of a second factor is none."""
    return response.status_code == 401 and not isinstance(error_from_response(response), SecondFactorRequired)


def _asks_for_password(response: httpx.Response) -> bool:
    return response.status_code == 403 and isinstance(error_from_response(response), ReauthenticationRequired)


def _load_ca_file(ca_file: str | None) -> ssl.SSLContext | bool:
    """Load the certificates of a CA file; InvalidInput when it holds none."""
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # an SSLError is one
        raise InvalidInput(f"{ca_file} holds no certificates (PEM): {error}; see QUANTIS_CA_FILE") from None


def _parse_url(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise InvalidInput(f"server address {url!r} is not a URL ({error}); write http://host:port") from None
    if not parsed.host:
        raise InvalidInput(f"server address {url!r} is not a URL (no host); write http://host:port")
    return parsed


def _final_error(request: Request, response: httpx.Response, attempts_before: int) -> QuantisError:
    error = error_from_response(response)
    if request.method == "DELETE" and isinstance(error, NotFound) and attempts_before:
        error.add_note("an attempt before, whose answer was lost, may have deleted it")
    return error


class _Attempts:
    """Attempts at one request: so many more, and further ones while an outage lasts."""

    def __init__(self, retries: int) -> None:
        self._retries, self._slept = retries, 0.0
        self.made = 0
        """Number of attempts that failed."""

    def pause(self, retry_after: str | None = None, *, is_outage: bool) -> bool:
        """Sleep until the next attempt; False at once where none is left."""
        delay = _retry_delay(self.made, retry_after)
        waits_on = is_outage and self._retries > 0 and self._slept + delay <= OUTAGE_SECONDS
        if self.made >= self._retries and not waits_on:
            return False
        time.sleep(delay)
        self.made, self._slept = self.made + 1, self._slept + delay
        return True


def _retry_delay(attempt: int, retry_after: str | None = None) -> float:
    """Return the seconds before the next attempt: as the server asks for, else random up to 0.25, 0.5, 1 ... s."""
    if retry_after is not None and retry_after.isdecimal():
        return min(float(retry_after), MAX_RETRY_DELAY)
    return random.uniform(0.05, min(MAX_BACKOFF, 0.25 * 2**attempt))  # noqa: S311  # nosec B311
