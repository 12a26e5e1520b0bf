-- The idempotency key that a message was sent under: who sends it again, after a replica died before it
-- could note its answer, gets this message. Not copied when a guild moves to another shard.
ALTER TABLE messages ADD COLUMN sent_under TEXT NOT NULL DEFAULT '';
