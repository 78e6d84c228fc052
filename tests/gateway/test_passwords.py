"""Passwords: right and wrong ones, and how many at once."""

import asyncio
import time

import pytest
from argon2 import PasswordHasher

from protocol.errors import Overloaded
from protocol.gateway import passwords as module
from protocol.gateway.passwords import Passwords


def fast() -> Passwords:
    return Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


async def test_a_password_matches_its_own_hash_only() -> None:
    passwords = fast()
    hashed = await passwords.hash("right")
    assert await passwords.matches("right", hashed)
    assert not await passwords.matches("wrong", hashed)
    assert not await passwords.matches("right", None)
    assert not await passwords.matches("", None)
    assert not await passwords.matches("right", "no hash")
    passwords.close()


async def test_too_many_at_once_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_MAX", 2)
    passwords = fast()
    answers = await asyncio.gather(*(passwords.hash("x") for _ in range(3)), return_exceptions=True)
    assert [isinstance(answer, Overloaded) for answer in answers] == [False, False, True]
    assert await passwords.hash("x")
    passwords.close()


async def test_no_account_takes_as_long_as_a_wrong_password() -> None:
    passwords = Passwords()
    hashed = await passwords.hash("right")

    async def fastest_s(password_hash: str | None) -> float:
        times = []
        for _ in range(3):
            began = time.perf_counter()
            await passwords.matches("wrong", password_hash)
            times.append(time.perf_counter() - began)
        return min(times)

    assert await fastest_s(None) > await fastest_s(hashed) / 3
    passwords.close()


async def test_a_hash_of_old_parameters_is_outdated() -> None:
    passwords = Passwords()
    assert passwords.outdated(await fast().hash("x"))
    assert not passwords.outdated(await passwords.hash("x"))
    passwords.close()
