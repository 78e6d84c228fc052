-- Pages of many timelines in one statement: to begin one costs as much as the page itself.

DROP FUNCTION timeline_page(bigint, bigint, integer);

-- For each reader the newest posts below a place that the reader's timeline shows, the newest first; asked counts the
-- readers from 1. All is read as of one moment, that of the statement which calls this. The settings hold the planner to
-- one loop in another, in the order written: each asks an index, and stops once the page is full. OFFSET 0 has it look
-- edge by edge, not at all of them at once.
CREATE FUNCTION timeline_pages(readers bigint[], belows bigint[], limits integer[])
RETURNS TABLE (asked bigint, reader bigint, place bigint, post_id bigint) LANGUAGE plpgsql STABLE ROWS 20
SET plan_cache_mode = force_generic_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_material = off SET enable_memoize = off
SET join_collapse_limit = 1 SET from_collapse_limit = 1
AS $$
BEGIN
    RETURN QUERY
    SELECT page.asked, page.reader, found.place, found.id
    FROM unnest(readers, belows, limits) WITH ORDINALITY AS page (reader, below, wanted, asked)
    -- What needs no look at the edges: what was pushed, one's own, and what is being pushed.
    CROSS JOIN LATERAL (
        SELECT array_agg(found.published_id ORDER BY found.published_id DESC) AS places,
               array_agg(found.id ORDER BY found.published_id DESC) AS posts
        FROM (
            (SELECT post.published_id, post.id FROM timeline
             JOIN post ON post.author_id = timeline.author_id AND post.published_id = timeline.published_id
                 AND post.state = 'published' AND post.page_url IS NULL
             WHERE timeline.user_id = page.reader AND timeline.published_id < page.below AND EXISTS (
                 SELECT FROM shown_edge WHERE follower = page.reader AND followee = timeline.author_id OFFSET 0
             ) ORDER BY timeline.published_id DESC LIMIT page.wanted)
            UNION
            (SELECT post.published_id, post.id FROM post
             WHERE post.author_id = page.reader AND post.state = 'published' AND post.page_url IS NULL
                 AND post.published_id < page.below
             ORDER BY post.published_id DESC LIMIT page.wanted)
            UNION
            (SELECT post.published_id, post.id FROM fanout
             JOIN post ON post.id = fanout.post_id AND post.state = 'published'
             WHERE fanout.published_id < page.below AND EXISTS (
                 SELECT FROM shown_edge WHERE follower = page.reader AND followee = fanout.author_id OFFSET 0
             ) ORDER BY fanout.published_id DESC LIMIT page.wanted)
            ORDER BY published_id DESC LIMIT page.wanted
        ) AS found
    ) AS at_hand
    -- Below the floor a timeline may have gaps; and what is no newer than a whole page cannot come onto it.
    CROSS JOIN LATERAL (
        SELECT coalesce((SELECT floor FROM timeline_floor WHERE user_id = page.reader), 0) AS floor,
               coalesce(at_hand.places[page.wanted], 0) AS bottom
    ) AS bound
    -- What is pulled: of every edge that was not pushed, and below the floor of all. The page's posts are by the authors
    -- whose newest post is among the newest.
    CROSS JOIN LATERAL (
        SELECT unnest(at_hand.places) AS place, unnest(at_hand.posts) AS id
        UNION
        SELECT pulled.published_id, pulled.id FROM (
            SELECT newest.author_id, newest.upto FROM (
                SELECT edge.followee AS author_id, edge.upto, latest.published_id FROM (
                    SELECT follow.followee, page.below AS upto FROM follow
                    WHERE follow.follower = page.reader AND follow.push <> 'pushed'
                    UNION ALL
                    SELECT follow.followee, least(page.below, bound.floor) FROM follow
                    WHERE follow.follower = page.reader AND follow.push = 'pushed' AND bound.bottom < bound.floor
                ) AS edge
                CROSS JOIN LATERAL (
                    SELECT post.published_id FROM post
                    WHERE post.author_id = edge.followee AND post.state = 'published' AND post.page_url IS NULL
                        AND post.published_id < edge.upto AND post.published_id > bound.bottom
                    ORDER BY post.published_id DESC LIMIT 1
                ) AS latest
                ORDER BY latest.published_id DESC OFFSET 0
            ) AS newest
            WHERE EXISTS (
                SELECT FROM shown_edge WHERE follower = page.reader AND followee = newest.author_id OFFSET 0
            ) ORDER BY newest.published_id DESC LIMIT page.wanted
        ) AS author
        CROSS JOIN LATERAL (
            SELECT post.published_id, post.id FROM post
            WHERE post.author_id = author.author_id AND post.state = 'published' AND post.page_url IS NULL
                AND post.published_id < author.upto AND post.published_id > bound.bottom
            ORDER BY post.published_id DESC LIMIT page.wanted
        ) AS pulled
        ORDER BY place DESC LIMIT page.wanted
    ) AS found;
END
$$;
