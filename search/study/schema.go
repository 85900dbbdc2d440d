package study

// Format is the version of the file's form; a newer one is refused.
const Format = 1

// applicationID marks the file as a study ("nasc").
const applicationID = 0x6e617363

// schema is STRICT, so that a column holds its type; trial.sum is the CRC-32 of
// the row's other columns, which finds what a disk changed without SQLite's
// noticing.
const schema = `
CREATE TABLE study (
	id           INTEGER PRIMARY KEY CHECK (id = 1),
	uid          TEXT NOT NULL,    -- drawn when it was begun
	space        TEXT NOT NULL,    -- its name
	space_text   TEXT NOT NULL,    -- the architecture file, or what names the table, or the teacher in the folder of weights
	space_digest TEXT NOT NULL,    -- SHA-256 of the text, or of the file of table or teacher
	strategy     TEXT NOT NULL,
	options      TEXT NOT NULL,    -- JSON object
	objective    TEXT NOT NULL,    -- accuracy, or accuracy,ms
	limits       TEXT NOT NULL,    -- JSON object: metric to bound
	seed         INTEGER NOT NULL,
	window       INTEGER NOT NULL,
	budget       INTEGER NOT NULL, -- trials that the strategy was set up for, 0 for a time
	data         TEXT NOT NULL,
	settings     TEXT NOT NULL,    -- JSON object: what else decides outcomes, such as epochs
	nasc         TEXT NOT NULL,    -- version that began it
	command      TEXT NOT NULL,    -- the command that makes it again
	created      TEXT NOT NULL     -- RFC 3339
) STRICT;

CREATE TABLE session ( -- the runs that worked on it
	id      INTEGER PRIMARY KEY,
	nasc    TEXT NOT NULL,
	pid     INTEGER NOT NULL,
	started TEXT NOT NULL,
	used_ms REAL NOT NULL
) STRICT;

CREATE TABLE trial (
	id       INTEGER PRIMARY KEY,
	state    TEXT NOT NULL CHECK (state IN ('asked', 'done')),
	seed     INTEGER NOT NULL,
	genotype TEXT NOT NULL,
	parent   INTEGER NOT NULL, -- trial whose weights it starts from, 0 for none
	edits    TEXT NOT NULL,    -- JSON list of passes
	share    REAL NOT NULL,    -- of a full training, 0 for all of it
	note     TEXT NOT NULL,
	copy_of  INTEGER NOT NULL, -- trial of the same network, 0 for none
	metrics  TEXT NOT NULL,    -- JSON object
	curve    TEXT NOT NULL,    -- JSON list
	weights  TEXT NOT NULL,    -- SHA-256 of a file in the folder beside
	steps    INTEGER NOT NULL,
	delta    REAL NOT NULL,
	max_out  REAL NOT NULL,
	fault    TEXT NOT NULL,
	asked    TEXT NOT NULL,    -- RFC 3339
	finished TEXT NOT NULL,
	took_ms  REAL NOT NULL,
	sum      INTEGER NOT NULL
) STRICT;
`
