-- The first schema. A column is named like the row's field; a time `x_ms` there is `x_at timestamptz` here.

CREATE TABLE meta (
    single    boolean PRIMARY KEY DEFAULT true CHECK (single),
    slots     integer NOT NULL,
    epoch     text NOT NULL,
    secret    bytea NOT NULL
);

CREATE TABLE worker (
    id          uuid PRIMARY KEY,
    node        text NOT NULL,
    state       text NOT NULL CHECK (state IN ('live', 'dead')),
    lease_until timestamptz NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- fillfactor: every commit updates its slots' rows; room on the page keeps those updates off the index.
CREATE TABLE slot (
    slot  integer PRIMARY KEY,
    owner uuid REFERENCES worker (id),
    epoch bigint NOT NULL DEFAULT 0,
    head  bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 20);

CREATE TABLE name (
    kind text NOT NULL,
    name text NOT NULL,
    id   bigint NOT NULL,
    PRIMARY KEY (kind, name)
);

CREATE SEQUENCE account_number AS integer;

CREATE TABLE account (
    id            bigint PRIMARY KEY,
    kind          text NOT NULL CHECK (kind IN ('member', 'host', 'guest')),
    handle        text NOT NULL,
    name          text NOT NULL,
    email         text,
    url           text,
    role          text NOT NULL,
    password_hash text,
    state         text NOT NULL CHECK (state IN ('active', 'erasing', 'deleted')),
    version       bigint NOT NULL,
    created_at    timestamptz NOT NULL,
    deleted_at    timestamptz
);

CREATE TABLE session (
    id         text PRIMARY KEY,
    account_id bigint NOT NULL,
    generation integer NOT NULL,
    rotated_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE INDEX session_account ON session (account_id);
CREATE INDEX session_revoked ON session (revoked_at) WHERE revoked_at IS NOT NULL;

CREATE TABLE post (
    id             bigint PRIMARY KEY,
    author_id      bigint,
    slug           text CONSTRAINT post_slug_key UNIQUE,
    title          text NOT NULL,
    body           text NOT NULL,
    tags           text[] NOT NULL,
    state          text NOT NULL CHECK (state IN ('draft', 'scheduled', 'published', 'deleted')),
    comments_open  boolean NOT NULL,
    page_url       text,
    changed_offset bigint NOT NULL,
    created_at     timestamptz NOT NULL,
    publish_at     timestamptz,
    published_at   timestamptz,
    edited_at      timestamptz
);
CREATE INDEX post_listed ON post (state, id DESC) WHERE page_url IS NULL;
CREATE INDEX post_author ON post (author_id, id DESC);
CREATE INDEX post_tags ON post USING gin (tags);

CREATE TABLE post_state (
    post_id         bigint PRIMARY KEY,
    version         bigint NOT NULL,
    head            bigint NOT NULL,
    last_comment_id bigint NOT NULL,
    comments        bigint NOT NULL,
    reactions       jsonb NOT NULL,
    applause        bigint NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE snapshot (
    actor   text PRIMARY KEY,
    version bigint NOT NULL,
    head    bigint NOT NULL,
    data    bytea NOT NULL
);

CREATE TABLE post_views (
    post_id        bigint PRIMARY KEY,
    views          bigint NOT NULL,
    viewers        bigint NOT NULL,
    window_at      timestamptz NOT NULL,
    window_viewers bytea NOT NULL,
    all_viewers    bytea NOT NULL
);

CREATE TABLE comment (
    post_id        bigint NOT NULL,
    id             bigint NOT NULL,
    parent_id      bigint,
    author_id      bigint,
    body           text NOT NULL,
    state          text NOT NULL CHECK (state IN ('visible', 'held', 'deleted')),
    kind           text NOT NULL CHECK (kind IN ('comment', 'pingback')),
    changed_offset bigint NOT NULL,
    version        bigint NOT NULL,
    source         text,
    author_name    text,
    author_url     text,
    created_at     timestamptz NOT NULL,
    edited_at      timestamptz,
    deleted_at     timestamptz,
    PRIMARY KEY (post_id, id)
);
-- Resume reads by offset, activation by version; the two rise together, so one index serves both.
CREATE INDEX comment_changed ON comment (post_id, changed_offset);
CREATE INDEX comment_author ON comment (author_id, post_id, id) WHERE author_id IS NOT NULL;
CREATE UNIQUE INDEX comment_source ON comment (post_id, source) WHERE source IS NOT NULL;

CREATE TABLE reaction (
    post_id    bigint NOT NULL,
    comment_id bigint NOT NULL,
    kind       text NOT NULL,
    user_id    bigint NOT NULL,
    amount     integer NOT NULL,
    version    bigint NOT NULL,
    PRIMARY KEY (post_id, comment_id, kind, user_id)
);
CREATE INDEX reaction_version ON reaction (post_id, version);

CREATE TABLE operation (
    account_id  bigint NOT NULL,
    op          text NOT NULL,
    actor       text NOT NULL,
    fingerprint bytea NOT NULL,
    result      bytea NOT NULL,
    at          timestamptz NOT NULL,
    PRIMARY KEY (account_id, op)
);
CREATE INDEX operation_actor ON operation (actor, at);

CREATE TABLE alarm (
    slot   integer NOT NULL,
    actor  text NOT NULL,
    name   text NOT NULL,
    due_at timestamptz NOT NULL,
    PRIMARY KEY (actor, name)
);
CREATE INDEX alarm_due ON alarm (due_at);

CREATE TABLE outbox (
    slot     integer NOT NULL,
    id       bigint NOT NULL,
    sender   text NOT NULL,
    receiver text NOT NULL,
    payload  bytea NOT NULL,
    PRIMARY KEY (slot, id)
);

CREATE TABLE mark (
    receiver text NOT NULL,
    slot     integer NOT NULL,
    id       bigint NOT NULL,
    PRIMARY KEY (receiver, slot)
);

-- Binds names to one id, all or none. Each is locked, in one order for all callers, before any is read: of two claims that
-- cross, the second sees what the first has done, and neither waits for the other.
CREATE FUNCTION claim_names(thing text, kinds text[], names text[], wanted bigint, OUT bound bigint, OUT taken text)
LANGUAGE plpgsql AS $$
DECLARE
    holders bigint[];
BEGIN
    PERFORM pg_advisory_xact_lock(locks.key) FROM (
        SELECT DISTINCT hashtextextended(claimed.kind || ' ' || claimed.name, 0) AS key
        FROM unnest(kinds, names) AS claimed (kind, name) ORDER BY key
    ) AS locks;

    SELECT array_agg(DISTINCT name.id) INTO holders
    FROM name JOIN unnest(kinds, names) AS claimed (kind, name) USING (kind, name);

    bound := coalesce(holders[1], wanted);
    IF cardinality(holders) > 1 OR (bound <> wanted AND CASE thing
        WHEN 'account' THEN EXISTS (SELECT FROM account WHERE account.id = bound)
        WHEN 'post' THEN EXISTS (SELECT FROM post WHERE post.id = bound)
    END) THEN
        bound := NULL;
        SELECT claimed.kind INTO taken
        FROM name JOIN unnest(kinds, names) WITH ORDINALITY AS claimed (kind, name, place) USING (kind, name)
        WHERE name.id <> wanted ORDER BY claimed.place LIMIT 1;
        RETURN;
    END IF;

    INSERT INTO name (kind, name, id)
    SELECT claimed.kind, claimed.name, bound FROM unnest(kinds, names) AS claimed (kind, name)
    ON CONFLICT DO NOTHING;
END
$$;
