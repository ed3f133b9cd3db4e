"""Seals the audit event of every mutating call with its outcome, before the answer leaves."""

from __future__ import annotations

import asyncio
import logging

from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cluster.repositories.audit import AuditedCall, AuditTrail

log = logging.getLogger("quantis.audit")


class AuditMiddleware:
    """ASGI middleware. Events that it cannot seal are sealed by the reconciler as interrupted."""

    def __init__(self, app: ASGIApp, trail: AuditTrail) -> None:
        self._app = app
        self._trail = trail

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        response_started = False

        async def seal_and_send(message: Message) -> None:
            nonlocal response_started
            if message["type"] == "http.response.start":
                response_started = True
                call = scope.get("state", {}).get("audit")
                if call is not None:
                    await run_in_threadpool(self._seal, call, message["status"])
            await send(message)

        try:
            await self._app(scope, receive, seal_and_send)
        except BaseException as error:
            call = scope.get("state", {}).get("audit")
            if call is not None and not response_started:
                status = 504 if isinstance(error, asyncio.CancelledError) else getattr(error, "status", 500)
                asyncio.get_running_loop().run_in_executor(None, self._seal, call, status)
            raise

    def _seal(self, call: AuditedCall, status: int) -> None:
        try:
            event = self._trail.seal(call, status)
        except Exception:
            log.exception("an audit event could not be sealed; the sweeper will do it")
            return
        if event is not None:
            log.info("audited", extra={"seq": event.seq, "hash": event.hash, "outcome": event.outcome})
