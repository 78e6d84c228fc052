"""The conversation with clients.

The core here is pure: values in, values out, time an argument. ``commands`` and ``views`` are what is asked and shown,
and the same for every transport. ``centrifuge`` encodes the WebSocket's messages and ``session`` is the state of one
such conversation: bytes in, actions out. ``sse`` writes the blocks of an event stream. ``decode`` is the one way in for
what a client sends, ``text`` what its text must be, ``markdown`` what becomes of it. ``gateway`` is the edge that does
the input and output.
"""
