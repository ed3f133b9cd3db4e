"""Sessions and their refresh tokens, on both databases."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update

from cluster.database.tables import RefreshTokenRow, SessionRow, UserRow
from cluster.repositories.accounts import UserAccounts
from cluster.repositories.principals import Principals
from cluster.repositories.sessions import MAX_SESSIONS, SessionLifetime, Sessions
from quantis.errors import NotFound, Unauthenticated
from quantis.types.accounts import Role
from tests.cluster.concurrency import at_once

PASSWORD = "correct horse battery"
LIFETIME = SessionLifetime(idle=14, max_days=30)


@pytest.fixture
def sessions(database):
    return Sessions(database)


@pytest.fixture
def ada(database):
    return UserAccounts(database).create("default", "ada", PASSWORD, Role.analyst)


def living(database):
    with database.read() as session:
        return session.scalar(
            select(func.count())
            .select_from(RefreshTokenRow)
            .join(SessionRow, SessionRow.id == RefreshTokenRow.family)
            .where(RefreshTokenRow.used_at.is_(None), SessionRow.revoked_at.is_(None))
        )


def test_when_a_refresh_token_rotates_then_its_chain_has_one_living_end(sessions, ada, database):
    begun = sessions.start(ada, LIFETIME, "curl/8", "10.0.0.1")
    token = begun.token
    for _ in range(4):
        owner, following, session_id, _ = sessions.rotate(token, LIFETIME)
        assert (owner, session_id) == (ada, begun.session_id)
        assert following != token
        assert living(database) == 1
        with database.read() as session:
            assert session.get(RefreshTokenRow, token) is None  # only its hash is kept
        token = following
    assert sessions.end_by_token(token) == ada
    assert living(database) == 0
    with pytest.raises(Unauthenticated):
        sessions.rotate(token, LIFETIME)
    assert sessions.end_by_token("unknown") is None


def test_when_a_used_token_returns_then_the_session_ends_at_once_and_that_is_kept(sessions, ada, database):
    first = sessions.start(ada, LIFETIME)
    sessions.start(ada, LIFETIME)
    second = sessions.rotate(first.token, LIFETIME)
    assert living(database) == 2
    with pytest.raises(Unauthenticated, match="used before"):
        sessions.rotate(first.token, LIFETIME)
    assert living(database) == 1
    assert Principals(database).user(ada.id, first.session_id) is None  # its access tokens, too
    with pytest.raises(Unauthenticated):
        sessions.rotate(second.token, LIFETIME)


def test_when_one_token_is_rotated_at_once_then_two_living_ends_are_never_seen(sessions, ada, database):
    for count in (2, 2, 3, 5):
        token = sessions.start(ada, LIFETIME).token
        found = at_once(count, lambda number, token=token: sessions.rotate(token, LIFETIME))
        assert sum(isinstance(one, Unauthenticated) for one in found) == count - 1
        assert living(database) == 0  # the second comer ended the session


def test_when_the_next_token_races_with_the_one_before_then_no_two_ends_live(sessions, ada, database):
    for _ in range(4):
        first = sessions.start(ada, LIFETIME).token
        second = sessions.rotate(first, LIFETIME).token
        at_once(4, lambda n, pair=(first, second): sessions.rotate(pair[n % 2], LIFETIME))
        assert living(database) == 0


def test_when_a_token_has_expired_or_its_user_is_gone_then_it_is_refused(sessions, ada, database):
    token = sessions.start(ada, LIFETIME).token
    with database.write() as session:
        session.execute(update(UserRow).values(disabled=True))
    with pytest.raises(Unauthenticated):
        sessions.rotate(token, LIFETIME)
    with database.write() as session:
        session.execute(update(UserRow).values(disabled=False))
        session.execute(update(RefreshTokenRow).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))
    with pytest.raises(Unauthenticated):
        sessions.rotate(token, LIFETIME)


def test_when_sessions_are_listed_then_only_the_owner_s_living_ones_and_they_end_one_by_one(
    sessions, ada, database
):
    bob = UserAccounts(database).create("default", "bob", PASSWORD, Role.viewer)
    one, two = sessions.start(ada, LIFETIME, "Firefox", "10.0.0.1"), sessions.start(ada, LIFETIME)
    other = sessions.start(bob, LIFETIME)
    listed = sessions.for_user(ada.id, two.session_id)
    assert {item.id: item.current for item in listed} == {one.session_id: False, two.session_id: True}
    assert next(item for item in listed if item.id == one.session_id).agent == "Firefox"
    for stranger in (other.session_id, "unknown"):
        with pytest.raises(NotFound):
            sessions.end(ada.id, stranger)
    sessions.end(ada.id, one.session_id)
    assert [item.id for item in sessions.for_user(ada.id)] == [two.session_id]
    three = sessions.start(ada, LIFETIME)
    sessions.end_others(ada.id, three.session_id)
    assert [item.id for item in sessions.for_user(ada.id)] == [three.session_id]
    assert [item.id for item in sessions.for_user(bob.id)] == [other.session_id]


def test_when_a_session_ended_a_month_ago_then_it_is_forgotten_and_others_stay(sessions, ada, database):
    old, young = sessions.start(ada, LIFETIME), sessions.start(ada, LIFETIME)
    sessions.forget_old()
    assert len(sessions.for_user(ada.id)) == 2
    long_ago = datetime.now(UTC) - timedelta(days=31)
    with database.write() as session:
        session.execute(update(SessionRow).where(SessionRow.id == old.session_id).values(expires_at=long_ago))
        session.execute(
            update(RefreshTokenRow)
            .where(RefreshTokenRow.family == old.session_id)
            .values(expires_at=long_ago)
        )
    sessions.forget_old()
    with database.read() as session:
        assert session.scalars(select(SessionRow.id)).all() == [young.session_id]
    assert sessions.rotate(young.token, LIFETIME).user == ada


def test_when_a_session_is_used_all_the_time_then_it_still_ends_after_its_longest_time(
    sessions, ada, database
):
    begun = sessions.start(ada, LIFETIME)
    assert timedelta(days=13) < begun.expires_at - datetime.now(UTC) <= timedelta(days=14)

    def aged(days):
        with database.write() as session:
            session.execute(update(SessionRow).values(created_at=datetime.now(UTC) - timedelta(days=days)))

    aged(29)
    late = sessions.rotate(begun.token, LIFETIME)
    assert timedelta(hours=23) < late.expires_at - datetime.now(UTC) <= timedelta(days=1)
    aged(30)
    with pytest.raises(Unauthenticated):
        sessions.rotate(late.token, LIFETIME)


def test_when_somebody_signs_in_too_often_then_the_session_idle_for_longest_ends(sessions, ada):
    begun = [sessions.start(ada, LIFETIME) for _ in range(MAX_SESSIONS)]
    kept = sessions.rotate(begun[0].token, LIFETIME)  # the oldest, but used just now
    sessions.start(ada, LIFETIME)
    living = {session.id for session in sessions.for_user(ada.id)}
    assert len(living) == MAX_SESSIONS
    assert kept.session_id in living
    assert begun[1].session_id not in living
