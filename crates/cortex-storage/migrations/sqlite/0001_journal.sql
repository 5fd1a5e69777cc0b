-- The journal, its projections, metrics, cache and records.
--
-- Sessions are numbered, and what is long and belongs to one session is clustered by it: the key of
-- an entry or a message is the session's number * 2^32 + its sequence or position. Rows under such keys
-- are cleared away in steps after their session is gone, so they carry no foreign key.
-- Times are microseconds since 1970.

CREATE TABLE tenants (
    tenant             INTEGER PRIMARY KEY,
    name               TEXT    NOT NULL UNIQUE,
    -- Revisions of records: the last one, and the last one whose deletions are forgotten.
    record_revision    INTEGER NOT NULL DEFAULT 0,
    compacted_revision INTEGER NOT NULL DEFAULT 0
) STRICT;

-- Types of entries and type URLs of payloads, stored once.
CREATE TABLE names (
    name_no INTEGER PRIMARY KEY,
    name    TEXT    NOT NULL UNIQUE
) STRICT;

-- What is large in stored values, once per tenant. A row that something large was cut out of has
-- `pieces`: of each piece its value, place, length (varints) and BLAKE3 hash.
CREATE TABLE contents (
    tenant INTEGER NOT NULL,
    hash   BLOB    NOT NULL,
    -- How often rows refer to it; at 0 it goes.
    refs   INTEGER NOT NULL,
    bytes  BLOB    NOT NULL,
    PRIMARY KEY (tenant, hash)
) STRICT;

CREATE TABLE sessions (
    session         INTEGER PRIMARY KEY,
    tenant          INTEGER NOT NULL REFERENCES tenants (tenant),
    session_id      TEXT    NOT NULL,
    agent_name      TEXT    NOT NULL,
    user_id         TEXT    NOT NULL,
    status          INTEGER NOT NULL,
    metadata        TEXT    NOT NULL,
    manifest_digest TEXT    NOT NULL,
    created_at      INTEGER NOT NULL,
    UNIQUE (tenant, session_id)
) STRICT;
CREATE INDEX sessions_newest ON sessions (tenant, session);
CREATE INDEX sessions_agent ON sessions (tenant, agent_name, session);
CREATE INDEX sessions_user ON sessions (tenant, user_id, session);
CREATE INDEX sessions_status ON sessions (tenant, status, session);

-- Where each session's protocol stands. Small, since every append writes it.
CREATE TABLE heads (
    session       INTEGER PRIMARY KEY REFERENCES sessions (session) ON DELETE CASCADE,
    tenant        INTEGER NOT NULL,
    head          INTEGER NOT NULL,
    last_command  INTEGER NOT NULL,
    consumed      INTEGER NOT NULL,
    -- JSON: [[sequence, kind], …] of commands after `consumed`.
    pending       TEXT    NOT NULL,
    epoch         INTEGER NOT NULL,
    holder_id     TEXT,
    turn_id       BLOB,
    turn_sequence INTEGER NOT NULL,
    waiting       INTEGER NOT NULL,
    wake_at       INTEGER,
    -- JSON: [sequence, …] of messages that wait for the open turn to end.
    queue         TEXT    NOT NULL,
    open_calls    INTEGER NOT NULL,
    message_count INTEGER NOT NULL,
    last_position INTEGER NOT NULL,
    history_floor INTEGER NOT NULL,
    -- The last mark.
    marks         INTEGER NOT NULL,
    -- Entries up to here are rows of other sessions, as `parts` says.
    shared        INTEGER NOT NULL,
    -- Since or from when somebody should take the session, if nobody holds it.
    ready_at      INTEGER,
    updated_at    INTEGER NOT NULL,
    -- JSON of the last numbered append under the current grant.
    last_append   TEXT
) STRICT;
CREATE INDEX heads_ready ON heads (ready_at, session) WHERE ready_at IS NOT NULL;
CREATE INDEX heads_holder ON heads (holder_id) WHERE holder_id IS NOT NULL;

CREATE TABLE entries (
    -- session * 2^32 + sequence.
    entry        INTEGER PRIMARY KEY,
    tenant       INTEGER NOT NULL,
    -- 0: an event; else the kind of a command.
    kind         INTEGER NOT NULL,
    type         INTEGER NOT NULL,
    payload_type INTEGER NOT NULL,
    payload      BLOB    NOT NULL,
    -- The sequence of an entry of the session: what the first field of its payload is, is left out here.
    start        INTEGER,
    created_at   INTEGER NOT NULL,
    epoch        INTEGER NOT NULL,
    -- Of the payload.
    pieces       BLOB
) STRICT;

-- What each commit changed of history and state, and where the session was quiescent.
CREATE TABLE marks (
    -- session * 2^32 + number.
    mark         INTEGER PRIMARY KEY,
    tenant       INTEGER NOT NULL,
    sequence     INTEGER NOT NULL,
    last_command INTEGER NOT NULL,
    quiescent    INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    -- Protobuf.
    delta        BLOB    NOT NULL,
    -- Of the delta.
    pieces       BLOB
) STRICT;

-- The log of a fork begins with rows of other sessions, which keep them as long as a part refers to
-- them. Entries and marks have the same position in both.
CREATE TABLE parts (
    session    INTEGER NOT NULL,
    -- From 1, oldest first.
    part       INTEGER NOT NULL,
    owner      INTEGER NOT NULL,
    first      INTEGER NOT NULL,
    last       INTEGER NOT NULL,
    first_mark INTEGER NOT NULL,
    last_mark  INTEGER NOT NULL,
    PRIMARY KEY (session, part)
) STRICT, WITHOUT ROWID;
CREATE INDEX parts_owner ON parts (owner);
CREATE INDEX parts_count ON parts (part, session);

-- What requests answered, by half of a hash of method and request id.
CREATE TABLE requests (
    session     INTEGER NOT NULL,
    request     BLOB    NOT NULL,
    tenant      INTEGER NOT NULL,
    fingerprint BLOB    NOT NULL,
    first       INTEGER NOT NULL,
    last        INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    note        TEXT,
    PRIMARY KEY (session, request)
) STRICT, WITHOUT ROWID;

-- Requests that created a session.
CREATE TABLE creations (
    tenant      INTEGER NOT NULL,
    request     BLOB    NOT NULL,
    fingerprint BLOB    NOT NULL,
    session     INTEGER NOT NULL REFERENCES sessions (session) ON DELETE CASCADE,
    -- Where a fork was cut.
    sequence    INTEGER NOT NULL,
    PRIMARY KEY (tenant, request)
) STRICT, WITHOUT ROWID;
CREATE INDEX creations_session ON creations (session);

-- A holder may hold sessions of any tenant; its own is who registered it.
CREATE TABLE holders (
    holder_id  TEXT    NOT NULL PRIMARY KEY,
    tenant     INTEGER NOT NULL,
    instance   TEXT    NOT NULL,
    duration   INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    voided     INTEGER NOT NULL,
    -- The incarnation that this one voided.
    voids      TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE executions (
    execution         INTEGER PRIMARY KEY,
    tenant            INTEGER NOT NULL,
    execution_id      BLOB    NOT NULL,
    session           INTEGER NOT NULL,
    turn_id           BLOB    NOT NULL,
    call_id           BLOB    NOT NULL,
    kind              INTEGER NOT NULL,
    name              TEXT    NOT NULL,
    state             INTEGER NOT NULL,
    claimant_id       BLOB,
    claimant_instance TEXT    NOT NULL,
    outcome_kind      INTEGER,
    settled           INTEGER NOT NULL,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL,
    UNIQUE (tenant, execution_id)
) STRICT;
CREATE INDEX executions_session ON executions (session, execution);
CREATE INDEX executions_call ON executions (session, call_id);
CREATE INDEX executions_open ON executions (session) WHERE settled = 0;
CREATE INDEX executions_claimant ON executions (tenant, claimant_instance, execution)
    WHERE claimant_id IS NOT NULL;

-- Outcomes of executions, beside the ledger so that its rows stay small.
CREATE TABLE outcomes (
    tenant       INTEGER NOT NULL,
    execution_id BLOB    NOT NULL,
    result       TEXT    NOT NULL,
    error        TEXT    NOT NULL,
    details_type TEXT,
    details      BLOB,
    -- Of the result (0), the error (1) and the details (2).
    pieces       BLOB,
    PRIMARY KEY (tenant, execution_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE messages (
    -- session * 2^32 + position.
    message    INTEGER PRIMARY KEY,
    tenant     INTEGER NOT NULL,
    session    INTEGER NOT NULL,
    message_id BLOB    NOT NULL,
    role       INTEGER NOT NULL,
    content    TEXT    NOT NULL,
    -- Where entries hold the content, in protobuf. Absent: it is here.
    entry_text BLOB,
    metadata   TEXT    NOT NULL,
    -- Protobuf, or empty.
    tool_calls BLOB    NOT NULL,
    call_id    BLOB,
    turn_id    BLOB,
    created_at INTEGER NOT NULL,
    -- Of the content (0) and the calls (1).
    pieces     BLOB,
    UNIQUE (session, message_id)
) STRICT;

CREATE TABLE states (
    session    INTEGER PRIMARY KEY REFERENCES sessions (session) ON DELETE CASCADE,
    tenant     INTEGER NOT NULL,
    data       TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    updated_at INTEGER,
    -- Of the data.
    pieces     BLOB
) STRICT;

CREATE TABLE records (
    record     INTEGER PRIMARY KEY,
    tenant     INTEGER NOT NULL,
    key        TEXT    NOT NULL,
    value      BLOB    NOT NULL,
    revision   INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    expires_at INTEGER,
    UNIQUE (tenant, key)
) STRICT;
CREATE UNIQUE INDEX records_revision ON records (tenant, revision);
CREATE INDEX records_expiry ON records (expires_at) WHERE expires_at IS NOT NULL;

-- Deletions of records, for watchers that come back.
CREATE TABLE tombstones (
    tenant     INTEGER NOT NULL,
    revision   INTEGER NOT NULL,
    key        TEXT    NOT NULL,
    deleted_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, revision)
) STRICT, WITHOUT ROWID;
CREATE INDEX tombstones_age ON tombstones (deleted_at);

-- Numbers over time. Of a session: cleared away in steps after it, so without a foreign key.
CREATE TABLE metrics (
    metric      INTEGER PRIMARY KEY,
    tenant      INTEGER NOT NULL,
    metric_id   TEXT NOT NULL,
    session     INTEGER,
    entity_type TEXT NOT NULL,
    entity_name TEXT NOT NULL,
    metric_name TEXT NOT NULL,
    value       REAL NOT NULL,
    measured_at INTEGER NOT NULL,
    -- Keys and values between separators, so that a label is a piece of this text.
    labels      TEXT NOT NULL
) STRICT;
CREATE INDEX metrics_time ON metrics (tenant, measured_at, metric);
CREATE INDEX metrics_name ON metrics (tenant, metric_name, measured_at, metric);
CREATE INDEX metrics_entity ON metrics (tenant, entity_type, entity_name, measured_at, metric);
CREATE INDEX metrics_session ON metrics (session, measured_at, metric) WHERE session IS NOT NULL;

-- Requests that recorded metrics. The ids that they answered are made from these columns again.
CREATE TABLE metric_requests (
    tenant      INTEGER NOT NULL,
    request     BLOB NOT NULL,
    fingerprint BLOB NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (tenant, request)
) STRICT, WITHOUT ROWID;
CREATE INDEX metric_requests_age ON metric_requests (at);

-- Each tenant's cache: the last revision, and what its entries come to.
CREATE TABLE caches (
    tenant   INTEGER NOT NULL PRIMARY KEY,
    revision INTEGER NOT NULL,
    entries  INTEGER NOT NULL,
    bytes    INTEGER NOT NULL
) STRICT;

CREATE TABLE cache_entries (
    entry       INTEGER PRIMARY KEY,
    tenant      INTEGER NOT NULL,
    key         TEXT NOT NULL,
    value       TEXT NOT NULL,
    bytes       INTEGER NOT NULL,
    revision    INTEGER NOT NULL,
    -- Seconds; absent: until the cache is full.
    ttl         INTEGER,
    created_at  INTEGER NOT NULL,
    accessed_at INTEGER NOT NULL,
    expires_at  INTEGER,
    UNIQUE (tenant, key)
) STRICT;
CREATE INDEX cache_entries_use ON cache_entries (tenant, accessed_at, entry);
CREATE INDEX cache_entries_expiry ON cache_entries (expires_at) WHERE expires_at IS NOT NULL;

-- What is to be cleared away in steps: rows of a session that is gone, but for those that parts refer
-- to; or messages of one that is not, up to a position; or what was staged for a session that never came.
CREATE TABLE purges (
    purge    INTEGER PRIMARY KEY,
    session  INTEGER NOT NULL,
    -- Messages up to this position; absent: everything.
    messages INTEGER,
    -- An import may still go on until then.
    staged   INTEGER
) STRICT;
CREATE INDEX purges_session ON purges (session);
