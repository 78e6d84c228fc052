"""Views and distinct viewers in bounded memory, exact while they are few.

Adaptive sampling (Wegman; analysed by Flajolet, 1990): a set keeps only the hashes that end in *level* zero bits, and
raises the level when it is full. Each kept hash stands for 2^level viewers, so the estimate is unbiased; with 4,096
kept the standard error is about 2 %. At level 0 it is a plain set.
"""

from pyroaring import BitMap

SAMPLE_SIZE = 4_096
WINDOW_MS = 30 * 60 * 1000


class Sample:
    """A set of 32-bit hashes of bounded size."""

    __slots__ = ("_hashes", "_level", "_size")

    def __init__(self, size: int = SAMPLE_SIZE) -> None:
        self._size = size
        self._level = 0
        self._hashes: BitMap | None = None
        """None while it is empty: most posts have not been looked at in this half hour."""

    def add(self, item: int) -> int:
        """How many the set stands for more than before: 0 if ``item`` is known or not sampled, else 2^level."""
        if self._hashes is None:
            self._hashes = BitMap()
        if item & ((1 << self._level) - 1) or item in self._hashes:
            return 0
        self._hashes.add(item)
        weight = 1 << self._level
        while len(self._hashes) > self._size:
            self._level += 1
            mask = (1 << self._level) - 1
            self._hashes = BitMap(kept for kept in self._hashes if not kept & mask)
        return weight

    def __len__(self) -> int:
        """The estimate of how many distinct items were added."""
        return len(self._hashes or ()) << self._level

    def dump(self) -> bytes:
        return bytes((self._level,)) + (self._hashes or BitMap()).serialize()

    @classmethod
    def load(cls, data: bytes, size: int = SAMPLE_SIZE) -> "Sample":
        sample = cls(size)
        sample._level = data[0]
        sample._hashes = BitMap.deserialize(data[1:]) or None
        return sample


class Viewers:
    """The views of one post: each viewer once per window of half an hour, and all distinct viewers."""

    __slots__ = ("all", "viewers", "views", "window", "window_ms")

    def __init__(self) -> None:
        self.views = 0
        self.window_ms = 0
        self.window: Sample | None = None
        self.all: Sample | None = None
        """None: nobody has looked yet."""
        self.viewers = 0

    def look(self, viewer: int, at_ms: int) -> bool:
        """Count a view; whether any number changed. A clock that goes back does not reopen a window."""
        window_ms = at_ms - at_ms % WINDOW_MS
        if self.window is None or window_ms > self.window_ms:
            self.window_ms = max(window_ms, self.window_ms)
            self.window = Sample()
        if self.all is None:
            self.all = Sample()
        weight = self.window.add(viewer)
        self.views += weight
        self.all.add(viewer)
        # Raising the level may lower the estimate a little; what was shown does not go back.
        self.viewers = max(self.viewers, len(self.all))
        return weight > 0
