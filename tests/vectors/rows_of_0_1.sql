-- What a database of 0.1 (schema revision 0008) may hold, a row a statement.
INSERT INTO slots (client, event, hook_id, target, state, revision, published_revision, published_offset, tombstoned, secrets, not_before_ms, rate_limit_per_s, created_at_ms, updated_at_ms, disabled_reason, old_secrets_until_ms)
VALUES (434, 'lead.new', 7, 'https://e.example/', 'enabled', 3, 2, 40, false, '["AAEC"]', 5, 2.5, 1, 2, NULL, 9),
       (9223372036854775807, 'lead.new', 8, 'https://e.example/', 'deleted', 1, 1, 41, false, '[]', 0, NULL, 1, 2, NULL, NULL);
INSERT INTO tokens (hash, role, client, name, created_at_ms)
VALUES ('h1', 'integrator', 434, 'one', 1),
       ('h2', 'operator', NULL, 'two', 2);
INSERT INTO idempotency_keys (client, key, request_hash, answer, created_at_ms)
VALUES (434, 'k', 'r', 'a', 1);
INSERT INTO audit (at_ms, actor, action, client, event, hook_id, detail)
VALUES (1, 'a', 'hook.create', 434, 'lead.new', 7, '{}'),
       (2, 'a', 'secrets.reseal', NULL, NULL, NULL, '{}');
INSERT INTO attempts (delivery_id, hook_id, hook_revision, client, event, namespace, concept_id, delivery_partition, delivery_offset, number, probe, replay, started_at_ms, duration_ms, result, status, answer, logged_at_ms)
VALUES ('msg_1', 7, 3, 434, 'lead.new', 'lead', 17, 0, 5, 1, false, '', 1, 1.5, 'timeout', NULL, 'x', 2);
INSERT INTO attempt_gaps (client, attempts, first_at_ms, last_at_ms)
VALUES (434, 3, 1, 2);
INSERT INTO replays (created_by, created_at_ms, updated_at_ms, own, from_ms, to_ms, client, hook_id, event, namespace, concept_id, source, selection, rate_per_s, endpoint_rate_per_s, state, scanned, sent, expired, unreadable, lease_until_ms)
VALUES ('a', 1, 1, true, 0, 9, 434, 7, 'lead.new', 'lead', 17, 'events', 'all', 1, 1, 'done', 0, 0, 0, 0, 0),
       ('a', 1, 1, false, 0, 9, NULL, NULL, NULL, NULL, NULL, 'events', 'all', 1, 1, 'planned', 0, 0, 0, 0, 0);
INSERT INTO endpoint_wishes (client, target_digest, paused, skip_before_ms, retry_at_ms, skipped, asked_by, reason, drained_by, drain_reason, revision, published_revision, published_partition, published_offset, updated_at_ms)
VALUES (434, '0011223344556677', true, 0, 0, '[]', 'a', 'r', '', '', 2, 2, 1, 5, 9);
