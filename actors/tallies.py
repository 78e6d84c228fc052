"""Who gave which reaction, as compressed bitmaps: account numbers are dense, so many people are few bytes."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from pyroaring import BitMap

from protocol.commands import APPLAUSE_MAX

APPLAUSE_BITS = APPLAUSE_MAX.bit_length()
NOTHING: Final[Mapping[str, BitMap]] = MappingProxyType({})


class Tallies:
    """One bitmap of people per target and kind. A target is a comment's id, or 0: the post itself."""

    __slots__ = ("_people",)

    def __init__(self) -> None:
        self._people: dict[int, dict[str, BitMap]] = {}

    def has(self, comment: int, kind: str, person: int) -> bool:
        people = self._of(comment).get(kind)
        return people is not None and person in people

    def put(self, comment: int, kind: str, person: int, on: bool) -> None:
        """Set or clear; repeating it changes nothing."""
        kinds = self._people.get(comment)
        if kinds is None:
            kinds = self._people[comment] = {}
        people = kinds.get(kind)
        if people is None:
            people = kinds[kind] = BitMap()
        if on:
            people.add(person)
        else:
            people.discard(person)

    def counts(self, comment: int) -> dict[str, int]:
        """Reactions of one target by kind, in order of its name; kinds that nobody holds are left out."""
        return {kind: len(people) for kind, people in sorted(self._of(comment).items()) if people}

    def has_other(self, comment: int, kind: str, person: int) -> bool:
        """Whether a person reacts to the target in another way than by ``kind``."""
        # Asked with every reaction: without a generator it takes half the time.
        others = [people for other, people in self._of(comment).items() if other != kind and person in people]
        return bool(others)

    def people(self, comment: int, *, beside: int) -> int:
        """How many react to the target, however they do, beside one."""
        return len(BitMap.union(BitMap([beside]), *self._of(comment).values())) - 1

    def score(self, comment: int) -> int:
        return sum(map(len, self._of(comment).values()))

    def of(self, comment: int, person: int) -> list[str]:
        """The kinds that a person gave to one target, in order of their names."""
        return [kind for kind, people in sorted(self._of(comment).items()) if person in people]

    def dump(self) -> list[tuple[int, str, bytes]]:
        return [
            (comment, kind, people.serialize())
            for comment, kinds in self._people.items()
            for kind, people in kinds.items()
            if people
        ]

    def load(self, dumped: list[tuple[int, str, bytes]]) -> None:
        for comment, kind, data in dumped:
            self._people.setdefault(comment, {})[kind] = BitMap.deserialize(data)

    def _of(self, comment: int) -> Mapping[str, BitMap]:
        return self._people.get(comment, NOTHING)


class Applause:
    """Everyone's applause, 0 to 50, bit-sliced: bitmap *i* holds who has bit *i* set in their amount."""

    __slots__ = ("_bits", "total")

    def __init__(self) -> None:
        self._bits: Sequence[BitMap] = ()
        """Empty while nobody has applauded."""
        self.total = 0

    def of(self, person: int) -> int:
        amount = 0
        for bit, people in enumerate(self._bits):
            if person in people:
                amount |= 1 << bit
        return amount

    def people(self, *, beside: int) -> int:
        """How many applaud, beside one."""
        return len(BitMap.union(BitMap([beside]), *self._bits)) - 1

    def put(self, person: int, amount: int) -> None:
        before = self.of(person)
        self.total += amount - before
        self._bits = self._bits or [BitMap() for _ in range(APPLAUSE_BITS)]
        changed = amount ^ before
        for bit, people in enumerate(self._bits):
            if changed >> bit & 1:
                if amount >> bit & 1:
                    people.add(person)
                else:
                    people.discard(person)

    def dump(self) -> list[bytes]:
        return [people.serialize() for people in self._bits]

    def load(self, dumped: list[bytes]) -> None:
        self._bits = [BitMap.deserialize(data) for data in dumped]
        self.total = sum(len(people) << bit for bit, people in enumerate(self._bits))
