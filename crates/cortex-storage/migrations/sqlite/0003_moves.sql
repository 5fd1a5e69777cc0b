-- That the installation was copied into another database, and lives on there: nothing is written here
-- any more. No row: it lives here.
CREATE TABLE moves (
    move     INTEGER PRIMARY KEY CHECK (move = 1),
    moved_at INTEGER NOT NULL
) STRICT;
