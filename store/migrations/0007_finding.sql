-- What helps people to find posts again, or at all: bookmarks, the hot and the recent ones, and words.

-- place is the version of the user's actor at which the bookmark was set: it orders them.
CREATE TABLE bookmark (
    user_id    bigint NOT NULL,
    post_id    bigint NOT NULL,
    place      bigint NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, post_id)
);
CREATE INDEX bookmark_placed ON bookmark (user_id, place DESC);

-- heat is a place like published_id, of a moment that is the later the more happened on the post; 0 in no list.
-- Of its stream, what changed up to indexed_offset can be searched.
CREATE TABLE post_finding (
    post_id        bigint PRIMARY KEY,
    heat           bigint NOT NULL,
    indexed_offset bigint NOT NULL
);
CREATE INDEX post_finding_heat ON post_finding (heat DESC) WHERE heat > 0;
CREATE INDEX post_recent ON post (published_id DESC) WHERE state = 'published' AND page_url IS NULL;

-- The words of what can be seen, in this language: a text search configuration.
ALTER TABLE meta ADD COLUMN search_language text NOT NULL DEFAULT 'simple';

-- comment_id 0 is the post itself. tsv is empty for what is not to be found.
CREATE TABLE searchable (
    post_id        bigint NOT NULL,
    comment_id     bigint NOT NULL,
    changed_offset bigint NOT NULL,
    tsv            tsvector NOT NULL,
    PRIMARY KEY (post_id, comment_id)
);
CREATE INDEX searchable_words ON searchable USING gin (tsv);

-- A title counts more than tags, and these more than the text.
CREATE FUNCTION words_of(language regconfig, title text, tags text[], body text) RETURNS tsvector
LANGUAGE sql STABLE AS $$
    SELECT setweight(to_tsvector(language, title), 'A')
        || setweight(to_tsvector(language, array_to_string(tags, ' ')), 'B')
        || to_tsvector(language, body)
$$;

-- Where the best of what matches stands, beyond one mark, that the reader (0: nobody) may see. Everything that matches is
-- found by the index of words alone; the newest candidates are then ranked, and looked at from the best on. Nothing matches
-- a search that only says what is not wanted. The settings hold the planner to one loop in another: it cannot know how
-- rare a word is, and would read whole tables for one row.
CREATE FUNCTION search_page(
    words text, posts boolean, comments boolean, tag text, reader bigint, beyond_rank bigint, beyond_post bigint,
    beyond_comment bigint, candidates_max integer, wanted integer
) RETURNS TABLE (rank bigint, post_id bigint, comment_id bigint) LANGUAGE plpgsql STABLE ROWS 20
SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
AS $$
DECLARE
    query tsquery := websearch_to_tsquery((SELECT search_language::regconfig FROM meta), words);
BEGIN
    IF querytree(query) IN ('', 'T') THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH matching AS MATERIALIZED (
        SELECT searchable.post_id, searchable.comment_id FROM searchable
        WHERE searchable.tsv @@ query
            AND (searchable.comment_id = 0 AND posts OR searchable.comment_id > 0 AND comments)
            AND (tag IS NULL OR EXISTS (
                SELECT FROM post WHERE post.id = searchable.post_id AND post.tags @> ARRAY[tag]
            ))
    ), candidates AS MATERIALIZED (
        SELECT * FROM matching ORDER BY matching.post_id DESC, matching.comment_id DESC LIMIT candidates_max
    ), ranked AS MATERIALIZED (
        SELECT (ts_rank_cd(searchable.tsv, query) * 1000000)::bigint AS rank, searchable.post_id, searchable.comment_id
        FROM candidates JOIN searchable USING (post_id, comment_id)
    )
    SELECT best.rank, best.post_id, best.comment_id FROM (
        SELECT * FROM ranked
        WHERE (ranked.rank, ranked.post_id, ranked.comment_id) < (beyond_rank, beyond_post, beyond_comment)
        ORDER BY ranked.rank DESC, ranked.post_id DESC, ranked.comment_id DESC
    ) AS best
    JOIN post ON post.id = best.post_id AND post.state = 'published'
    LEFT JOIN comment ON comment.post_id = best.post_id AND comment.id = best.comment_id
    CROSS JOIN LATERAL (
        SELECT CASE WHEN best.comment_id = 0 THEN post.author_id ELSE comment.author_id END AS author_id
    ) AS written
    WHERE CASE WHEN best.comment_id = 0 THEN post.page_url IS NULL ELSE comment.state = 'visible' END
        AND NOT EXISTS (SELECT FROM block WHERE blocker = reader AND blocked = written.author_id)
        AND NOT EXISTS (SELECT FROM block WHERE blocker = written.author_id AND blocked = reader)
    ORDER BY best.rank DESC, best.post_id DESC, best.comment_id DESC LIMIT wanted;
END
$$;

-- What is there already. The score is that of actors/finding.py: four hours for each time that it doubles.
INSERT INTO post_finding (post_id, heat, indexed_offset)
SELECT post.id, CASE WHEN post.state = 'published' AND post.page_url IS NULL THEN
    ((post.published_id >> 20) + (14400000 * log(2.0, 1
        + 3 * post_state.comments
        + 2 * (SELECT coalesce(sum(value::bigint), 0) FROM jsonb_each_text(post_state.reactions))
        + post_state.applause / 5
        + coalesce(post_views.viewers, 0) / 10
    ))::bigint) << 20 | (post.id & 1048575)
    ELSE 0 END, post_state.head
FROM post JOIN post_state ON post_state.post_id = post.id
LEFT JOIN post_views ON post_views.post_id = post.id;

INSERT INTO searchable (post_id, comment_id, changed_offset, tsv)
SELECT id, 0, changed_offset, words_of('simple', title, tags, body) FROM post WHERE state = 'published'
UNION ALL
SELECT comment.post_id, comment.id, comment.changed_offset, words_of('simple', '', '{}', comment.body)
FROM comment JOIN post ON post.id = comment.post_id AND post.state = 'published'
WHERE comment.state = 'visible';
