-- What people are told of: groups of like events, each group one row that counts up and down.

-- changed_offset is the place of the last change on the stream of the person; a group that is gone stays as a tombstone.
CREATE TABLE notification (
    user_id        bigint NOT NULL,
    id             bigint NOT NULL,
    kind           text NOT NULL CHECK (kind IN ('comment', 'reply', 'mention', 'follow', 'reaction', 'applause')),
    post_id        bigint NOT NULL,
    comment_id     bigint NOT NULL,
    hour_at        timestamptz NOT NULL,
    count          bigint NOT NULL,
    sample         bigint[] NOT NULL,
    changed_offset bigint NOT NULL,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    gone           boolean NOT NULL,
    PRIMARY KEY (user_id, id)
) WITH (fillfactor = 80);
CREATE INDEX notification_changed ON notification (user_id, changed_offset);
CREATE INDEX notification_target ON notification (user_id, post_id, comment_id, kind) WHERE NOT gone;
CREATE INDEX notification_about ON notification (post_id, comment_id, user_id) WHERE NOT gone AND post_id > 0;
CREATE INDEX notification_naming ON notification USING gin (sample) WHERE NOT gone;

-- Up to which offset the person has read, and of which kinds nothing is to be told.
ALTER TABLE user_state
    ADD COLUMN read_offset bigint NOT NULL DEFAULT 0,
    ADD COLUMN silenced    text[] NOT NULL DEFAULT '{}';

-- Up to which version others have been told of what happened on a post: nobody is told of what was before this.
ALTER TABLE post_state ADD COLUMN told bigint NOT NULL DEFAULT 0;
UPDATE post_state SET told = version;
