-- Where a post stands in timelines, the timelines, and the jobs that push posts into them.

-- published_id orders what is published by time: 0 before. tx is the transaction that wrote the row last.
ALTER TABLE post
    ADD COLUMN published_id bigint NOT NULL DEFAULT 0,
    ADD COLUMN tx xid8 NOT NULL DEFAULT pg_current_xact_id();
UPDATE post SET published_id = CASE
    WHEN published_at = created_at THEN id
    ELSE (extract(epoch FROM published_at) * 1000)::bigint << 20 | (id & 1048575)
END WHERE published_at IS NOT NULL;
CREATE INDEX post_published ON post (author_id, published_id DESC) WHERE state = 'published' AND page_url IS NULL;
CREATE INDEX post_tx ON post (tx);
CREATE INDEX post_author_tx ON post (author_id, tx);

ALTER TABLE user_state
    ADD COLUMN posts     bigint NOT NULL DEFAULT 0,
    ADD COLUMN posting   bigint NOT NULL DEFAULT 0,
    ADD COLUMN reading   bigint NOT NULL DEFAULT 0,
    ADD COLUMN seen_at   timestamptz,
    ADD COLUMN celebrity boolean NOT NULL DEFAULT false,
    ADD COLUMN arranged  text NOT NULL DEFAULT '',
    ADD COLUMN arranged_for bigint NOT NULL DEFAULT 0;
-- Versions go on from those of the accounts.
INSERT INTO user_state (user_id, version, head, followers, following, posts)
SELECT account.id, account.version, 0, 0, 0, (
    SELECT count(*) FROM post WHERE author_id = account.id AND state = 'published' AND page_url IS NULL
) FROM account ON CONFLICT DO NOTHING;

-- What the fan-out does with an edge. pulled: nothing, readers look at the followee's posts. opening: it pushes, but what
-- is older has not been copied, so that readers look as before. pushed: from the floor on all is in the timeline, or in
-- the job of a post whose fan-out goes on.
ALTER TABLE follow ADD COLUMN push text NOT NULL DEFAULT 'pulled' CHECK (push IN ('pulled', 'opening', 'pushed'));
CREATE INDEX follow_pushed ON follow (followee, follower) WHERE push <> 'pulled';
CREATE INDEX follow_looked_at ON follow (follower, followee) WHERE push <> 'pushed';

-- The order of the columns saves four bytes of padding a row.
CREATE TABLE timeline (
    published_id bigint NOT NULL,
    user_id      integer NOT NULL,
    author_id    integer NOT NULL,
    PRIMARY KEY (user_id, published_id)
);

-- Below it a timeline may have gaps; without a row it is 0.
CREATE TABLE timeline_floor (
    user_id integer PRIMARY KEY,
    floor   bigint NOT NULL
);

CREATE TABLE fanout (
    post_id        bigint PRIMARY KEY,
    author_id      bigint NOT NULL,
    published_id   bigint NOT NULL,
    after_follower bigint NOT NULL
);
CREATE INDEX fanout_published ON fanout (published_id);

-- The edges that count.
CREATE VIEW shown_edge AS
SELECT follower, followee, push, tx FROM follow
WHERE NOT EXISTS (SELECT FROM block WHERE blocker = follow.follower AND blocked = follow.followee)
  AND NOT EXISTS (SELECT FROM block WHERE blocker = follow.followee AND blocked = follow.follower)
  AND NOT EXISTS (
      SELECT FROM mute WHERE muter = follow.follower AND muted = follow.followee AND (until_at IS NULL OR until_at > now())
  )
  AND EXISTS (SELECT FROM account WHERE account.id = follow.followee AND account.state = 'active');

-- The newest posts below a place that someone's timeline shows, the newest first. All is read as of one moment, that of
-- the statement which calls this. The settings hold the planner to one loop in another, in the order written: each asks an
-- index, and stops once the page is full. OFFSET 0 has it look edge by edge, not at all of them at once.
CREATE FUNCTION timeline_page(reader bigint, below bigint, wanted integer)
RETURNS TABLE (place bigint, post_id bigint) LANGUAGE plpgsql STABLE ROWS 20
SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off
SET join_collapse_limit = 1 SET from_collapse_limit = 1
AS $$
DECLARE
    floor_place bigint := coalesce((SELECT floor FROM timeline_floor WHERE user_id = reader), 0);
    places bigint[];
    posts bigint[];
    bottom bigint;
BEGIN
    -- What needs no look at the edges: what was pushed, one's own, and what is being pushed.
    SELECT coalesce(array_agg(found.published_id ORDER BY found.published_id DESC), '{}'),
           coalesce(array_agg(found.id ORDER BY found.published_id DESC), '{}')
    INTO places, posts
    FROM (
        (SELECT post.published_id, post.id FROM timeline
         JOIN post ON post.author_id = timeline.author_id AND post.published_id = timeline.published_id
             AND post.state = 'published' AND post.page_url IS NULL
         WHERE timeline.user_id = reader AND timeline.published_id < below
             AND EXISTS (SELECT FROM shown_edge WHERE follower = reader AND followee = timeline.author_id OFFSET 0)
         ORDER BY timeline.published_id DESC LIMIT wanted)
        UNION
        (SELECT post.published_id, post.id FROM post
         WHERE post.author_id = reader AND post.state = 'published' AND post.page_url IS NULL
             AND post.published_id < below
         ORDER BY post.published_id DESC LIMIT wanted)
        UNION
        (SELECT post.published_id, post.id FROM fanout
         JOIN post ON post.id = fanout.post_id AND post.state = 'published'
         WHERE fanout.published_id < below
             AND EXISTS (SELECT FROM shown_edge WHERE follower = reader AND followee = fanout.author_id OFFSET 0)
         ORDER BY fanout.published_id DESC LIMIT wanted)
        ORDER BY published_id DESC LIMIT wanted
    ) AS found;
    -- Only what is newer can still come onto the page.
    bottom := coalesce(places[wanted], 0);

    -- What is pulled: of every edge that was not pushed, and below the floor of all. The page's posts are by the authors
    -- whose newest post is among the newest.
    RETURN QUERY
    SELECT found.place, found.id FROM (
        SELECT unnest(places) AS place, unnest(posts) AS id
        UNION
        SELECT pulled.published_id, pulled.id FROM (
            SELECT newest.author_id, newest.upto FROM (
                SELECT edge.followee AS author_id, edge.upto, latest.published_id FROM (
                    SELECT follow.followee, below AS upto FROM follow
                    WHERE follow.follower = reader AND follow.push <> 'pushed'
                    UNION ALL
                    SELECT follow.followee, least(below, floor_place) FROM follow
                    WHERE follow.follower = reader AND follow.push = 'pushed' AND bottom < floor_place
                ) AS edge
                CROSS JOIN LATERAL (
                    SELECT post.published_id FROM post
                    WHERE post.author_id = edge.followee AND post.state = 'published' AND post.page_url IS NULL
                        AND post.published_id < edge.upto AND post.published_id > bottom
                    ORDER BY post.published_id DESC LIMIT 1
                ) AS latest
                ORDER BY latest.published_id DESC OFFSET 0
            ) AS newest
            WHERE EXISTS (SELECT FROM shown_edge WHERE follower = reader AND followee = newest.author_id OFFSET 0)
            ORDER BY newest.published_id DESC LIMIT wanted
        ) AS author
        CROSS JOIN LATERAL (
            SELECT post.published_id, post.id FROM post
            WHERE post.author_id = author.author_id AND post.state = 'published' AND post.page_url IS NULL
                AND post.published_id < author.upto AND post.published_id > bottom
            ORDER BY post.published_id DESC LIMIT wanted
        ) AS pulled
    ) AS found
    ORDER BY found.place DESC LIMIT wanted;
END
$$;

-- Whether the posts of an author should be pushed to a reader whose visits weigh as much as reading says.
CREATE FUNCTION should_push(
    strategy text, here boolean, reading bigint, celebrity boolean, posting bigint
) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE strategy
        WHEN 'push' THEN true
        WHEN 'pull' THEN false
        WHEN 'hybrid' THEN NOT celebrity
        ELSE here AND NOT celebrity AND posting < reading
    END
$$;

-- Brings someone's timeline to what the strategy asks, a step at a time: copies what edges that were opened before lack,
-- closes and opens edges, purges and trims. Nobody else tends the same timeline meanwhile; each statement sees what was
-- committed before it began, and so what is copied here holds every post whose fan-out has passed the edge over: that
-- looked before the edge was opened, in a transaction before this one.
CREATE FUNCTION tend_timeline(
    reader bigint, strategy text, here boolean, reading bigint, margin bigint, entries_max integer, edges_max integer,
    OUT unfinished boolean, OUT open boolean
) LANGUAGE plpgsql
-- If this and a commit wait for each other, this gives up before Postgres has one of the two do so.
SET lock_timeout = '800ms'
AS $$
DECLARE
    floor_place bigint;
    opened bigint[];
BEGIN
    PERFORM pg_advisory_xact_lock(1886155380, reader::integer);
    floor_place := coalesce((SELECT floor FROM timeline_floor WHERE user_id = reader), 0);

    -- Whoever commits to an edge at this moment is not waited for.
    SELECT array_agg(edge.followee) INTO opened FROM (
        SELECT followee FROM follow WHERE follower = reader AND push = 'opening'
        ORDER BY followee LIMIT edges_max FOR UPDATE SKIP LOCKED
    ) AS edge;

    floor_place := coalesce((
        SELECT found.published_id FROM (
            SELECT timeline.published_id FROM timeline WHERE user_id = reader AND timeline.published_id >= floor_place
            UNION
            SELECT newest.published_id FROM unnest(opened) AS edge (followee) CROSS JOIN LATERAL (
                SELECT post.published_id FROM post
                WHERE author_id = edge.followee AND state = 'published' AND page_url IS NULL
                    AND post.published_id >= floor_place
                ORDER BY post.published_id DESC LIMIT entries_max
            ) AS newest
        ) AS found ORDER BY found.published_id DESC OFFSET entries_max - 1 LIMIT 1
    ), floor_place);
    INSERT INTO timeline (published_id, user_id, author_id)
    SELECT post.published_id, reader, post.author_id FROM post
    WHERE post.author_id = ANY (opened) AND state = 'published' AND page_url IS NULL
        AND post.published_id >= floor_place
    ON CONFLICT DO NOTHING;
    UPDATE follow SET push = 'pushed' WHERE follower = reader AND followee = ANY (opened);

    UPDATE follow SET push = 'pulled' FROM (
        SELECT edge.followee FROM follow AS edge LEFT JOIN user_state ON user_state.user_id = edge.followee
        WHERE edge.follower = reader AND edge.push <> 'pulled' AND NOT should_push(
            strategy, here, tend_timeline.reading + margin, coalesce(user_state.celebrity, false), coalesce(user_state.posting, 0)
        ) ORDER BY edge.followee FOR UPDATE OF edge SKIP LOCKED
    ) AS closed WHERE follow.follower = reader AND follow.followee = closed.followee;
    UPDATE follow SET push = 'opening' FROM (
        SELECT edge.followee FROM follow AS edge LEFT JOIN user_state ON user_state.user_id = edge.followee
        WHERE edge.follower = reader AND edge.push = 'pulled' AND should_push(
            strategy, here, tend_timeline.reading, coalesce(user_state.celebrity, false), coalesce(user_state.posting, 0)
        ) ORDER BY edge.followee FOR UPDATE OF edge SKIP LOCKED
    ) AS wanted WHERE follow.follower = reader AND follow.followee = wanted.followee;

    DELETE FROM timeline WHERE user_id = reader AND (
        timeline.published_id < floor_place
        OR NOT EXISTS (
            SELECT FROM follow WHERE follower = reader AND followee = timeline.author_id AND push <> 'pulled'
        )
        OR NOT EXISTS (
            SELECT FROM post WHERE post.author_id = timeline.author_id AND post.published_id = timeline.published_id
                AND state = 'published' AND page_url IS NULL
        )
    );
    -- Little is left above the floor: begin anew without one.
    IF floor_place > 0 AND (SELECT count(*) FROM timeline WHERE user_id = reader) < entries_max / 2 THEN
        floor_place := 0;
        UPDATE follow SET push = 'opening' FROM (
            SELECT followee FROM follow WHERE follower = reader AND push = 'pushed' ORDER BY followee FOR UPDATE
        ) AS edge WHERE follow.follower = reader AND follow.followee = edge.followee;
    END IF;
    INSERT INTO timeline_floor (user_id, floor) VALUES (reader, floor_place)
    ON CONFLICT (user_id) DO UPDATE SET floor = excluded.floor WHERE timeline_floor.floor <> excluded.floor;

    unfinished := EXISTS (SELECT FROM follow WHERE follower = reader AND push = 'opening');
    open := EXISTS (SELECT FROM follow WHERE follower = reader AND push <> 'pulled');
END
$$;
