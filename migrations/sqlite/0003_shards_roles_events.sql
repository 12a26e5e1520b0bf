-- Guilds may live in another database than accounts: no table of a guild refers to `users` any more,
-- and a directory beside the accounts says where each guild, channel and invite is. Tables are made
-- anew and children dropped first, because SQLite cannot drop a constraint.

CREATE TABLE new_guilds (
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
INSERT INTO new_guilds (id, name, owner_id, created_at_ms, last_id)
    SELECT id, name, owner_id, created_at_ms,
           COALESCE((SELECT MAX(messages.id) FROM messages WHERE messages.guild_id = guilds.id), 0)
    FROM guilds;

CREATE TABLE new_members (
    guild_id       BIGINT NOT NULL,
    user_id        BIGINT NOT NULL,
    joined_at_ms   BIGINT NOT NULL,
    server_mute    BIGINT NOT NULL DEFAULT 0,
    server_deaf    BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (guild_id, user_id)
);
INSERT INTO new_members (guild_id, user_id, joined_at_ms, server_mute, server_deaf)
    SELECT guild_id, user_id, joined_at_ms, server_mute, server_deaf FROM members;

CREATE TABLE new_channels (
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
INSERT INTO new_channels (id, guild_id, name, kind, user_limit, created_at_ms, last_message_id)
    SELECT id, guild_id, name, kind, user_limit, created_at_ms,
           COALESCE((SELECT MAX(messages.id) FROM messages WHERE messages.channel_id = channels.id), 0)
    FROM channels;

CREATE TABLE new_invites (
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
INSERT INTO new_invites (code, guild_id, creator_id, created_at_ms)
    SELECT code, guild_id, creator_id, created_at_ms FROM invites;

CREATE TABLE new_messages (
    id             BIGINT NOT NULL PRIMARY KEY,
    channel_id     BIGINT NOT NULL,
    guild_id       BIGINT NOT NULL,
    author_id      BIGINT NOT NULL,
    content        TEXT   NOT NULL,
    created_at_ms  BIGINT NOT NULL,
    -- 0 for never.
    edited_at_ms   BIGINT NOT NULL DEFAULT 0
);
INSERT INTO new_messages (id, channel_id, guild_id, author_id, content, created_at_ms)
    SELECT id, channel_id, guild_id, author_id, content, created_at_ms FROM messages;

DROP TABLE messages;
DROP TABLE invites;
DROP TABLE channels;
DROP TABLE members;
DROP TABLE guilds;
ALTER TABLE new_guilds RENAME TO guilds;
ALTER TABLE new_members RENAME TO members;
ALTER TABLE new_channels RENAME TO channels;
ALTER TABLE new_invites RENAME TO invites;
ALTER TABLE new_messages RENAME TO messages;
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
-- What members could do until now: invite, stream, view, send, read the history, connect, speak.
INSERT INTO roles (id, guild_id, name, position, permissions)
    SELECT id, id, 'everyone', 0, 3214849 FROM guilds;

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

-- Full-text search: words without case and accents, and marks for guild, channel and author
-- (`domain/search.rs`), with spaces between them; the tokenizer cuts nothing else that is a letter. The
-- rowid is the message's id. Messages that are there already get their words at the next start.
CREATE VIRTUAL TABLE message_words USING fts5 (
    words, content = '', contentless_delete = 1, tokenize = 'ascii'
);

-- The directory, beside the accounts. A row may be left over by a crash, but is never missing.
CREATE TABLE guild_directory (
    guild_id       BIGINT NOT NULL PRIMARY KEY,
    shard          BIGINT NOT NULL,
    -- 1 while it moves: nobody remembers the shard then.
    moving         BIGINT NOT NULL DEFAULT 0
);
INSERT INTO guild_directory (guild_id, shard) SELECT id, 0 FROM guilds;
CREATE TABLE channel_directory (
    channel_id     BIGINT NOT NULL PRIMARY KEY,
    guild_id       BIGINT NOT NULL
);
CREATE INDEX channel_directory_by_guild ON channel_directory (guild_id);
INSERT INTO channel_directory (channel_id, guild_id) SELECT id, guild_id FROM channels;
CREATE TABLE invite_directory (
    code           TEXT   NOT NULL PRIMARY KEY,
    guild_id       BIGINT NOT NULL
);
CREATE INDEX invite_directory_by_guild ON invite_directory (guild_id);
INSERT INTO invite_directory (code, guild_id) SELECT code, guild_id FROM invites;
CREATE TABLE memberships (
    user_id        BIGINT NOT NULL,
    guild_id       BIGINT NOT NULL,
    PRIMARY KEY (user_id, guild_id)
);
CREATE INDEX memberships_by_guild ON memberships (guild_id);
INSERT INTO memberships (user_id, guild_id) SELECT user_id, guild_id FROM members;

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
