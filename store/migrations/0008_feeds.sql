-- By which a live feed finds that somebody began or ended to follow, block or mute.

ALTER TABLE user_state ADD COLUMN ties bigint NOT NULL DEFAULT 0;
