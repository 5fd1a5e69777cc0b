-- Artifacts, and which bytes they refer to.

-- Which database this is, once.
CREATE TABLE stores (
    store    INTEGER PRIMARY KEY CHECK (store = 1),
    store_id TEXT    NOT NULL
) STRICT;

CREATE TABLE artifacts (
    artifact     INTEGER PRIMARY KEY,
    tenant       INTEGER NOT NULL,
    artifact_id  TEXT    NOT NULL,
    session      INTEGER NOT NULL,
    name         TEXT    NOT NULL,
    type         TEXT    NOT NULL,
    path         TEXT    NOT NULL,
    size         INTEGER NOT NULL,
    metadata     TEXT    NOT NULL,
    content_type TEXT    NOT NULL,
    -- BLAKE3 of its bytes; absent: it has none here.
    digest       BLOB,
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,
    UNIQUE (tenant, artifact_id)
) STRICT;
CREATE INDEX artifacts_session ON artifacts (session, artifact);
CREATE INDEX artifacts_type ON artifacts (session, type, artifact);

-- Bytes that artifacts refer to, once per tenant, under the name that they are kept under. A name that
-- was once taken away here is never used again.
CREATE TABLE artifact_bytes (
    tenant INTEGER NOT NULL,
    digest BLOB    NOT NULL,
    name   TEXT    NOT NULL UNIQUE,
    -- Artifacts that refer to them.
    uses   INTEGER NOT NULL,
    PRIMARY KEY (tenant, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX artifact_bytes_unused ON artifact_bytes (tenant, digest) WHERE uses = 0;
