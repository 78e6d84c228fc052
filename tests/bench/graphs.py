"""Graphs to measure on: who follows whom and who posts how much, the same for each seed."""

from bisect import bisect
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Final

from msgspec import Struct

from protocol.edgelist import Junk, read_edges

SEED: Final = 8
FOLLOWED: Final = (10, 100, 500, 1_600)
"""How many people the readers of one experiment follow."""
READER: Final = 10_000_000
"""The reader who follows n people is number READER + n."""
STAR: Final = 20_000_000
STAR_FOLLOWERS: Final = 1_000
EDGES_1500: Final = 140_000
EDGES_EACH: Final = 20
"""Of a person of the other made graphs, on average; but not more in all than ``EDGES_MAX``."""
EDGES_MAX: Final = 1_000_000
VISITS_A_DAY: Final = 1.0
"""The median of those who are here."""
WRITING_SPREAD: Final = 2.0
"""Of the logarithm of how much one writes: a hundredth writes a third of all."""
POSTS_AHEAD: Final = 5
"""Of everybody whom a reader of the experiment follows first: so that ten people fill a page of 50."""


class Graph(Struct, frozen=True):
    name: str
    people: int
    edges: Sequence[tuple[int, int]]
    """Follower, followee; of the people, and of those who are there for an experiment."""
    posts: Sequence[int]
    """Who publishes within a day, one post after the other."""
    visits: dict[int, float]
    """How often a day each of those comes who are not away: every second one of the people."""
    celebrity_followers: int
    """What makes a celebrity of the first of a hundred."""
    shown: Mapping[int, int]
    """How many posts there are for a reader to see: the reader's own, and those of whom the reader follows."""

    def write(self, file: Path) -> None:
        file.write_text("".join(f"{follower} {followee}\n" for follower, followee in self.edges))

    def readers(self, count: int, limit: int) -> list[int]:
        """At most ``count`` people who have full pages, those who are here first."""
        full = [person for person in range(self.people) if self.shown.get(person, 0) >= limit]
        return sorted(full, key=lambda person: person not in self.visits)[:count]


def attached(people: int, edges: int, random: Random) -> list[tuple[int, int]]:
    """Edges by preferential attachment (Barabási and Albert, 1999): who has more followers gets more.

    Everybody follows as many, give or take one; each is in the pool once, and once more for each follower.
    """
    pool = list(range(people))
    followed = [{person} for person in range(people)]
    chosen = []
    for number in range(edges):
        follower = number % people
        while (followee := random.choice(pool)) in followed[follower]:
            continue
        followed[follower].add(followee)
        pool.append(followee)
        chosen.append((follower, followee))
    return chosen


def made(people: int, edges: int, posts: int) -> Graph:
    random = Random(SEED)
    return _peopled(f"{people:,} people", people, attached(people, edges, random), posts, random)


def snap(file: Path, posts: int) -> Graph:
    """SNAP's ego-Facebook graph: whom one follows, follows back."""
    edges: list[tuple[int, int]] = []
    for found in read_edges([file.read_bytes()]):
        assert not isinstance(found, Junk), f"line {found.line} {found.reason}"
        one, other = int(found.follower), int(found.followee)
        edges += [(one, other), (other, one)]
    people = 1 + max(map(max, edges))
    return _peopled("SNAP Facebook", people, edges, posts, Random(SEED))


def _peopled(name: str, people: int, edges: list[tuple[int, int]], posts: int, random: Random) -> Graph:
    """The graph with those who are there for an experiment, what is posted and who comes how often."""
    followers = sorted(Counter(followee for _, followee in edges).values())
    order = random.sample(range(people), people)
    special = [(READER + count, followee) for count in FOLLOWED if count <= people for followee in order[:count]]
    special += [(follower, STAR) for follower in order[:STAR_FOLLOWERS]]
    weights = list(accumulate(random.lognormvariate(0, WRITING_SPREAD) for _ in range(people)))
    authors = [bisect(weights, random.random() * weights[-1]) for _ in range(posts)]
    authors += [person for person in order[: FOLLOWED[0]] for _ in range(POSTS_AHEAD)]
    random.shuffle(authors)
    visits = {person: VISITS_A_DAY * 2 ** random.gauss(0, 1) for person in order[: people // 2]}
    celebrity_followers = 1 + followers[len(followers) * 99 // 100]
    edges = [*edges, *special]
    return Graph(name, people, edges, authors, visits, celebrity_followers, _shown(edges, authors))


def _shown(edges: Sequence[tuple[int, int]], authors: Sequence[int]) -> dict[int, int]:
    written = Counter(authors)
    shown = Counter(written)
    for follower, followee in edges:
        shown[follower] += written[followee]
    return dict(shown)
