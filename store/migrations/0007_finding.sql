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
