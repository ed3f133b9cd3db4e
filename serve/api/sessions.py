"""A user's own sessions: list and end them."""

from __future__ import annotations

from fastapi import APIRouter

from quantis.types.accounts import Session
from quantis.types.base import Id, Page
from serve.api.dependencies import AppServices, CurrentUser
from serve.api.strict_route import StrictRoute

router = APIRouter(prefix="/v1/users/me/sessions", tags=["accounts"], route_class=StrictRoute)


@router.get("")
def sessions(principal: CurrentUser, services: AppServices) -> Page[Session]:
    """List the caller's sessions, last used first."""
    return Page(items=services.sessions.for_user(principal.user_id, principal.credential))


@router.delete("", status_code=204)
def end_other_sessions(principal: CurrentUser, services: AppServices) -> None:
    """Sign out everywhere but here."""
    services.sessions.end_others(principal.user_id, principal.credential)
    services.authenticator.forget()


@router.delete("/{session_id}", status_code=204)
def end_session(session_id: Id, principal: CurrentUser, services: AppServices) -> None:
    """End a session; its tokens stop working at once."""
    services.sessions.end(principal.user_id, session_id)
    services.authenticator.forget()
