"""The aiohttp edge: where clients' bytes come in and go out.

``app`` composes it; ``runner`` puts it on a socket. A request passes ``middleware`` (ids, CORS, limits, problem
documents) and ``http`` (who asks, how often, with what), and reaches the handler that its row in ``protocol.routes``
names: in ``accounts``, ``posts``, ``comments`` or ``reactions``. ``websocket`` and ``sse`` stay open instead; what they
share is in ``sockets``. ``authentication`` knows who a token is: one that ``tokens`` signed, or one of the host site's,
by ``hosts``. ``pages`` and ``reference`` serve the blog and the description of the interface. Actors are reached only
through ``backend``.
"""
