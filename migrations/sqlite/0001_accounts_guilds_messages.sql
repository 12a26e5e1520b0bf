-- Ids are snowflakes and times are Unix milliseconds, both BIGINT; hashes are lower-case hex TEXT.
-- Every table that grows with use carries guild_id, so that it can be moved to a shard.

CREATE TABLE users (
    id             BIGINT NOT NULL PRIMARY KEY,
    name           TEXT   NOT NULL,
    -- The name as it is compared: lower case.
    name_key       TEXT   NOT NULL UNIQUE,
    -- PHC string (argon2id), with its own parameters and salt.
    password_hash  TEXT   NOT NULL,
    created_at_ms  BIGINT NOT NULL
);

-- One row for each sign-in that can be refreshed. A token names its family; a token of a known
-- family with a secret that is neither the newest nor (for a moment) the one before was stolen.
CREATE TABLE sign_ins (
    family         TEXT   NOT NULL PRIMARY KEY,
    user_id        BIGINT NOT NULL REFERENCES users (id),
    secret_hash    TEXT   NOT NULL,
    previous_hash  TEXT   NOT NULL,
    rotated_at_ms  BIGINT NOT NULL,
    expires_at_ms  BIGINT NOT NULL
);
CREATE INDEX sign_ins_by_user ON sign_ins (user_id, rotated_at_ms);
CREATE INDEX sign_ins_by_expiry ON sign_ins (expires_at_ms);

CREATE TABLE guilds (
    id             BIGINT NOT NULL PRIMARY KEY,
    name           TEXT   NOT NULL,
    owner_id       BIGINT NOT NULL REFERENCES users (id),
    created_at_ms  BIGINT NOT NULL
);

CREATE TABLE members (
    guild_id       BIGINT NOT NULL REFERENCES guilds (id),
    user_id        BIGINT NOT NULL REFERENCES users (id),
    joined_at_ms   BIGINT NOT NULL,
    PRIMARY KEY (guild_id, user_id)
);
CREATE INDEX members_by_user ON members (user_id, guild_id);

CREATE TABLE channels (
    id             BIGINT NOT NULL PRIMARY KEY,
    guild_id       BIGINT NOT NULL REFERENCES guilds (id),
    name           TEXT   NOT NULL,
    kind           TEXT   NOT NULL CHECK (kind IN ('text', 'voice')),
    user_limit     BIGINT NOT NULL,
    created_at_ms  BIGINT NOT NULL
);
CREATE INDEX channels_by_guild ON channels (guild_id, id);

CREATE TABLE invites (
    code           TEXT   NOT NULL PRIMARY KEY,
    guild_id       BIGINT NOT NULL REFERENCES guilds (id),
    creator_id     BIGINT NOT NULL REFERENCES users (id),
    created_at_ms  BIGINT NOT NULL
);
CREATE INDEX invites_by_guild ON invites (guild_id, created_at_ms);

CREATE TABLE messages (
    id             BIGINT NOT NULL PRIMARY KEY,
    channel_id     BIGINT NOT NULL REFERENCES channels (id),
    guild_id       BIGINT NOT NULL,
    author_id      BIGINT NOT NULL,
    content        TEXT   NOT NULL,
    created_at_ms  BIGINT NOT NULL
);
CREATE INDEX messages_by_channel ON messages (channel_id, id DESC);
