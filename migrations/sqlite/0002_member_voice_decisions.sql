-- What a moderator decided about a member's voice, so that leaving and joining again undoes nothing.
-- 0 or 1, as BIGINT like every number.
ALTER TABLE members ADD COLUMN server_mute BIGINT NOT NULL DEFAULT 0;
ALTER TABLE members ADD COLUMN server_deaf BIGINT NOT NULL DEFAULT 0;
