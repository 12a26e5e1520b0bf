-- What was answered to a request with an Idempotency-Key; status 0 while it runs. Kept for a day.
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
