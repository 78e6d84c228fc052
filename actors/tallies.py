"""Who gave which reaction, as compressed bitmaps: account numbers are dense, so many people are few bytes."""

from pyroaring import BitMap

from protocol.commands import APPLAUSE_MAX

APPLAUSE_BITS = APPLAUSE_MAX.bit_length()

Target = tuple[int, str]
"""Comment id (0: the post itself) and kind."""


class Tallies:
    """One bitmap of people per target and kind."""

    __slots__ = ("_kinds_of", "_people")

    def __init__(self) -> None:
        self._people: dict[Target, BitMap] = {}
        self._kinds_of: dict[int, dict[str, int]] = {}

    def has(self, comment: int, kind: str, person: int) -> bool:
        people = self._people.get((comment, kind))
        return people is not None and person in people

    def put(self, comment: int, kind: str, person: int, on: bool) -> None:
        """Set or clear; repeating it changes nothing."""
        people = self._people.get((comment, kind))
        if people is None:
            people = self._people[comment, kind] = BitMap()
        if (person in people) is on:
            return
        counts = self._kinds_of.setdefault(comment, {})
        if on:
            people.add(person)
        else:
            people.remove(person)
        counts[kind] = counts.get(kind, 0) + (1 if on else -1)

    def counts(self, comment: int) -> dict[str, int]:
        """Reactions of one target by kind, in order of its name; kinds that nobody holds are left out."""
        return {kind: count for kind, count in sorted(self._kinds_of.get(comment, {}).items()) if count}

    def has_other(self, comment: int, kind: str, person: int) -> bool:
        """Whether a person reacts to the target in another way than by ``kind``."""
        # Asked with every reaction: without the generator it takes half the time.
        for other in self._kinds_of.get(comment, ()):
            if other != kind and person in self._people[comment, other]:
                return True
        return False

    def people(self, comment: int, *, beside: int) -> int:
        """How many react to the target, however they do, beside one."""
        kinds = self._kinds_of.get(comment, ())
        return len(BitMap.union(BitMap([beside]), *(self._people[comment, kind] for kind in kinds))) - 1

    def score(self, comment: int) -> int:
        counts = self._kinds_of.get(comment)
        return sum(counts.values()) if counts else 0

    def of(self, comment: int, person: int) -> list[str]:
        """The kinds that a person gave to one target, in order of their names."""
        return [kind for kind in sorted(self._kinds_of.get(comment, ())) if person in self._people[comment, kind]]

    def dump(self) -> list[tuple[int, str, bytes]]:
        return [(comment, kind, people.serialize()) for (comment, kind), people in self._people.items() if people]

    def load(self, dumped: list[tuple[int, str, bytes]]) -> None:
        for comment, kind, data in dumped:
            people = self._people[comment, kind] = BitMap.deserialize(data)
            self._kinds_of.setdefault(comment, {})[kind] = len(people)


class Applause:
    """Everyone's applause, 0 to 50, bit-sliced: bitmap *i* holds who has bit *i* set in their amount."""

    __slots__ = ("_bits", "total")

    def __init__(self) -> None:
        self._bits: list[BitMap] = []
        """None while nobody has applauded."""
        self.total = 0

    def of(self, person: int) -> int:
        return sum(1 << bit for bit, people in enumerate(self._bits) if person in people)

    def people(self, *, beside: int) -> int:
        """How many applaud, beside one."""
        return len(BitMap.union(BitMap([beside]), *self._bits)) - 1

    def put(self, person: int, amount: int) -> None:
        self.total += amount - self.of(person)
        self._bits = self._bits or [BitMap() for _ in range(APPLAUSE_BITS)]
        for bit, people in enumerate(self._bits):
            if amount >> bit & 1:
                people.add(person)
            else:
                people.discard(person)

    def dump(self) -> list[bytes]:
        return [people.serialize() for people in self._bits]

    def load(self, dumped: list[bytes]) -> None:
        self._bits = [BitMap.deserialize(data) for data in dumped]
        self.total = sum(len(people) << bit for bit, people in enumerate(self._bits))
