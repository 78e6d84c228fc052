"""What an operator does beside serving: imports, roles, passwords, a new epoch, a look at the cluster.

All but the last need the database for themselves.
"""

import argparse
import getpass
import secrets
import sys
import time
from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from actors.actor import SYSTEM
from actors.keys import slot_of, user_key
from actors.runtime.node import Node
from actors.runtime.ownership import OwnedByAnother
from actors.timelines import TIMELINE_ALARM, next_tending
from parts import StartError, Terminal, database_alone, local_url, node_alone, reason_of
from protocol import requests, text
from protocol.accounts import AccountView, EditAccount, ReadAccount
from protocol.edgelist import Edge, handle_of
from protocol.errors import DomainError
from protocol.gateway.importing import import_wordpress, progress_bar, report_table, survey
from protocol.gateway.importing_edges import EdgeReport, JunkFound, count_edges, edge_table, import_edges
from protocol.gateway.options import SettingsError
from protocol.gateway.overview import fetch_cluster, overview
from protocol.gateway.passwords import Passwords
from protocol.gateway.tokens import Tokens
from protocol.graph import FOLLOWING_MAX
from protocol.wordpress import BrokenExport
from settings import ServerSettings, Settings
from store.edges import EdgeWriter, FollowsTooMany, Named, Rules, Served
from store.embedded import EmbeddedError, running_url
from store.postgres import open_postgres
from store.rows import AlarmRow

CLUSTER_TOKEN_TTL_S: Final = 60


async def import_file(settings: Settings, arguments: argparse.Namespace) -> None:
    await (import_graph if arguments.source == "graph" else import_posts)(settings, arguments)


async def import_posts(settings: Settings, arguments: argparse.Namespace) -> None:
    console = Terminal(highlight=False)
    try:
        found = survey(arguments.file)
    except BrokenExport as error:
        raise StartError(f"cannot import {arguments.file}: {error}") from error
    except OSError as error:
        raise StartError(f"cannot read {arguments.file}: {reason_of(error)}") from error
    if arguments.dry_run:
        console.print(report_table(found, dry_run=True))
        return
    async with node_alone(settings) as node:
        by = SYSTEM if arguments.author is None else (await account(node, arguments.author)).person
        with progress_bar(console) as progress:
            by = replace(by, role="admin")
            report = await import_wordpress(arguments.file, node, by=by, progress=progress)
    console.print(report_table(report))


async def import_graph(settings: Settings, arguments: argparse.Namespace) -> None:
    console = Terminal(highlight=False)
    file, undirected = arguments.file, arguments.undirected
    try:
        total = count_edges(file, undirected=undirected)
        async with database_alone(settings.server) as store, store.edges.importing(edge_rules(settings)) as writer:
            with progress_bar(console) as progress:
                await import_edges(file, _People(writer), total, undirected=undirected, progress=progress)
    except JunkFound as error:
        for junk in error.first:
            print(f"line {junk.line} {junk.reason}", file=sys.stderr)
        raise StartError(f"cannot import {file}: {error}; nothing was imported") from error
    except FollowsTooMany as error:
        raise StartError(f"cannot import {file}: {error}, more than {FOLLOWING_MAX:,}; nothing was imported") from error
    except Served as error:
        raise OwnedByAnother from error
    except OSError as error:
        raise StartError(f"cannot read {file}: {reason_of(error)}") from error
    added = writer.added
    report = EdgeReport(edges=total, people=added.people, added=added.edges, left_out=added.left_out)
    console.print(edge_table(report))


def edge_rules(settings: Settings) -> Rules:
    now_ms = int(time.time() * 1000)

    def tending(account_id: int) -> AlarmRow:
        key = user_key(account_id)
        return AlarmRow(slot=slot_of(key), actor=key, name=TIMELINE_ALARM, due_ms=next_tending(account_id, now_ms))

    return Rules(
        strategy=settings.policy.timelines,
        celebrity_followers=settings.policy.celebrity_followers,
        following_max=FOLLOWING_MAX,
        now_ms=now_ms,
        tending=tending,
    )


class _People:
    """The ``EdgeTarget`` before a writer of the store."""

    def __init__(self, writer: EdgeWriter) -> None:
        self._writer = writer
        self.finish = writer.finish

    async def add(self, edges: Sequence[Edge]) -> None:
        await self._writer.add([(Named(one, handle_of(one)), Named(other, handle_of(other))) for one, other in edges])


async def change_role(settings: Settings, arguments: argparse.Namespace) -> None:
    async with node_alone(settings) as node:
        view = await account(node, arguments.handle)
        await edit(node, EditAccount(account=int(view.id), role=arguments.role))
    print(f"{view.handle} is {arguments.role} now, from the next refresh of a token on")


async def change_password(settings: Settings, arguments: argparse.Namespace) -> None:
    async with node_alone(settings) as node:
        view = await account(node, arguments.handle)
        if view.kind != "member":
            raise StartError(f"{view.handle} signs in without a password")
        passwords = Passwords()
        try:
            password_hash = await passwords.hash(arguments.password)
        finally:
            passwords.close()
        await edit(node, EditAccount(account=int(view.id), password_hash=password_hash, end_sessions=True))
    print(f"{view.handle} has a new password, and is signed out everywhere")


def asked_password() -> str:
    """A new password: typed twice at a terminal, else the first line of the input. Raises ``SettingsError``."""
    if sys.stdin.isatty():
        password = getpass.getpass("New password: ")
        if getpass.getpass("Once more: ") != password:
            raise SettingsError("these were two passwords")
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    try:
        return text.plain(msgspec.convert(password, requests.Password))
    except (msgspec.ValidationError, DomainError):
        raise SettingsError("a password has 8 to 256 characters, of text") from None


async def change_epoch(settings: Settings, _: argparse.Namespace) -> None:
    async with database_alone(settings.server) as store:
        await store.new_epoch()
    print("every client will reload what it has")


async def show_cluster(settings: Settings, arguments: argparse.Namespace) -> None:
    """Ask a worker, as an admin: who knows the secret may sign for one."""
    secret = settings.gateway.secret or await secret_of_database(settings.server)
    tokens = Tokens(secret, clock=time.time, token_bytes=secrets.token_bytes)
    token, _ = tokens.access(SYSTEM, "command line", CLUSTER_TOKEN_TTL_S)
    view = await fetch_cluster(arguments.url or local_url(settings.server.host, settings.server.port), token)
    if arguments.json:
        print(msgspec.json.format(msgspec.json.encode(view)).decode())
    else:
        # What is no terminal has no width.
        Terminal(highlight=False, markup=False, width=None if sys.stdout.isatty() else 120).print(overview(view))


async def secret_of_database(settings: ServerSettings) -> bytes:
    """Of the database that is configured, or that the running server embeds. Raises ``StartError`` if none runs."""
    try:
        url = settings.database_url or running_url(settings.data_dir)
    except EmbeddedError as error:
        needed = "the server's own options (--database-url or --data-dir), or its --secret"
        raise StartError(f"cannot read the server's secret from its database: {error}; give {needed}") from error
    async with open_postgres(url, pool_size=1) as store:
        return (await store.meta()).secret


async def account(node: Node, handle: str) -> AccountView:
    """The account of a handle. Raises ``StartError`` if there is none."""
    account_id = await node.resolve("handle", handle.lower())
    if account_id is None:
        raise StartError(f"there is no account {handle}")
    view: AccountView = await node.ask(user_key(account_id), ReadAccount(account=account_id), SYSTEM)
    return view


async def edit(node: Node, command: EditAccount) -> None:
    await node.ask(user_key(command.account), command, SYSTEM)
