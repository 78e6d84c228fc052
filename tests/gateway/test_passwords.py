"""Passwords: right and wrong ones, and how many at once."""

import asyncio
from typing import Literal

import argon2
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


class CountingHasher(PasswordHasher):
    """Notes the parameters of every hash that it verifies against."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.verified: list[argon2.Parameters] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        self.verified.append(argon2.extract_parameters(str(hash)))
        return super().verify(hash, password)


async def test_no_account_costs_the_same_hash_as_a_wrong_password() -> None:
    hasher = CountingHasher()
    passwords = Passwords(hasher)
    hashed = await passwords.hash("right")
    await passwords.matches("wrong", hashed)
    await passwords.matches("wrong", None)
    assert len(hasher.verified) == 2
    assert hasher.verified[0] == hasher.verified[1]
    passwords.close()


async def test_a_hash_of_old_parameters_is_outdated() -> None:
    passwords = Passwords()
    assert passwords.outdated(await fast().hash("x"))
    assert not passwords.outdated(await passwords.hash("x"))
    passwords.close()
