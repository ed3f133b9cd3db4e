"""Rights of what runs by itself: those of its author, as they are at each start."""

from __future__ import annotations

from collections.abc import Iterable

from cluster.backend import Backend
from cluster.repositories.principals import Author, Principal, Principals
from quantis.errors import Forbidden
from quantis.types.accounts import Role
from quantis.types.job_specs import JobSpec
from quantis.types.jobs import JOB_KINDS
from quantis.types.keys import Scope


def admit(backend: Backend, team: str, author: Author, jobs: Iterable[JobSpec]) -> int | None:
    """Return how many jobs of the team may wait, for an author who may start these jobs now.

    Forbidden, with the reason, for one who may not; QuotaExceeded for a team that has used what it may.
    """
    principal = _require_author(Principals(backend.database), team, author, jobs)
    backend.quotas.check_compute(team, principal.quota)
    backend.quotas.check_storage(team, principal.quota)
    return backend.quotas.with_defaults(principal.quota).jobs_waiting


def require_model_rights(backend: Backend, team: str, author: Author) -> None:
    """Raise Forbidden, with the reason, for an author who may not promote models now."""
    principal = Principals(backend.database).acting(team, author)
    if not principal.has_role(Role.ml_engineer):
        raise Forbidden(
            f"the account {author.user_name!r} that it acts for has the role {principal.role}, "
            f"and a promotion needs {Role.ml_engineer}"
        )
    if principal.scopes is not None and Scope.models not in principal.scopes:
        raise Forbidden(f"the scopes of {author.user_name!r} that it acts for do not allow to change models")


def _require_author(principals: Principals, team: str, author: Author, jobs: Iterable[JobSpec]) -> Principal:
    principal = principals.acting(team, author)
    for kind in {spec.kind for spec in jobs}:
        minimum = JOB_KINDS[kind].role
        if not principal.has_role(minimum):
            raise Forbidden(
                f"the account {author.user_name!r} that it acts for has the role {principal.role}, "
                f"and a {kind} job needs {minimum}"
            )
    if principal.scopes is not None and Scope.jobs not in principal.scopes:
        raise Forbidden(f"the scopes of {author.user_name!r} that it acts for do not allow to start jobs")
    return principal
