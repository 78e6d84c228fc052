"""How often something happens, as one integer that never has to be brought up to date.

Every event weighs 1 when it happens and half as much a half-life later. The sum of the weights is kept as the time
(Unix milliseconds) at which a single event would weigh as much: an event now gives now, twice as many give a half-life
more. What happened more often of late has the later time, at any time and without a clock; 0 is never.
"""

from math import log2
from typing import Final

HALF_LIFE_MS: Final = 7 * 86_400_000


def raised(rate: int, now_ms: int, by: int = 1) -> int:
    """``rate``, once ``by`` more events (at least 1) have happened now."""
    one, other = sorted((rate, now_ms + int(HALF_LIFE_MS * log2(by))))
    return other + int(HALF_LIFE_MS * log2(1 + 2.0 ** ((one - other) / HALF_LIFE_MS)))
