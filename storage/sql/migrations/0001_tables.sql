-- What the pipeline writes. Analysts read the views of 0002 and the macros of 0003 instead; docs/data-model.md is their contract.
CREATE SCHEMA store;

-- A row is one setting of the whole index that later runs must agree with: which Hub it mirrors, which sample plan version.
CREATE TABLE store.setting (
    name VARCHAR PRIMARY KEY,
    value VARCHAR NOT NULL
);

-- A row is one command that wrote to the index. Versions and parameters are kept so that every result can be traced.
CREATE TABLE store.run (
    run_id BIGINT PRIMARY KEY,
    command VARCHAR NOT NULL,
    started_at TIMESTAMP NOT NULL,
    finished_at TIMESTAMP,
    status VARCHAR NOT NULL, -- running, done, failed, interrupted
    parameters VARCHAR NOT NULL, -- JSON: versions of modelkin and its libraries, settings
    counts VARCHAR -- JSON: what the run did, filled when it ends
);

-- A row is one walk over the whole listing. At most one is unfinished: the next crawl goes on from its cursor.
CREATE TABLE store.sweep (
    sweep_id BIGINT PRIMARY KEY,
    next_cursor VARCHAR, -- NULL before the first page and after the last
    finished BOOLEAN NOT NULL
);

-- A row is one repository as the newest listing that showed it; gone from here once a finished sweep did not see it.
CREATE TABLE store.listed (
    hub_id VARCHAR PRIMARY KEY, -- the Hub's _id: a rename keeps it
    repo_id VARCHAR NOT NULL,
    revision VARCHAR NOT NULL, -- commit sha
    created_at TIMESTAMP,
    last_modified TIMESTAMP,
    library VARCHAR,
    pipeline_tag VARCHAR,
    licence VARCHAR,
    downloads BIGINT NOT NULL,
    likes BIGINT NOT NULL,
    gated BOOLEAN NOT NULL,
    disabled BOOLEAN NOT NULL,
    tags VARCHAR[] NOT NULL,
    declared_bases VARCHAR[] NOT NULL, -- the card's text, which may name nothing that exists
    declared_relations VARCHAR[] NOT NULL, -- beside each declared base: its relation, or an empty string
    weight_files VARCHAR[] NOT NULL, -- safetensors files and their index files
    model_type VARCHAR,
    model_class VARCHAR,
    sweep_id BIGINT NOT NULL -- the last sweep that saw it
);

-- A row is one sample plan: which rows of which tensors are read from every model of an architecture.
CREATE TABLE store.plan (
    plan_id VARCHAR PRIMARY KEY,
    architecture VARCHAR NOT NULL,
    budget_weights BIGINT NOT NULL,
    version INTEGER NOT NULL,
    names VARCHAR[] NOT NULL,
    row_start BIGINT[] NOT NULL,
    row_count BIGINT[] NOT NULL,
    tensor_rows BIGINT[] NOT NULL,
    cols BIGINT[] NOT NULL,
    indexed_members VARCHAR -- digest of the fingerprints that the last index step saw; NULL before the first
);

-- A row is one revision whose weights were sampled; its values are row `row_number` of fingerprint file `file_name`.
CREATE TABLE store.fingerprint (
    hub_id VARCHAR PRIMARY KEY,
    revision VARCHAR NOT NULL,
    plan_id VARCHAR NOT NULL,
    dtype VARCHAR NOT NULL,
    parameters BIGINT NOT NULL,
    values_sha256 VARCHAR NOT NULL, -- of the decoded float32 values
    weights_sha256 VARCHAR, -- of the weight file, where the Hub told it
    header_bytes BIGINT NOT NULL,
    sampled_bytes BIGINT NOT NULL,
    resolver_requests BIGINT NOT NULL,
    file_name VARCHAR NOT NULL,
    row_number BIGINT NOT NULL
);

-- A row is one listed model that was left out, at which stage and why.
CREATE TABLE store.skip (
    hub_id VARCHAR PRIMARY KEY,
    repo_id VARCHAR NOT NULL,
    revision VARCHAR NOT NULL,
    stage VARCHAR NOT NULL, -- crawl, index, recover
    reason VARCHAR NOT NULL,
    detail VARCHAR NOT NULL,
    retry BOOLEAN NOT NULL,
    sweep_id BIGINT NOT NULL
);

-- A row is one pair of models that the index step found to be kin.
CREATE TABLE store.link (
    plan_id VARCHAR NOT NULL,
    left_id VARCHAR NOT NULL,
    right_id VARCHAR NOT NULL,
    score DOUBLE NOT NULL -- standard deviations above the null of strangers
);

-- A row is one connected set of kin: one Model Tree. Its id is a digest of its members and their revisions, so that a
-- cluster that gains, loses or changes a member is another cluster.
CREATE TABLE store.cluster (
    cluster_id VARCHAR PRIMARY KEY,
    plan_id VARCHAR NOT NULL,
    size BIGINT NOT NULL,
    evidence VARCHAR NOT NULL -- none, fingerprint, exact; 'none' is what recover has yet to do
);

-- A row is one model's place in its cluster.
CREATE TABLE store.member (
    hub_id VARCHAR PRIMARY KEY,
    cluster_id VARCHAR NOT NULL,
    depth BIGINT, -- edges from the root; NULL until recovered
    root_posterior DOUBLE -- probability of being the root; NULL until recovered
);

-- A row is the evidence of one compared pair; left_id < right_id, and direction > 0 speaks for left_id being the parent.
CREATE TABLE store.pair (
    left_id VARCHAR NOT NULL,
    right_id VARCHAR NOT NULL,
    evidence VARCHAR NOT NULL, -- fingerprint, exact
    l_ft DOUBLE NOT NULL,
    l_lora DOUBLE NOT NULL,
    l_lora_sum DOUBLE NOT NULL,
    l1 DOUBLE NOT NULL,
    l2_squared DOUBLE NOT NULL,
    norm_squared DOUBLE NOT NULL,
    changed_share DOUBLE NOT NULL,
    step_cost DOUBLE NOT NULL,
    direction DOUBLE NOT NULL,
    PRIMARY KEY (left_id, right_id)
);

-- A row is the moments of one layer of one model.
CREATE TABLE store.moment (
    hub_id VARCHAR NOT NULL,
    evidence VARCHAR NOT NULL,
    layer VARCHAR NOT NULL,
    weight_count DOUBLE NOT NULL,
    mean DOUBLE NOT NULL,
    variance DOUBLE NOT NULL,
    skewness DOUBLE NOT NULL,
    kurtosis DOUBLE NOT NULL,
    entropy DOUBLE NOT NULL,
    minimum DOUBLE NOT NULL,
    maximum DOUBLE NOT NULL,
    zeros DOUBLE NOT NULL
);

-- A row is one current edge parent -> child.
CREATE TABLE store.edge (
    child_id VARCHAR PRIMARY KEY,
    parent_id VARCHAR NOT NULL,
    child_revision VARCHAR NOT NULL,
    parent_revision VARCHAR NOT NULL,
    relation VARCHAR NOT NULL,
    confidence DOUBLE NOT NULL,
    evidence VARCHAR NOT NULL
);

-- A row is one edge that was current from run `valid_from_run` to before run `valid_to_run` (NULL: still is). Names and
-- revisions are those of that time, so that the history can be read after a model is gone.
CREATE TABLE store.edge_history (
    child_id VARCHAR NOT NULL,
    parent_id VARCHAR NOT NULL,
    child VARCHAR NOT NULL,
    parent VARCHAR NOT NULL,
    child_revision VARCHAR NOT NULL,
    parent_revision VARCHAR NOT NULL,
    relation VARCHAR NOT NULL,
    confidence DOUBLE NOT NULL,
    evidence VARCHAR NOT NULL,
    valid_from_run BIGINT NOT NULL,
    valid_to_run BIGINT
);
