"""Takes likes on posts as a worker does, one by one: a process, for what it holds is what the kernel says of it.

``python -m tests.bench.liking LIKES ONE_IN COUNT …`` says for each count of posts, ascending, the bytes that are
resident when so many posts have their likes. As on a server, people are told of them a second after the first: so what
is kept for that is forgotten now and then.
"""

import gc
import os
import sys
from collections.abc import Iterator, Sequence

from actors.actor import NewsTold, ReactionSaved
from actors.encoding import Encoder
from actors.policy import Policy
from actors.post import PostActor
from store.rows import ReactionRow
from tests.bench.measuring import resident_bytes

TOLD_EVERY = 1_000


def liked_posts(likes: int, one_in: int) -> Iterator[PostActor]:
    """One after the other; of ``one_in`` accounts one likes each."""
    policy, encoder, id = Policy(), Encoder(), 0
    while True:
        id += 1
        post = PostActor(id, policy=policy, encoder=encoder, stream_epoch=str)
        for number in range(1, likes + 1):
            row = ReactionRow(post_id=id, comment_id=0, kind="like", user_id=number * one_in, amount=1, version=number)
            post.apply(ReactionSaved(row))
            if number % TOLD_EVERY == 0:
                post.apply(NewsTold(()))
                post.trim()
        yield post


def main(argv: Sequence[str]) -> None:
    likes, one_in, *counts = map(int, argv)
    posts = liked_posts(likes, one_in)
    held: list[PostActor] = []
    for count in counts:
        while len(held) < count:
            held.append(next(posts))
        gc.collect()
        assert all(post.counters().reactions == {"like": likes} for post in held)
        print(resident_bytes(os.getpid()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
