-- Who follows, blocks and mutes whom; and what changes with every commit of a user.

CREATE TABLE user_state (
    user_id   bigint PRIMARY KEY,
    version   bigint NOT NULL,
    head      bigint NOT NULL,
    followers bigint NOT NULL,
    following bigint NOT NULL
) WITH (fillfactor = 50);

-- An edge counts only while no block stands between the two, whichever way: every read looks.
-- tx, by which one that missed something finds what is newer, is not written by the follower's actor.
CREATE TABLE follow (
    follower   bigint NOT NULL,
    followee   bigint NOT NULL,
    created_at timestamptz NOT NULL,
    tx         xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (follower, followee)
);
CREATE INDEX follow_followers ON follow (followee, created_at, follower);
CREATE INDEX follow_following ON follow (follower, created_at, followee);

CREATE TABLE block (
    blocker    bigint NOT NULL,
    blocked    bigint NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (blocker, blocked)
);
CREATE INDEX block_blocked ON block (blocked, blocker);
CREATE INDEX block_newest ON block (blocker, created_at, blocked);

CREATE TABLE mute (
    muter      bigint NOT NULL,
    muted      bigint NOT NULL,
    until_at   timestamptz,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (muter, muted)
);
CREATE INDEX mute_muted ON mute (muted, muter);
CREATE INDEX mute_newest ON mute (muter, created_at, muted);
