-- Stays in voice that last, which are looked through for those that ended unseen; and until when
-- somebody looked, which is when such a stay is taken to have ended.
CREATE INDEX voice_stays_open ON voice_stays (joined_at_ms) WHERE left_at_ms = 0;
CREATE TABLE watched (
    what           TEXT   NOT NULL PRIMARY KEY,
    until_ms       BIGINT NOT NULL
);
