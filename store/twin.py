"""What the store's twin in memory lends to its parts, each of which answers for one subject."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from store.rows import Author, Row

T = TypeVar("T")
RowT = TypeVar("RowT", bound=Row)


class Twin(Protocol):
    async def call(self, method: str, work: Callable[[], T]) -> T:
        """Do ``work`` as every call is done: in one step, with the faults of ``method``."""
        ...

    def table(self, row_type: type[RowT]) -> Mapping[tuple[Any, ...], RowT]:
        """Every row of the type by key, as they are kept."""
        ...

    def face(self, account_id: int | None) -> Author | None:
        """Of an account that is there and not deleted."""
        ...

    def bound(self, kind: str, name: str) -> int | None:
        """The id that a name is bound to."""
        ...

    def now_ms(self) -> int: ...

    def written_by(self, row_type: type[Row], identity: tuple[Any, ...]) -> int:
        """The transaction that saved a post last, or that made an edge."""
        ...

    def horizon(self) -> int:
        """The number of the next transaction."""
        ...
