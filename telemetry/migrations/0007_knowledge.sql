-- What people wrote down, cut into passages that are found by meaning and by words.
CREATE EXTENSION IF NOT EXISTS pg_trgm;

CREATE TABLE document (
    document_id text PRIMARY KEY,
    title text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('procedure', 'note', 'market', 'incident', 'decision', 'manual')),
    role text NOT NULL CHECK (role IN ('viewer', 'operator', 'approver', 'admin')),
    body text NOT NULL,
    content_hash text NOT NULL,
    written_on date,
    simulated boolean NOT NULL,
    metadata jsonb NOT NULL,
    imported_at timestamptz NOT NULL
);

-- What filters by stands in the passage too, so that one index scan can judge it. A vector means something only with its model.
CREATE TABLE passage (
    passage_id text PRIMARY KEY,
    document_id text NOT NULL REFERENCES document ON DELETE CASCADE,
    number integer NOT NULL,
    title text NOT NULL,
    section text NOT NULL,
    body text NOT NULL,
    starts_at integer NOT NULL,
    ends_at integer NOT NULL CHECK (ends_at >= starts_at),
    kind text NOT NULL,
    role text NOT NULL,
    written_on date,
    equipment text[] NOT NULL,
    site_ids text[] NOT NULL,
    metadata jsonb NOT NULL,
    embedding vector(384),
    model_id text,
    words tsvector NOT NULL GENERATED ALWAYS AS (
        setweight(to_tsvector('english', title), 'A')
        || setweight(to_tsvector('english', section), 'B')
        || setweight(to_tsvector('english', body), 'C')
    ) STORED,
    CHECK ((embedding IS NULL) = (model_id IS NULL))
);
CREATE INDEX passage_by_document ON passage (document_id, number);
CREATE INDEX passage_by_words ON passage USING gin (words) WITH (fastupdate = off);
CREATE INDEX passage_by_site ON passage USING gin (site_ids);
CREATE INDEX passage_by_embedding ON passage USING hnsw (embedding vector_cosine_ops);

-- In how many passages a word occurs: rare stems weigh more, and a misspelt word is compared with the plain ones.
CREATE TABLE passage_word (
    form text NOT NULL CHECK (form IN ('stem', 'plain')),
    word text NOT NULL,
    passages integer NOT NULL,
    PRIMARY KEY (form, word)
);
CREATE INDEX passage_word_by_trigram ON passage_word USING gin (word gin_trgm_ops) WHERE form = 'plain';

GRANT SELECT ON document, passage, passage_word TO cellwatt_ingest, cellwatt_api, cellwatt_loop, cellwatt_control;
GRANT INSERT, UPDATE, DELETE ON document, passage, passage_word TO cellwatt_api, cellwatt_loop;
