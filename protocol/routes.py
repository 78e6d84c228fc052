"""Every HTTP endpoint, as data: what registers the handlers and what the API description is made from.

A handler has the endpoint's ``name``. To add an endpoint: a row here, its structs in ``requests`` or ``views``, a
handler of that name in ``gateway``.
"""

from typing import Any, Literal

from msgspec import Struct

from protocol import requests, views
from protocol.accounts import AccountView
from protocol.cluster import ClusterView
from protocol.commands import Command, ReadComment, ReadComments, ReadPost
from protocol.finding import SearchHit
from protocol.graph import ListedPerson, Relationship, SuggestedPerson
from protocol.notifications import NotificationPage, Preferences, UnreadChanged
from protocol.timelines import TimelinePage

Who = Literal["anyone", "writer", "member", "admin"]
"""Who may ask: anonymous readers too; accounts and guests; accounts; admins. Beyond that, an actor may refuse."""

POST_BYTES_MAX = 1 << 20
"""Of a request that carries a post: 100,000 characters of any script, escaped or not."""


_ANYWHERE = (
    *("internal", "overloaded", "unavailable", "too_many_requests"),
    *("bad_request", "token_expired", "unauthorized"),
)


class Endpoint(Struct, frozen=True, kw_only=True):
    """One method of one path."""

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    name: str
    subject: str
    summary: str
    who: Who = "anyone"
    query: type[requests.Query] | None = None
    body: type[requests.Body] | None = None
    body_bytes_max: int | None = None
    """None: what the gateway allows any request."""
    answer: Any = None
    """A type; None: an answer without a body."""
    status: int = 200
    media_type: str = "application/json"
    headers: tuple[str, ...] = ()
    """Headers of the answer worth knowing."""
    errors: tuple[str, ...] = ()
    """Codes beyond those that every endpoint of its kind has; see ``error_codes``."""
    takes_operation: bool = False
    """Whether ``Idempotency-Key`` makes a retry safe. Where it is not taken, repeating is harmless anyway."""
    costly: bool = False
    """Counted against the small allowance for sign-ins."""
    shows: type[Command] | None = None
    """Which read of the post in its path it is, where all who are not signed in are answered alike: such an answer is
    kept until the post shows something else."""

    def error_codes(self) -> tuple[str, ...]:
        """Every code that it may answer."""
        codes = [*_ANYWHERE]
        if self.method != "GET":
            codes += ["origin_not_allowed", "request_timeout"]
        if self.who != "anyone":
            codes += ["permission_denied"]
        if self.body is not None:
            codes += ["too_large", "unsupported_media_type"]
        if self.body is not None or self.query is not None:
            codes += ["invalid"]
        if self.takes_operation:
            codes += ["operation_reused", "invalid"]
        return tuple(dict.fromkeys((*codes, *self.errors)))


_NO_POST = ("post_not_found",)
_NO_COMMENT = ("post_not_found", "comment_not_found")
_NO_OTHER = ("account_not_found", "oneself")
_BAD_COMMENT = ("comment_empty", "comment_too_long", "refused")

# fmt: off
_ACCOUNTS = (
    Endpoint(
        method="POST", path="/v1/accounts", name="sign_up", subject="Accounts",
        summary="Make an account and sign in. With an Idempotency-Key, the handle, e-mail and password of an account"
        " that is there sign in.",
        body=requests.SignUp, answer=requests.SignedIn, status=201, headers=("Location",), takes_operation=True,
        costly=True, errors=("sign_up_closed", "handle_taken", "email_taken"),
    ),
    Endpoint(
        method="POST", path="/v1/sessions", name="sign_in", subject="Accounts",
        summary="Sign in by handle or e-mail address.",
        body=requests.SignIn, answer=requests.SignedIn, status=201, costly=True, errors=("wrong_credentials",),
    ),
    Endpoint(
        method="POST", path="/v1/sessions/refresh", name="refresh_session", subject="Accounts",
        summary="Exchange a refresh token for the next pair. For 30 s the token before gets the same pair again; "
        "any older one ends the session.",
        body=requests.RefreshSession, answer=requests.SignedIn, errors=("session_ended",),
    ),
    Endpoint(
        method="DELETE", path="/v1/sessions/current", name="sign_out", subject="Accounts",
        summary="Sign out: the session's tokens are refused from now on.",
        who="writer", status=204, errors=("not_available",),
    ),
    Endpoint(
        method="POST", path="/v1/guests", name="sign_in_as_guest", subject="Accounts",
        summary="Become a guest: a name without a password, who may comment and edit these comments.",
        body=requests.NewGuest, answer=requests.SignedIn, status=201, costly=True, errors=("guests_not_allowed",),
    ),
    Endpoint(
        method="GET", path="/v1/me", name="read_me", subject="Accounts",
        summary="One's own account.",
        who="writer", answer=AccountView, errors=("account_not_found",),
    ),
    Endpoint(
        method="PATCH", path="/v1/me", name="edit_me", subject="Accounts",
        summary="Change one's profile or password; answers with an access token that bears the new name.",
        who="writer", body=requests.EditProfile, answer=requests.SignedIn,
        errors=("account_not_found", "wrong_credentials", "not_available"),
    ),
    Endpoint(
        method="DELETE", path="/v1/me", name="delete_me", subject="Accounts",
        summary="Delete one's account and end its sessions. Comments lose their author, or become tombstones.",
        who="writer", status=204, errors=("account_not_found",),
    ),
    Endpoint(
        method="GET", path="/v1/users/{handle}", name="read_user", subject="Accounts",
        summary="What everyone may know of a member.",
        answer=requests.PublicProfile, errors=("account_not_found",),
    ),
    Endpoint(
        method="POST", path="/v1/tickets", name="make_ticket", subject="Accounts",
        summary="A ticket to stand for the access token in a query, once, for a minute: EventSource sends no headers.",
        who="writer", answer=requests.Ticket, status=201,
    ),
)

_POSTS = (
    Endpoint(
        method="GET", path="/v1/posts", name="list_posts", subject="Posts",
        summary="Published posts, newest first, or the hottest.",
        query=requests.ListPosts, answer=list[views.PostView], headers=("Link",), errors=("permission_denied",),
    ),
    Endpoint(
        method="POST", path="/v1/posts", name="create_post", subject="Posts",
        summary="Write a post: a draft, published now, or at a time to come.",
        who="member", body=requests.NewPost, body_bytes_max=POST_BYTES_MAX, answer=views.PostView, status=201,
        headers=("Location", "ETag"), takes_operation=True, errors=("slug_taken", "refused"),
    ),
    Endpoint(
        method="GET", path="/v1/posts/{id}", name="read_post", subject="Posts",
        summary="One post with its counters. A draft only for its author and moderators.",
        answer=views.PostView, headers=("ETag",), errors=_NO_POST, shows=ReadPost,
    ),
    Endpoint(
        method="GET", path="/v1/posts/by-slug/{slug}", name="read_post_by_slug", subject="Posts",
        summary="One post, by its slug.",
        answer=views.PostView, headers=("ETag",), errors=_NO_POST,
    ),
    Endpoint(
        method="PATCH", path="/v1/posts/{id}", name="edit_post", subject="Posts",
        summary="Change what is given of a post, leave the rest. For its author and moderators.",
        who="member", body=requests.PostEdit, body_bytes_max=POST_BYTES_MAX, answer=views.PostView, headers=("ETag",),
        takes_operation=True, errors=(*_NO_POST, "not_author", "slug_taken", "refused"),
    ),
    Endpoint(
        method="DELETE", path="/v1/posts/{id}", name="delete_post", subject="Posts",
        summary="Delete a post. For its author and moderators.",
        who="member", status=204, takes_operation=True, errors=(*_NO_POST, "not_author"),
    ),
    Endpoint(
        method="POST", path="/v1/posts/{id}/publish", name="publish_post", subject="Posts",
        summary="Publish a draft now, or at a time to come.",
        who="member", body=requests.Publication, answer=views.PostView, headers=("ETag",), takes_operation=True,
        errors=(*_NO_POST, "not_author"),
    ),
    Endpoint(
        method="PUT", path="/v1/pages", name="open_page", subject="Posts",
        summary="The post that holds the comments of a page elsewhere, made on first use. The site that asks has to be "
        "allowed, and the site of the url, which is needed where no site asks. "
        "Query, fragment, trailing slash, default port and the case of the host make no difference.",
        body=requests.PageKey, answer=views.PostView, headers=("ETag",), errors=_NO_POST,
    ),
    Endpoint(
        method="POST", path="/v1/counts", name="read_counts", subject="Posts",
        summary="The counters of many posts in one call; those that do not exist are left out.",
        body=requests.CountsQuery, answer=dict[str, views.Counters],
    ),
    Endpoint(
        method="GET", path="/v1/posts/{id}/changes", name="read_changes", subject="Posts",
        summary="What changed on the post's stream since a cursor, however old; without one, where the stream stands.",
        query=requests.ReadChanges, answer=requests.Changes, errors=_NO_POST,
    ),
)

_COMMENTS = (
    Endpoint(
        method="GET", path="/v1/posts/{id}/comments", name="list_comments", subject="Comments",
        summary="A page of comments, whole threads or one level, and the cursor to go on live from; without the words"
        " of those from whom a block or a mute parts the reader.",
        query=requests.ListComments, answer=views.CommentPage, headers=("Link", "ETag"),
        errors=(*_NO_COMMENT, "permission_denied"), shows=ReadComments,
    ),
    Endpoint(
        method="POST", path="/v1/posts/{id}/comments", name="create_comment", subject="Comments",
        summary="Write a comment, or a reply to one. A retry with the same Idempotency-Key answers the comment as it is"
        " by then.",
        who="writer", body=requests.NewComment, answer=views.CommentView, status=201, headers=("Location",),
        takes_operation=True, errors=(*_NO_POST, "parent_not_found", "comments_closed", *_BAD_COMMENT),
    ),
    Endpoint(
        method="GET", path="/v1/posts/{id}/comments/{comment}", name="read_comment", subject="Comments",
        summary="One comment, whole, whoever wrote it: also where a page leaves its words out.",
        answer=views.CommentView, headers=("ETag",), errors=_NO_COMMENT, shows=ReadComment,
    ),
    Endpoint(
        method="PATCH", path="/v1/posts/{id}/comments/{comment}", name="edit_comment", subject="Comments",
        summary="Rewrite one's comment, for 15 minutes.",
        who="writer", body=requests.CommentEdit, answer=views.CommentView, takes_operation=True,
        errors=(*_NO_COMMENT, "not_author", "edit_window_over", *_BAD_COMMENT),
    ),
    Endpoint(
        method="DELETE", path="/v1/posts/{id}/comments/{comment}", name="delete_comment", subject="Comments",
        summary="Delete a comment; a tombstone keeps its place, the replies stay.",
        who="writer", status=204, takes_operation=True, errors=(*_NO_COMMENT, "not_author"),
    ),
    Endpoint(
        method="POST", path="/v1/posts/{id}/comments/{comment}/approve", name="approve_comment", subject="Comments",
        summary="Show a comment that is held. For moderators and the post's author.",
        who="member", answer=views.CommentView, takes_operation=True, errors=_NO_COMMENT,
    ),
)

_REACTIONS = (
    Endpoint(
        method="PUT", path="/v1/posts/{id}/reactions/{kind}", name="react", subject="Reactions",
        summary="Give the post a reaction; one of each kind a person.",
        who="writer", answer=views.Ack, errors=(*_NO_POST, "unknown_reaction"),
    ),
    Endpoint(
        method="DELETE", path="/v1/posts/{id}/reactions/{kind}", name="unreact", subject="Reactions",
        summary="Take one's reaction back.",
        who="writer", answer=views.Ack, errors=(*_NO_POST, "unknown_reaction"),
    ),
    Endpoint(
        method="PUT", path="/v1/posts/{id}/comments/{comment}/reactions/{kind}", name="react_to_comment",
        subject="Reactions", summary="Give a comment a reaction.",
        who="writer", answer=views.Ack, errors=(*_NO_COMMENT, "unknown_reaction"),
    ),
    Endpoint(
        method="DELETE", path="/v1/posts/{id}/comments/{comment}/reactions/{kind}", name="unreact_to_comment",
        subject="Reactions", summary="Take one's reaction to a comment back.",
        who="writer", answer=views.Ack, errors=(*_NO_COMMENT, "unknown_reaction"),
    ),
    Endpoint(
        method="PUT", path="/v1/posts/{id}/applause", name="applaud", subject="Reactions",
        summary="Set one's applause for the post, 0 to 50.",
        who="writer", body=requests.Applause, answer=views.Ack, errors=(*_NO_POST, "applause_out_of_range"),
    ),
    Endpoint(
        method="POST", path="/v1/posts/{id}/views", name="view_post", subject="Reactions",
        summary="Say that the post is being looked at; counts once per viewer and half hour.",
        status=204, errors=_NO_POST,
    ),
    Endpoint(
        method="POST", path="/v1/posts/{id}/typing", name="signal_typing", subject="Reactions",
        summary="Say that one is writing, or has stopped; shown to the others for some seconds.",
        who="writer", body=requests.TypingSignal, status=204, errors=_NO_POST,
    ),
)

_GRAPH = (
    Endpoint(
        method="PUT", path="/v1/users/{handle}/follow", name="follow", subject="People",
        summary="Follow a member.",
        who="member", answer=Relationship, errors=(*_NO_OTHER, "blocked", "blocking", "following_too_many"),
    ),
    Endpoint(
        method="DELETE", path="/v1/users/{handle}/follow", name="unfollow", subject="People",
        summary="Follow a member no more.",
        who="member", answer=Relationship, errors=_NO_OTHER,
    ),
    Endpoint(
        method="PUT", path="/v1/users/{handle}/block", name="block", subject="People",
        summary="Block a member or a guest: neither follows the other any more, nor is told of what the other does.",
        who="member", answer=Relationship, errors=_NO_OTHER,
    ),
    Endpoint(
        method="DELETE", path="/v1/users/{handle}/block", name="unblock", subject="People",
        summary="Take a block back; who followed before does not again.",
        who="member", answer=Relationship, errors=_NO_OTHER,
    ),
    Endpoint(
        method="PUT", path="/v1/users/{handle}/mute", name="mute", subject="People",
        summary="See nothing of a member or a guest, who is not told; for good, or until a time.",
        who="member", body=requests.NewMute, answer=Relationship, errors=_NO_OTHER,
    ),
    Endpoint(
        method="DELETE", path="/v1/users/{handle}/mute", name="unmute", subject="People",
        summary="Mute a member no more.",
        who="member", answer=Relationship, errors=_NO_OTHER,
    ),
    Endpoint(
        method="DELETE", path="/v1/me/followers/{handle}", name="remove_follower", subject="People",
        summary="Have a member not follow one any more, who is not told and may follow again.",
        who="member", answer=Relationship, errors=_NO_OTHER,
    ),
    Endpoint(
        method="GET", path="/v1/users/{handle}/followers", name="list_followers", subject="People",
        summary="Who follows a member, newest first.",
        query=requests.ListPeople, answer=list[ListedPerson], headers=("Link",), errors=("account_not_found",),
    ),
    Endpoint(
        method="GET", path="/v1/users/{handle}/following", name="list_following", subject="People",
        summary="Whom a member follows, newest first.",
        query=requests.ListPeople, answer=list[ListedPerson], headers=("Link",), errors=("account_not_found",),
    ),
    Endpoint(
        method="GET", path="/v1/me/blocks", name="list_blocks", subject="People",
        summary="Whom one blocks, newest first.",
        who="member", query=requests.ListPeople, answer=list[ListedPerson], headers=("Link",),
    ),
    Endpoint(
        method="GET", path="/v1/me/mutes", name="list_mutes", subject="People",
        summary="Whom one mutes now, newest first.",
        who="member", query=requests.ListPeople, answer=list[ListedPerson], headers=("Link",),
    ),
    Endpoint(
        method="GET", path="/v1/relationships", name="read_relationships", subject="People",
        summary="How one stands to up to 100 others; who has no account is left out.",
        who="member", query=requests.RelationshipsQuery, answer=list[Relationship], errors=("account_not_found",),
    ),
    Endpoint(
        method="GET", path="/v1/suggestions", name="list_suggestions", subject="People",
        summary="Members whom those one follows follow, by how many of them do.",
        who="member", query=requests.ListSuggestions, answer=list[SuggestedPerson],
    ),
)

_TIMELINES = (
    Endpoint(
        method="GET", path="/v1/timeline", name="read_timeline", subject="Timelines",
        summary="The posts of oneself and of whom one follows, by the time of their publication, newest first; and the "
        "cursor to go on live from. A page may hold fewer posts than asked for and still not be the last.",
        who="member", query=requests.ReadTimeline, answer=TimelinePage, headers=("Link",),
    ),
    Endpoint(
        method="GET", path="/v1/users/{handle}/posts", name="list_posts_of", subject="Timelines",
        summary="The posts of a member, by the time of their publication, newest first; none across a block.",
        query=requests.ReadTimeline, answer=list[views.PostView], headers=("Link",), errors=("account_not_found",),
    ),
)

_FINDING = (
    Endpoint(
        method="PUT", path="/v1/posts/{id}/bookmark", name="set_bookmark", subject="Finding",
        summary="Set a bookmark on a post.",
        who="writer", answer=views.Ack, errors=(*_NO_POST, "account_not_found"),
    ),
    Endpoint(
        method="DELETE", path="/v1/posts/{id}/bookmark", name="remove_bookmark", subject="Finding",
        summary="Take one's bookmark on a post away.",
        who="writer", answer=views.Ack, errors=(*_NO_POST, "account_not_found"),
    ),
    Endpoint(
        method="GET", path="/v1/bookmarks", name="list_bookmarks", subject="Finding",
        summary="The posts that one has bookmarked, the last first; deleted ones are left out.",
        who="writer", query=requests.ListBookmarks, answer=list[views.PostView], headers=("Link",),
    ),
    Endpoint(
        method="GET", path="/v1/search", name="search", subject="Finding",
        summary="Posts and comments by their words, the best first; what is new is found some seconds later.",
        query=requests.SearchQuery, answer=list[SearchHit], headers=("Link",),
    ),
)

_NOTIFICATIONS = (
    Endpoint(
        method="GET", path="/v1/notifications", name="list_notifications", subject="Notifications",
        summary="What one is told, in groups, by their last change; with the number of unread ones.",
        who="writer", query=requests.ListNotifications, answer=NotificationPage, headers=("Link",),
    ),
    Endpoint(
        method="POST", path="/v1/notifications/read", name="mark_notifications_read", subject="Notifications",
        summary="Say that all up to a cursor is read; what was read stays so.",
        who="writer", body=requests.ReadUpTo, answer=UnreadChanged, errors=("account_not_found",),
    ),
    Endpoint(
        method="GET", path="/v1/notifications/preferences", name="read_preferences", subject="Notifications",
        summary="Of which kinds one wants to be told.",
        who="writer", answer=Preferences, errors=("account_not_found",),
    ),
    Endpoint(
        method="PATCH", path="/v1/notifications/preferences", name="edit_preferences", subject="Notifications",
        summary="Change of which kinds one wants to be told.",
        who="writer", body=requests.PreferencesEdit, answer=Preferences, errors=("account_not_found",),
    ),
)

_OPERATIONS = (
    Endpoint(
        method="GET", path="/v1/cluster", name="read_cluster", subject="Operations",
        summary="The workers, who holds which slots, the busiest actors and the bus: what `server.py cluster` shows.",
        who="admin", answer=ClusterView,
    ),
)

STREAMS: tuple[Endpoint, ...] = (
    Endpoint(
        method="GET", path="/v1/posts/{id}/events", name="stream_events", subject="Live",
        summary="Everything that changes on the post, as Server-Sent Events: from now, or from the cursor in "
        "Last-Event-ID. The data is a Publication; the id is the cursor; event: reset says reload.",
        query=requests.StreamEvents, answer=str, media_type="text/event-stream", errors=_NO_POST,
    ),
    Endpoint(
        method="GET", path="/v1/feed/events", name="stream_feed", subject="Live",
        summary="Posts of those whom one follows, and one's own, as they are published, edited or deleted, as "
        "Server-Sent Events, by the same rules. A post may come more than once. With the ids of a stream that a ticket "
        "has opened, in Last-Event-ID, that ticket opens it again while the session lives, as EventSource does.",
        who="writer", query=requests.StreamEvents, answer=str, media_type="text/event-stream",
    ),
    Endpoint(
        method="GET", path="/v1/notifications/events", name="stream_notifications", subject="Live",
        summary="What one is told as it happens, as Server-Sent Events, by the same rules as the feed.",
        who="writer", query=requests.StreamEvents, answer=str, media_type="text/event-stream",
        errors=("account_not_found",),
    ),
)
"""Described like the others, and served by what keeps them open."""
# fmt: on

ENDPOINTS: tuple[Endpoint, ...] = (
    *_ACCOUNTS,
    *_POSTS,
    *_COMMENTS,
    *_REACTIONS,
    *_GRAPH,
    *_TIMELINES,
    *_FINDING,
    *_NOTIFICATIONS,
    *_OPERATIONS,
)
"""What is asked and answered."""

assert len({endpoint.name for endpoint in ENDPOINTS}) == len(ENDPOINTS), "two endpoints share a name"
