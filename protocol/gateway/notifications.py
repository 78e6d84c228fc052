"""The endpoints of notifications: what one is told, up to where one has read, and of which kinds one wants to hear."""

from collections.abc import Mapping

from aiohttp import hdrs, web

from protocol import requests
from protocol.commands import Command
from protocol.gateway.backend import Answer, Backend
from protocol.gateway.http import Call, Handler, answer, next_link
from protocol.notifications import EditPreferences, MarkRead, ReadPreferences


class Notifications:
    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def handlers(self) -> Mapping[str, Handler]:
        return {
            "list_notifications": self.list,
            "mark_notifications_read": self.mark_read,
            "read_preferences": self.read_preferences,
            "edit_preferences": self.edit_preferences,
        }

    async def list(self, call: Call) -> web.Response:
        query: requests.ListNotifications = call.query
        before = None if query.before is None else int(query.before)
        listed = await self._backend.notifications(call.by.id, before=before, limit=query.limit)
        further = {} if listed.next is None else next_link(call.request, before=str(listed.next))
        return answer(listed.page, headers={**further, hdrs.CACHE_CONTROL: "private, no-cache"})

    async def mark_read(self, call: Call) -> web.Response:
        body: requests.ReadUpTo = call.body
        return answer(await self._ask(call, MarkRead(cursor=body.cursor)))

    async def read_preferences(self, call: Call) -> web.Response:
        return answer(await self._ask(call, ReadPreferences()))

    async def edit_preferences(self, call: Call) -> web.Response:
        body: requests.PreferencesEdit = call.body
        wanted = {kind: getattr(body, kind) for kind in EditPreferences.__struct_fields__}
        return answer(await self._ask(call, EditPreferences(**wanted)))

    async def _ask(self, call: Call, command: Command) -> Answer:
        return await self._backend.ask(f"user:{call.by.id}", command, call.by)
