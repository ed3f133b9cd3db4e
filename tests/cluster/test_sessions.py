"""Sessions and their refresh tokens, on both databases."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from sqlalchemy import func, select, update

from cluster.database.tables import RefreshTokenRow, SessionRow, UserRow
from cluster.repositories.accounts import Accounts
from cluster.repositories.principals import Principals
from cluster.repositories.sessions import Sessions
from quantis.errors import NotFound, QuantisError, Unauthenticated
from quantis.types.accounts import Role

PASSWORD = "correct horse battery"


def at_once(count, call):
    """The results, or errors, of calls that start together."""
    barrier = Barrier(count)

    def attempt(number):
        barrier.wait()
        try:
            return call(number)
        except QuantisError as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(attempt, range(count)))


@pytest.fixture
def sessions(database):
    return Sessions(database)


@pytest.fixture
def ada(database):
    return Accounts(database).create("default", "ada", PASSWORD, Role.analyst)


def living(database):
    with database.read() as session:
        return session.scalar(
            select(func.count())
            .select_from(RefreshTokenRow)
            .join(SessionRow, SessionRow.id == RefreshTokenRow.family)
            .where(RefreshTokenRow.used_at.is_(None), SessionRow.revoked_at.is_(None))
        )


def test_when_a_refresh_token_rotates_then_its_chain_has_one_living_end(sessions, ada, database):
    begun = sessions.start(ada, 14, "curl/8", "10.0.0.1")
    token = begun.token
    for _ in range(4):
        owner, following, session_id = sessions.rotate(token, 14)
        assert (owner, session_id) == (ada, begun.session_id)
        assert following != token
        assert living(database) == 1
        with database.read() as session:
            assert session.get(RefreshTokenRow, token) is None  # only its hash is kept
        token = following
    assert sessions.end_by_token(token) == ada
    assert living(database) == 0
    with pytest.raises(Unauthenticated):
        sessions.rotate(token, 14)
    assert sessions.end_by_token("unknown") is None


def test_when_a_used_token_returns_then_the_session_ends_within_a_second_and_that_is_kept(
    sessions, ada, database
):
    first = sessions.start(ada, 14)
    sessions.start(ada, 14)
    second = sessions.rotate(first.token, 14)
    assert living(database) == 2
    started = time.monotonic()
    with pytest.raises(Unauthenticated, match="used before"):
        sessions.rotate(first.token, 14)
    assert living(database) == 1
    assert Principals(database).user(ada.id, first.session_id) is None  # its access tokens, too
    assert time.monotonic() - started < 1
    with pytest.raises(Unauthenticated):
        sessions.rotate(second.token, 14)


def test_when_one_token_is_rotated_at_once_then_two_living_ends_are_never_seen(sessions, ada, database):
    for count in (2, 2, 3, 5):
        token = sessions.start(ada, 14).token
        found = at_once(count, lambda number, token=token: sessions.rotate(token, 14))
        assert sum(isinstance(one, Unauthenticated) for one in found) == count - 1
        assert living(database) == 0  # the second comer ended the session


def test_when_the_next_token_races_with_the_one_before_then_no_two_ends_live(sessions, ada, database):
    for _ in range(4):
        first = sessions.start(ada, 14).token
        second = sessions.rotate(first, 14).token
        at_once(4, lambda n, pair=(first, second): sessions.rotate(pair[n % 2], 14))
        assert living(database) == 0


def test_when_a_token_has_expired_or_its_user_is_gone_then_it_is_refused(sessions, ada, database):
    token = sessions.start(ada, 14).token
    with database.write() as session:
        session.execute(update(UserRow).values(disabled=True))
    with pytest.raises(Unauthenticated):
        sessions.rotate(token, 14)
    with database.write() as session:
        session.execute(update(UserRow).values(disabled=False))
        session.execute(update(RefreshTokenRow).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))
    with pytest.raises(Unauthenticated):
        sessions.rotate(token, 14)


def test_when_sessions_are_listed_then_only_the_owner_s_living_ones_and_they_end_one_by_one(
    sessions, ada, database
):
    bob = Accounts(database).create("default", "bob", PASSWORD, Role.viewer)
    one, two = sessions.start(ada, 14, "Firefox", "10.0.0.1"), sessions.start(ada, 14)
    other = sessions.start(bob, 14)
    listed = sessions.of(ada.id, two.session_id)
    assert {item.id: item.current for item in listed} == {one.session_id: False, two.session_id: True}
    assert next(item for item in listed if item.id == one.session_id).agent == "Firefox"
    for stranger in (other.session_id, "unknown"):
        with pytest.raises(NotFound):
            sessions.end(ada.id, stranger)
    sessions.end(ada.id, one.session_id)
    assert [item.id for item in sessions.of(ada.id)] == [two.session_id]
    three = sessions.start(ada, 14)
    sessions.end_others(ada.id, three.session_id)
    assert [item.id for item in sessions.of(ada.id)] == [three.session_id]
    assert [item.id for item in sessions.of(bob.id)] == [other.session_id]


def test_when_a_session_ended_a_month_ago_then_it_is_forgotten_and_others_stay(sessions, ada, database):
    old, young = sessions.start(ada, 14), sessions.start(ada, 14)
    sessions.forget_old()
    assert len(sessions.of(ada.id)) == 2
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
    assert sessions.rotate(young.token, 14).user == ada
