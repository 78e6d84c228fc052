"""A user: a state machine over ``UserState``. Pure: decides and folds, reads no clock, does no I/O.

The decisions stand in modules of their own: about the account, its sessions, its timeline,
whom it follows, blocks and mutes, and what it is told.
"""

from actors import account, bookmarks, following, notifying, sessions, timelines
from actors.account import ERASE_CHUNK
from actors.actor import Decision, Need, ReadHead, ReadUnread, RingAlarm, TracesNeeded
from actors.jobs import EdgesClosed, TimelineTended
from actors.userstate import UserState
from protocol.accounts import (
    CheckSession,
    CreateAccount,
    DeleteAccount,
    EditAccount,
    EndSession,
    OpenSession,
    ReadAccount,
    ReadCredentials,
    RedeemTicket,
    RotateSession,
    SyncHostAccount,
)
from protocol.commands import Command, Person
from protocol.errors import Refused
from protocol.finding import Bookmark
from protocol.graph import (
    Block,
    DropFollow,
    Follow,
    FollowerGained,
    FollowerLost,
    Mute,
    ReadRelationships,
    RemoveFollower,
    Unblock,
    Unfollow,
    Unmute,
)
from protocol.notifications import EditPreferences, ForgetPerson, MarkRead, Notify, ReadPreferences, TakeBack
from protocol.timelines import NoteReads, PostPublished, PostWithdrawn
from protocol.views import Ack


class UserActor(UserState):
    """See ``Actor``. An account that was never made exists only to refuse."""

    def needs(self, command: Command) -> Need | None:
        match command:
            case RingAlarm(name="erase"):
                return TracesNeeded(ERASE_CHUNK)
            case _:
                return following.needed(command) or bookmarks.needed(command) or notifying.needed(self, command)

    def decide(self, command: Command, by: Person, now: float) -> Decision:
        now_ms = int(now * 1000)
        match command:
            case CreateAccount():
                return account.create(self, command, now_ms)
            case SyncHostAccount():
                return account.sync(self, command, now_ms)
            case ReadAccount():
                return account.read(self)
            case ReadCredentials():
                return account.credentials(self)
            case EditAccount():
                return account.edit(self, command, now_ms)
            case DeleteAccount():
                return account.delete(self, now_ms)
            case OpenSession():
                return sessions.open_(self, command, now_ms)
            case RotateSession():
                return sessions.rotate(self, command, now_ms)
            case CheckSession():
                return sessions.check(self, command, now_ms)
            case EndSession():
                return sessions.end(self, command, now_ms)
            case RedeemTicket():
                self.active_account()
                return Decision(answer=Ack)
            case Follow():
                return following.follow(self, command, by, now_ms)
            case Unfollow():
                return following.unfollow(self, command, by, now_ms)
            case Block():
                return following.block(self, command, by, now_ms)
            case Unblock():
                return following.unblock(self, command, by, now_ms)
            case Mute():
                return following.mute(self, command, by, now_ms)
            case Unmute():
                return following.unmute(self, command, by, now_ms)
            case RemoveFollower():
                return following.remove_follower(self, command, by, now_ms)
            case ReadRelationships():
                return following.relationships(self, command, by, now_ms)
            case Bookmark():
                return bookmarks.bookmark(self, command, by, now_ms)
            case FollowerGained():
                return following.gained(self, command, now_ms)
            case FollowerLost():
                return following.lost(self, command, now_ms)
            case DropFollow():
                return following.dropped(self, command)
            case PostPublished():
                return timelines.published(self, now_ms)
            case PostWithdrawn():
                return timelines.withdrawn(self)
            case NoteReads():
                return timelines.read(self, command, now_ms)
            case TimelineTended():
                return timelines.tended(self, command, now_ms)
            case EdgesClosed():
                return timelines.closed(self, command, now_ms)
            case Notify():
                return notifying.notify(self, command, now_ms)
            case TakeBack():
                return notifying.take_back(self, command, now_ms)
            case ForgetPerson():
                return notifying.forget(self, command, now_ms)
            case ReadHead():
                notifying.check_reads(self, by)
                return Decision(answer=lambda: self.head)
            case ReadUnread():
                return notifying.unread(self)
            case MarkRead():
                return notifying.mark_read(self, command, by)
            case ReadPreferences():
                return notifying.preferences(self, by)
            case EditPreferences():
                return notifying.prefer(self, command, by)
            case RingAlarm(name="notifications"):
                return notifying.tidy(self, now_ms)
            case RingAlarm(name="timeline"):
                return timelines.due(self, now_ms)
            case RingAlarm(name="close edges"):
                return timelines.close_due(self)
            case RingAlarm(name="erase"):
                return account.erase(self, now_ms)
            case RingAlarm():
                return Decision(answer=Ack, alarms={command.name: None})
            case _:
                raise Refused("method_not_found")
