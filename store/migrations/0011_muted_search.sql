-- Who mutes somebody does not find what they wrote either; else as in 0007_finding.sql.
CREATE OR REPLACE FUNCTION search_page(
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
        AND NOT EXISTS (
            SELECT FROM mute WHERE muter = reader AND muted = written.author_id
                AND (until_at IS NULL OR until_at > clock_timestamp())
        )
    ORDER BY best.rank DESC, best.post_id DESC, best.comment_id DESC LIMIT wanted;
END
$$;
