"""A small OpenID provider for tests: discovery, keys that rotate, authorization codes with PKCE.

`POST /next` says what is wrong with the next identity token, if anything.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import sys
import time
from typing import Any
from urllib.parse import urlencode

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import FastAPI, Form, HTTPException
from fastapi.responses import RedirectResponse
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

CLIENT_ID, CLIENT_SECRET = "quantis-test", "the-issuer-knows-this-too"


def application(issuer: str) -> FastAPI:
    app = FastAPI()
    keys: dict[str, tuple[str, Any]] = {"one": ("RS256", rsa.generate_private_key(65537, 2048))}
    codes: dict[str, dict[str, str]] = {}
    wanted: dict[str, Any] = {"user": {"sub": "subject-1", "preferred_username": "ann"}}

    @app.get("/.well-known/openid-configuration")
    def configuration() -> dict[str, str]:
        return {
            "issuer": wanted.get("issuer", issuer),
            "authorization_endpoint": f"{issuer}/authorize",
            "token_endpoint": f"{issuer}/token",
            "jwks_uri": f"{issuer}/keys",
        }

    @app.get("/keys")
    def public() -> dict[str, Any]:
        kinds: dict[str, type[RSAAlgorithm | ECAlgorithm]] = {"RS256": RSAAlgorithm, "ES256": ECAlgorithm}
        found = []
        for kid, (algorithm, key) in keys.items():
            jwk = kinds[algorithm].to_jwk(key.public_key(), as_dict=True)
            found.append({**jwk, "kid": kid, "use": "sig", "alg": algorithm})
        return {"keys": found}

    @app.post("/next")
    def following(body: dict[str, Any]) -> None:
        wanted.clear()
        wanted.update({"user": {"sub": "subject-1", "preferred_username": "ann"}} | body)
        if "rotate" in body:
            keys.clear()
            algorithm = body["rotate"]
            made = (
                ec.generate_private_key(ec.SECP256R1())
                if algorithm == "ES256"
                else rsa.generate_private_key(65537, 2048)
            )
            keys[secrets.token_hex(4)] = (algorithm, made)

    @app.get("/authorize")
    def authorize(
        client_id: str, redirect_uri: str, state: str, nonce: str, code_challenge: str,
        code_challenge_method: str, response_type: str, scope: str,
    ) -> RedirectResponse:  # fmt: skip
        if (client_id, code_challenge_method, response_type) != (CLIENT_ID, "S256", "code"):
            raise HTTPException(400)
        if "openid" not in scope.split() or min(len(state), len(nonce), len(code_challenge)) < 43:
            raise HTTPException(400)
        code = secrets.token_urlsafe(16)
        codes[code] = {"redirect_uri": redirect_uri, "nonce": nonce, "challenge": code_challenge}
        return RedirectResponse(f"{redirect_uri}?{urlencode({'code': code, 'state': state})}", 302)

    @app.post("/token")
    def token(
        grant_type: str = Form(), code: str = Form(), redirect_uri: str = Form(), client_id: str = Form(),
        client_secret: str = Form(), code_verifier: str = Form(),
    ) -> dict[str, Any]:  # fmt: skip
        found = codes.pop(code, None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(code_verifier.encode()).digest()).rstrip(b"=")
        if (
            found is None
            or grant_type != "authorization_code"
            or (client_id, client_secret) != (CLIENT_ID, CLIENT_SECRET)
            or redirect_uri != found["redirect_uri"]
            or challenge.decode() != found["challenge"]
        ):
            raise HTTPException(400)
        now = int(time.time())
        claims = {"iss": issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": found["nonce"]}
        claims |= wanted["user"] | wanted.get("claims", {})
        claims = {name: value for name, value in claims.items() if value != "absent"}
        return {"access_token": "x", "token_type": "Bearer", "id_token": _signed(claims, keys, wanted)}

    return app


def _signed(claims: dict[str, Any], keys: dict[str, tuple[str, Any]], wanted: dict[str, Any]) -> str:
    kid, (algorithm, key) = next(iter(keys.items()))
    headers = {"kid": kid, **wanted.get("header", {})}
    forged = wanted.get("forge")
    if forged is None:
        return jwt.encode(claims, key, algorithm=algorithm, headers=headers)
    head = _part({"alg": "none" if forged == "none" else "HS256", "typ": "JWT", **headers})
    text = f"{head}.{_part(claims)}"
    if forged == "none":
        return f"{text}."
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return f"{text}.{_encoded(hmac.digest(public, text.encode(), 'sha256'))}"


def _part(value: dict[str, Any]) -> str:
    return _encoded(json.dumps(value).encode())


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


if __name__ == "__main__":
    port = int(sys.argv[1])
    uvicorn.run(application(f"http://127.0.0.1:{port}"), host="127.0.0.1", port=port, log_level="warning")
