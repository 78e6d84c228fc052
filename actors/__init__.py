"""What decides, and what runs it.

``post.py`` and ``user.py`` are actors: pure state machines, ``decide`` and ``apply``, with time an argument. Beside
them stand the values they are made of: the tree of comments, tallies of reactions, viewers, slots and leases.
``runtime/`` hosts them: it loads, orders, commits, publishes and puts away. Nothing here knows of sockets or SQL.
"""
