CREATE TABLE tenants (
    tenant {key} PRIMARY KEY,
    title TEXT NOT NULL,
    settings TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    version BIGINT NOT NULL
);

-- kind: u for users, a for anonymous ids
CREATE TABLE people (
    tenant {key} NOT NULL,
    kind {key} NOT NULL,
    id {key} NOT NULL,
    subject {key} NOT NULL,
    user_id {key},
    consent BIGINT,
    created_ms BIGINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (tenant, kind, id),
    UNIQUE (tenant, subject)
);
CREATE INDEX people_of_user ON people (tenant, user_id, id) WHERE user_id IS NOT NULL;

CREATE TABLE api_keys (
    tenant {key} NOT NULL,
    id {key} NOT NULL,
    title TEXT NOT NULL,
    hash {bytes} NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT,
    revoked_ms BIGINT,
    used_ms BIGINT,
    version BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);

CREATE TABLE definitions (
    tenant {key} NOT NULL,
    kind {key} NOT NULL,
    name {key} NOT NULL,
    spec TEXT NOT NULL,
    is_enabled BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    changed_ms BIGINT NOT NULL,
    version BIGINT NOT NULL,
    PRIMARY KEY (tenant, kind, name)
);

CREATE TABLE model_versions (
    tenant {key} NOT NULL,
    model {key} NOT NULL,
    label {key} NOT NULL,
    uri TEXT NOT NULL,
    metrics TEXT NOT NULL,
    is_live BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    promoted_ms BIGINT,
    version BIGINT NOT NULL,
    PRIMARY KEY (tenant, model, label)
);
CREATE UNIQUE INDEX one_live_version ON model_versions (tenant, model) WHERE is_live = 1;

CREATE TABLE jobs (
    tenant {key} NOT NULL,
    id {key} NOT NULL,
    kind {key} NOT NULL,
    spec TEXT NOT NULL,
    state {key} NOT NULL,
    progress TEXT NOT NULL,
    report TEXT NOT NULL,
    worker TEXT,
    fence BIGINT NOT NULL,
    lease_until_ms BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    ended_ms BIGINT,
    version BIGINT NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX jobs_to_do ON jobs (kind, created_ms) WHERE state IN ('queued', 'running');

CREATE TABLE audit (
    number {number},
    tenant {key} NOT NULL,
    at_ms BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX audit_of_tenant ON audit (tenant, number);

CREATE TABLE outbox (
    number {number},
    topic {key} NOT NULL,
    tenant {key} NOT NULL,
    key TEXT NOT NULL,
    payload TEXT NOT NULL
);
CREATE INDEX outbox_of_topic ON outbox (topic, number);

CREATE TABLE answers (
    tenant {key} NOT NULL,
    key {key} NOT NULL,
    digest TEXT NOT NULL,
    answer TEXT NOT NULL,
    until_ms BIGINT NOT NULL,
    PRIMARY KEY (tenant, key)
);
CREATE INDEX answers_by_end ON answers (until_ms);
