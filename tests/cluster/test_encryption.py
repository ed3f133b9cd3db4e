"""Secrets that are read again are sealed; password hashes come two at a time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cluster.encryption import Cipher
from cluster.repositories import hashing
from cluster.repositories.accounts import UserAccounts
from cluster.repositories.factors import SecondFactors
from quantis.errors import InvalidInput, NotInstalled, TooManyRequests
from quantis.types.accounts import Role

OLD, NEW = b"the old key of at least 32 characters", b"the new key of at least 32 characters"
PLACE = "users.totp/1"


def test_when_a_secret_is_sealed_then_only_the_key_and_the_place_open_it():
    cipher = Cipher((NEW,))
    encrypted = cipher.encrypt(b"secret", PLACE)
    assert b"secret" not in encrypted
    assert cipher.decrypt(encrypted, PLACE) == b"secret"
    assert cipher.encrypt(b"secret", PLACE) != encrypted
    with pytest.raises(InvalidInput, match="changed or moved"):
        cipher.decrypt(encrypted, "users.totp/2")
    with pytest.raises(InvalidInput, match="does not have"):
        Cipher((OLD,)).decrypt(encrypted, PLACE)
    for place in range(8, len(encrypted), 7):
        changed = encrypted[:place] + bytes([encrypted[place] ^ 1]) + encrypted[place + 1 :]
        with pytest.raises(InvalidInput):
            cipher.decrypt(changed, PLACE)
    with pytest.raises(NotInstalled, match="QUANTIS_ENCRYPTION_KEY"):
        Cipher(()).encrypt(b"secret", PLACE)


def test_when_the_key_is_rotated_then_old_secrets_open_until_they_are_sealed_anew(database):
    user = UserAccounts(database).create("default", "ada", "correct horse battery", Role.viewer)
    SecondFactors(database, Cipher((OLD,))).begin(user.id)
    both = SecondFactors(database, Cipher((NEW, OLD)))
    assert both.count_encrypted() == 1
    assert (both.reencrypt(), both.reencrypt()) == (1, 0)
    SecondFactors(database, Cipher((NEW,))).reencrypt()  # opens with the new one alone
    with pytest.raises(InvalidInput):
        SecondFactors(database, Cipher((OLD,))).reencrypt()


def test_when_many_passwords_are_hashed_then_never_more_than_two_at_once(monkeypatch):
    working, most, lock = 0, 0, threading.Lock()
    real = hashing._HASHER

    class Watched:
        def hash(self, password):
            nonlocal working, most
            with lock:
                working += 1
                most = max(most, working)
            time.sleep(0.02)
            found = real.hash(password)
            with lock:
                working -= 1
            return found

    monkeypatch.setattr(hashing, "_HASHER", Watched())
    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(hashing.hash_password, ["x"] * 10))) == 10
    assert most == 2


def test_when_a_crowd_signs_in_at_once_then_some_are_asked_to_come_again_and_no_thread_is_lost(monkeypatch):
    def attempt(_):
        try:
            return hashing.verify_password(hashing.NOBODY, "x")
        except TooManyRequests as error:
            return error.retry_after

    with ThreadPoolExecutor(30) as pool:
        found = list(pool.map(attempt, range(30)))
    assert found.count(False) >= 10
    assert set(found) <= {False, 1}
    assert not hashing.verify_password(hashing.NOBODY, "x")  # every seat is free again
