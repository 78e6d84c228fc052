"""The endpoints of reactions, applause, views and typing."""

from collections.abc import Mapping

from aiohttp import web

from protocol import requests
from protocol.commands import Applaud, React, Typing, View
from protocol.gateway.http import Call, Handler, answer, no_content


class Reactions:
    def handlers(self) -> Mapping[str, Handler]:
        return {
            "react": self.react,
            "unreact": self.unreact,
            "react_to_comment": self.react_to_comment,
            "unreact_to_comment": self.unreact_to_comment,
            "applaud": self.applaud,
            "view_post": self.view,
            "signal_typing": self.typing,
        }

    async def react(self, call: Call) -> web.Response:
        return answer(await call.ask_post(React(post=call.post, kind=call.kind, on=True)))

    async def unreact(self, call: Call) -> web.Response:
        return answer(await call.ask_post(React(post=call.post, kind=call.kind, on=False)))

    async def react_to_comment(self, call: Call) -> web.Response:
        command = React(post=call.post, kind=call.kind, on=True, comment=call.comment)
        return answer(await call.ask_post(command))

    async def unreact_to_comment(self, call: Call) -> web.Response:
        command = React(post=call.post, kind=call.kind, on=False, comment=call.comment)
        return answer(await call.ask_post(command))

    async def applaud(self, call: Call) -> web.Response:
        body: requests.Applause = call.body
        return answer(await call.ask_post(Applaud(post=call.post, total=body.total)))

    async def view(self, call: Call) -> web.Response:
        await call.ask_post(View(post=call.post))
        return no_content()

    async def typing(self, call: Call) -> web.Response:
        body: requests.TypingSignal = call.body
        await call.ask_post(Typing(post=call.post, on=body.on))
        return no_content()
