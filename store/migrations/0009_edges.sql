-- Tells the edge that somebody wants to be dropped from one that was asked for after that: the follower's version then.

ALTER TABLE follow ADD COLUMN version bigint NOT NULL DEFAULT 0;
