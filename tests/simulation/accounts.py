"""Accounts that simulated people make, rename, comment under and delete, by requests as the HTTP API makes them."""

from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from actors.actor import SYSTEM
from actors.keys import post_key, user_key
from actors.policy import Policy
from protocol.accounts import AccountView, CreateAccount, DeleteAccount, EditAccount, ReadAccount
from protocol.commands import CreateComment, Person
from protocol.errors import DomainError, Overloaded, Unavailable
from store.rows import AccountRow, AlarmRow, CommentRow
from tests.simulation.clients import Client, NoAnswer
from tests.simulation.oracles import JournalledStore

PER_PERSON = 1_000
"""The accounts of person 3 are 3000, 3001 …"""


class Account(Struct):
    """What one account must be, once everything was answered."""

    id: int
    name: str
    names: set[str]
    """All that it was ever to be called."""
    certain: bool = True
    """False once a new name had to be asked for again: an earlier request may still be done at any later time."""
    deleted: bool = False
    comments: list[tuple[int, int, str]] = []
    """(post, id, body)."""

    def person(self) -> Person:
        return Person(id=self.id, handle=f"account{self.id}", name=self.name)


class Accounts:
    """Those of one person, one after the other."""

    def __init__(self, client: Client, posts: Sequence[int]) -> None:
        self.all: list[Account] = []
        self._client = client
        self._first = client.by.id * PER_PERSON
        self._rng = client.rng
        self._journal = client.journal
        self._posts = posts
        self._said = 0

    async def act(self) -> None:
        """Do something with the latest account, or make the next; until that is done."""
        account = self.all[-1] if self.all else None
        chance = self._rng.random()
        if account is not None and chance < 0.1:
            await self._read(account)
        elif account is None or account.deleted:
            await self._create()
        elif chance < 0.55 or not account.comments:
            await self._comment(account)
        elif chance < 0.65:
            await self._rename(account)
        else:
            await self._delete(account)

    # -- what is done

    async def _create(self) -> None:
        account = Account(self._first + len(self.all), "new", {"new"})
        by = account.person()
        create = CreateAccount(account=account.id, kind="member", handle=by.handle, name=account.name)
        await self._client.insist(user_key(account.id), create, by, refused=again("already_exists"))
        self.all.append(account)

    async def _rename(self, account: Account) -> None:
        self._said += 1
        name = f"name {self._said}"
        account.names.add(name)
        edit = EditAccount(account=account.id, name=name)
        done = await self._client.insist(user_key(account.id), edit, account.person())
        account.name = name
        account.certain &= done.times == 1

    async def _comment(self, account: Account) -> None:
        self._said += 1
        post, body = self._rng.choice(self._posts), f"account {account.id} says {self._said}"
        comment = CreateComment(post=str(post), body=body)
        done = await self._client.insist(post_key(post), comment, account.person(), f"says {self._said}")
        account.comments.append((post, int(done.answer.id), body))

    async def _delete(self, account: Account) -> None:
        delete = DeleteAccount(account=account.id)
        await self._client.insist(user_key(account.id), delete, account.person(), refused=again("account_not_found"))
        account.deleted = True

    async def _read(self, account: Account) -> None:
        where = f"account {account.id}"
        try:
            view: AccountView = await self._client.request(
                user_key(account.id), ReadAccount(account=account.id), SYSTEM, None
            )
        except (NoAnswer, Unavailable, Overloaded):
            return
        except DomainError as error:
            gone = account.deleted and error.code == "account_not_found"
            self._journal.require(gone, f"{where} is not read: {error.code}")
            return
        self._journal.require(not account.deleted, f"{where} is read after it was deleted")
        allowed = {account.name} if account.certain else account.names
        self._journal.require(view.name in allowed, f"{where} is called {view.name!r}, not one of {allowed}")

    # -- in the end

    def differing(self, store: JournalledStore, policy: Policy) -> Iterator[str]:
        """Where what is stored is not what was asked for."""
        for account in self.all:
            row: AccountRow = store.row(AccountRow, account.id)
            erased = row.state == "deleted"
            waits = (user_key(account.id), "erase") in store.identities(AlarmRow)
            if account.deleted != (row.state != "active"):
                yield f"{account} is {row.state}"
            elif account.deleted and erased == waits:
                yield f"account {account.id} is {row.state}, and its alarm is{'' if waits else ' not'} set"
            elif not account.deleted and row.name not in ({account.name} if account.certain else account.names):
                yield f"{account} is called {row.name}"
            for post, id, body in account.comments:
                comment = store.row(CommentRow, post, id)
                nameless = (None, "") if policy.erased_comments == "tombstone" else (None, body)
                # While it is being erased, some have the name still.
                allowed = {nameless} if erased else {nameless, (account.id, body)}
                if (comment.author_id, comment.body) not in (allowed if account.deleted else {(account.id, body)}):
                    yield f"of {account}: {comment}"


def again(code: str) -> Callable[[str, int], bool]:
    """May refuse what an earlier request has done already, of which no answer came."""
    return lambda refused, times: times > 1 and refused == code
