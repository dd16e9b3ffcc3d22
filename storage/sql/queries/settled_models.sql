-- What needs no reading: read at this revision by this sample plan, or left out at this revision for a reason that stays.
SELECT f.hub_id, f.revision
FROM store.fingerprint f
JOIN store.plan p USING (plan_id)
WHERE f.hub_id IN (SELECT unnest($hub_ids)) AND p.budget_weights = $budget_weights AND p.version = $plan_version
    AND (f.hub_id, f.revision) NOT IN (SELECT hub_id, revision FROM store.without_layout)
    AND f.hub_id NOT IN (SELECT hub_id FROM store.listed WHERE disabled)
UNION ALL
SELECT hub_id, revision FROM store.skip WHERE hub_id IN (SELECT unnest($hub_ids)) AND NOT retry
