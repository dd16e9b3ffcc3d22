-- What the crawl of a model cost, and walks over a part of the listing beside those over the whole of it.

-- A row is what the last attempt to read one model cost, whether it was read or left out.
CREATE TABLE store.cost (
    hub_id VARCHAR PRIMARY KEY,
    revision VARCHAR NOT NULL,
    resolver_requests BIGINT NOT NULL, -- to the Hub's file resolver
    cdn_requests BIGINT NOT NULL, -- to where the bytes lie, which no limit counts
    received_bytes BIGINT NOT NULL -- bodies of all answers, repeated and useless ones included
);

ALTER TABLE store.sweep ADD COLUMN kind VARCHAR DEFAULT 'full'; -- full: the whole listing; created: what is new; modified: what changed
ALTER TABLE store.sweep ADD COLUMN scope VARCHAR; -- which part of the Hub is listed; NULL before this was recorded
ALTER TABLE store.sweep ADD COLUMN mark VARCHAR; -- the newest lastModified on the Hub when the walk began
ALTER TABLE store.sweep ADD COLUMN down_to VARCHAR; -- where a walk that is not full ends: a hub id, or a time of change
ALTER TABLE store.sweep ADD COLUMN finished_at TIMESTAMP;

-- A row is what the last attempt to read one model cost the Hub, the CDN and the line.
CREATE VIEW costs AS
SELECT l.repo_id, c.revision, f.hub_id IS NOT NULL AS was_read, c.resolver_requests, c.cdn_requests, c.received_bytes
FROM store.cost c
JOIN store.listed l USING (hub_id)
LEFT JOIN store.fingerprint f USING (hub_id);
