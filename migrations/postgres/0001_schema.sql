-- Every database has the whole schema; which tables it uses depends on what it serves: accounts with
-- the directory, a shard of the guilds, or both. Ids are snowflakes and times are Unix milliseconds,
-- both BIGINT, flags are 0 or 1, hashes are lower-case hex TEXT. Every table that grows with use
-- carries guild_id, so that a guild can be moved to another shard.

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
    owner_id       BIGINT NOT NULL,
    created_at_ms  BIGINT NOT NULL,
    -- Raised by each change, under this row's lock: the number of the guild's newest event.
    sequence       BIGINT NOT NULL DEFAULT 0,
    -- The newest id minted under this row's lock.
    last_id        BIGINT NOT NULL DEFAULT 0,
    -- The shard that the guild moved to; -1 while it lives here.
    moved_to       BIGINT NOT NULL DEFAULT -1
);

CREATE TABLE members (
    guild_id       BIGINT NOT NULL,
    user_id        BIGINT NOT NULL,
    joined_at_ms   BIGINT NOT NULL,
    server_mute    BIGINT NOT NULL DEFAULT 0,
    server_deaf    BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (guild_id, user_id)
);

CREATE TABLE channels (
    id             BIGINT NOT NULL PRIMARY KEY,
    guild_id       BIGINT NOT NULL,
    -- The category that it stands in; 0 for none.
    parent_id      BIGINT NOT NULL DEFAULT 0,
    name           TEXT   NOT NULL,
    kind           TEXT   NOT NULL CHECK (kind IN ('text', 'voice', 'category')),
    topic          TEXT   NOT NULL DEFAULT '',
    position       BIGINT NOT NULL DEFAULT 0,
    user_limit     BIGINT NOT NULL,
    -- Of a voice, in bits a second; 0 for the default.
    bitrate        BIGINT NOT NULL DEFAULT 0,
    voice_mode     TEXT   NOT NULL DEFAULT 'auto' CHECK (voice_mode IN ('auto', 'p2p', 'sfu')),
    created_at_ms  BIGINT NOT NULL,
    -- 0 for none. Kept here, since a planner that knows one busy channel looks for it by all messages.
    last_message_id BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE invites (
    code           TEXT   NOT NULL PRIMARY KEY,
    guild_id       BIGINT NOT NULL,
    creator_id     BIGINT NOT NULL,
    created_at_ms  BIGINT NOT NULL,
    -- 0 for no limit.
    max_uses       BIGINT NOT NULL DEFAULT 0,
    uses           BIGINT NOT NULL DEFAULT 0,
    -- 0 for never.
    expires_at_ms  BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE messages (
    id             BIGINT NOT NULL PRIMARY KEY,
    channel_id     BIGINT NOT NULL,
    guild_id       BIGINT NOT NULL,
    author_id      BIGINT NOT NULL,
    content        TEXT   NOT NULL,
    created_at_ms  BIGINT NOT NULL,
    -- 0 for never.
    edited_at_ms   BIGINT NOT NULL DEFAULT 0,
    -- Words without case and accents, and marks for guild, channel and author (`domain/search.rs`).
    words          TSVECTOR NOT NULL
);
CREATE INDEX messages_by_words ON messages USING GIN (words);

CREATE INDEX channels_by_guild ON channels (guild_id, id);
CREATE INDEX invites_by_guild ON invites (guild_id, created_at_ms);
-- By channel and time: ids are times.
CREATE INDEX messages_by_channel ON messages (channel_id, id DESC);

-- The role of everybody has its guild's id. Permissions are bits (`domain/permission.rs`).
CREATE TABLE roles (
    id             BIGINT NOT NULL PRIMARY KEY,
    guild_id       BIGINT NOT NULL,
    name           TEXT   NOT NULL,
    -- 0xRRGGBB; 0 for none.
    color          BIGINT NOT NULL DEFAULT 0,
    -- Higher ones rule over lower ones; 0 is the role of everybody.
    position       BIGINT NOT NULL,
    permissions    BIGINT NOT NULL
);
CREATE INDEX roles_by_guild ON roles (guild_id, position);

CREATE TABLE member_roles (
    guild_id       BIGINT NOT NULL,
    user_id        BIGINT NOT NULL,
    role_id        BIGINT NOT NULL,
    PRIMARY KEY (guild_id, user_id, role_id)
);
CREATE INDEX member_roles_by_role ON member_roles (role_id, user_id);

CREATE TABLE overwrites (
    channel_id     BIGINT NOT NULL,
    target_id      BIGINT NOT NULL,
    target_kind    TEXT   NOT NULL CHECK (target_kind IN ('role', 'member')),
    guild_id       BIGINT NOT NULL,
    allow          BIGINT NOT NULL,
    deny           BIGINT NOT NULL,
    PRIMARY KEY (channel_id, target_id)
);
CREATE INDEX overwrites_by_guild ON overwrites (guild_id, channel_id);

CREATE TABLE bans (
    guild_id       BIGINT NOT NULL,
    user_id        BIGINT NOT NULL,
    moderator_id   BIGINT NOT NULL,
    reason         TEXT   NOT NULL,
    created_at_ms  BIGINT NOT NULL,
    PRIMARY KEY (guild_id, user_id)
);

CREATE TABLE audit_log (
    id             BIGINT NOT NULL PRIMARY KEY,
    guild_id       BIGINT NOT NULL,
    actor_id       BIGINT NOT NULL,
    action         TEXT   NOT NULL,
    target_id      BIGINT NOT NULL,
    -- JSON: what was changed, from and to.
    detail         TEXT   NOT NULL,
    created_at_ms  BIGINT NOT NULL
);
CREATE INDEX audit_log_by_guild ON audit_log (guild_id, id DESC);

-- Deleted channels, and guilds (channel 0), whose messages and other rows are still to be removed.
CREATE TABLE doomed (
    guild_id       BIGINT NOT NULL,
    channel_id     BIGINT NOT NULL,
    PRIMARY KEY (guild_id, channel_id)
);

-- How far somebody has read a channel.
CREATE TABLE read_marks (
    user_id        BIGINT NOT NULL,
    channel_id     BIGINT NOT NULL,
    guild_id       BIGINT NOT NULL,
    message_id     BIGINT NOT NULL,
    PRIMARY KEY (user_id, channel_id)
);
CREATE INDEX read_marks_by_guild ON read_marks (guild_id, user_id);

-- Every durable event of a guild: the outbox that the relay empties, and what a resume replays.
CREATE TABLE events (
    guild_id       BIGINT NOT NULL,
    sequence       BIGINT NOT NULL,
    -- JSON, see `event/mod.rs`.
    audience       TEXT   NOT NULL,
    body           TEXT   NOT NULL,
    created_at_ms  BIGINT NOT NULL,
    sent           BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (guild_id, sequence)
);
CREATE INDEX events_unsent ON events (guild_id, sequence) WHERE sent = 0;
CREATE INDEX events_by_age ON events (created_at_ms);

-- What the analytics consumer counts: one row a stay in a voice channel, one a person and day.
CREATE TABLE voice_stays (
    session_id     BIGINT NOT NULL PRIMARY KEY,
    guild_id       BIGINT NOT NULL,
    channel_id     BIGINT NOT NULL,
    user_id        BIGINT NOT NULL,
    joined_at_ms   BIGINT NOT NULL,
    -- 0 while it lasts.
    left_at_ms     BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX voice_stays_by_guild ON voice_stays (guild_id, joined_at_ms);
CREATE TABLE active_days (
    guild_id       BIGINT NOT NULL,
    -- Days since 1970-01-01, UTC.
    day            BIGINT NOT NULL,
    user_id        BIGINT NOT NULL,
    messages       BIGINT NOT NULL DEFAULT 0,
    voice_joins    BIGINT NOT NULL DEFAULT 0,
    voice_ms       BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (guild_id, day, user_id)
);
-- Up to which event of a guild a consumer has counted.
CREATE TABLE consumed (
    guild_id       BIGINT NOT NULL,
    consumer       TEXT   NOT NULL,
    sequence       BIGINT NOT NULL,
    PRIMARY KEY (guild_id, consumer)
);


-- The directory, beside the accounts. A row may be left over by a crash, but is never missing.
CREATE TABLE guild_directory (
    guild_id       BIGINT NOT NULL PRIMARY KEY,
    shard          BIGINT NOT NULL,
    -- 1 while it moves: nobody remembers the shard then.
    moving         BIGINT NOT NULL DEFAULT 0
);
CREATE TABLE channel_directory (
    channel_id     BIGINT NOT NULL PRIMARY KEY,
    guild_id       BIGINT NOT NULL
);
CREATE INDEX channel_directory_by_guild ON channel_directory (guild_id);
CREATE TABLE invite_directory (
    code           TEXT   NOT NULL PRIMARY KEY,
    guild_id       BIGINT NOT NULL
);
CREATE INDEX invite_directory_by_guild ON invite_directory (guild_id);
CREATE TABLE memberships (
    user_id        BIGINT NOT NULL,
    guild_id       BIGINT NOT NULL,
    PRIMARY KEY (user_id, guild_id)
);
CREATE INDEX memberships_by_guild ON memberships (guild_id);

-- Keys that sign access tokens, sealed by the configuration's key.
CREATE TABLE signing_keys (
    kid            TEXT   NOT NULL PRIMARY KEY,
    public_key     TEXT   NOT NULL,
    sealed_key     TEXT   NOT NULL,
    created_at_ms  BIGINT NOT NULL
);
-- The answers to requests that carried an idempotency key.
CREATE TABLE idempotency_keys (
    user_id        BIGINT NOT NULL,
    key            TEXT   NOT NULL,
    request_hash   TEXT   NOT NULL,
    status         BIGINT NOT NULL,
    body           TEXT   NOT NULL,
    created_at_ms  BIGINT NOT NULL,
    PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at_ms);
