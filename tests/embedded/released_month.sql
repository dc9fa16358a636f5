-- A month of the released schema (revision 0020_releases_and_limits): September 2026 closed, opened again by two people
-- and closed anew, with a decision about a line of it. 4 vCPU at 0.36 and 8 GiB at 0.18 an hour, 720 hours.
INSERT INTO broker.person (id, name) VALUES ('00000000-0000-0000-0000-0000000000a1', '甲'), ('00000000-0000-0000-0000-0000000000a2', '乙');
INSERT INTO broker.unit (id, code, kind) VALUES ('00000000-0000-0000-0000-000000000001', 'region', 'region'),
  ('00000000-0000-0000-0000-000000000002', 'city', 'city');
INSERT INTO broker.unit_period (id, unit_id, parent_id, name, ancestors, during) VALUES
  (gen_random_uuid(), '00000000-0000-0000-0000-000000000001', NULL, '自治区',
   '{00000000-0000-0000-0000-000000000001}', tstzrange('2020-01-01Z', NULL)),
  (gen_random_uuid(), '00000000-0000-0000-0000-000000000002', '00000000-0000-0000-0000-000000000001', '某市',
   '{00000000-0000-0000-0000-000000000001,00000000-0000-0000-0000-000000000002}', tstzrange('2020-01-01Z', NULL));
INSERT INTO broker.account (id, login, person_id, unit_id) VALUES
  ('00000000-0000-0000-0000-0000000000b1', 'one', '00000000-0000-0000-0000-0000000000a1', '00000000-0000-0000-0000-000000000001'),
  ('00000000-0000-0000-0000-0000000000b2', 'two', '00000000-0000-0000-0000-0000000000a2', '00000000-0000-0000-0000-000000000001');
INSERT INTO broker.sub_cloud (id, code, name, tier, operator, provider, options, mlps_level, zones, unified_management, position)
  VALUES ('00000000-0000-0000-0000-000000000011', 'main', '主云', 'main', 'one', 'simulated', '{}', 3, '{shared}', true, 1);
INSERT INTO broker.project (id, unit_id, sub_cloud_id) VALUES
  ('00000000-0000-0000-0000-000000000021', '00000000-0000-0000-0000-000000000002', '00000000-0000-0000-0000-000000000011');
INSERT INTO broker.tariff_price (id, side, meter, price_cny, per, version, source, during) VALUES
  ('00000000-0000-0000-0000-000000000031', 'charge', 'vcpu_x86_64', 0.36, 'hour', 'v1', 'test', tstzrange('2020-01-01Z', NULL)),
  ('00000000-0000-0000-0000-000000000032', 'charge', 'memory_gib', 0.18, 'hour', 'v1', 'test', tstzrange('2020-01-01Z', NULL)),
  ('00000000-0000-0000-0000-000000000033', 'settlement', 'vcpu_x86_64', 0.30, 'hour', 'v1', 'test', tstzrange('2020-01-01Z', NULL)),
  ('00000000-0000-0000-0000-000000000034', 'settlement', 'memory_gib', 0.15, 'hour', 'v1', 'test', tstzrange('2020-01-01Z', NULL));
INSERT INTO broker.payer (id, unit_id, tier, payer_unit_id, rule, article, during) VALUES
  (gen_random_uuid(), '00000000-0000-0000-0000-000000000002', 'main', '00000000-0000-0000-0000-000000000002',
   'city_without_cloud', 'Art. 16(2)', tstzrange('2020-01-01Z', NULL));
INSERT INTO broker.resource (id, number, kind, origin, unit_id, sub_cloud_id, project_id, name, spec, state) VALUES
  ('00000000-0000-0000-0000-000000000041', 'R-1', 'server', 'adopted', '00000000-0000-0000-0000-000000000002',
   '00000000-0000-0000-0000-000000000011', '00000000-0000-0000-0000-000000000021', '服务器', '{}', 'active');
INSERT INTO broker.resource_period (id, resource_id, state, cpu_arch, vcpu, memory_gib, during) VALUES
  (gen_random_uuid(), '00000000-0000-0000-0000-000000000041', 'active', 'x86_64', 4, 8, tstzrange('2026-08-31 16:00Z', NULL));

CREATE FUNCTION pg_temp.close_september(which int) RETURNS void LANGUAGE sql AS $$
  INSERT INTO broker.month_close (id, month, version, covers_until, snapshot, lines, adjustments, total_fen, settled_fen, closed_at)
    SELECT CAST('00000000-0000-0000-0001-00000000000' || which AS uuid), '2026-09-01', which, '2026-09-30 16:00Z',
           CAST(pg_current_snapshot() AS text), 2, 0, 207360, 172800, '2026-10-01Z';
  INSERT INTO broker.statement (id, payer_unit_id, month, version, total_fen, covers_until, created_at, close_id)
    SELECT CAST('00000000-0000-0000-0002-00000000000' || which AS uuid), '00000000-0000-0000-0000-000000000002', '2026-09-01',
           which, 207360, '2026-09-30 16:00Z', '2026-10-01Z', CAST('00000000-0000-0000-0001-00000000000' || which AS uuid);
  INSERT INTO broker.charge (statement_id, usage_month, unit_id, resource_id, sub_cloud_id, meter, tariff_price_id, payer_rule,
                             article, quantity_seconds, amount_fen)
    SELECT CAST('00000000-0000-0000-0002-00000000000' || which AS uuid), '2026-09-01', '00000000-0000-0000-0000-000000000002',
           '00000000-0000-0000-0000-000000000041', '00000000-0000-0000-0000-000000000011', meter, price, 'city_without_cloud',
           'Art. 16(2)', seconds, 103680
    FROM (VALUES ('vcpu_x86_64', CAST('00000000-0000-0000-0000-000000000031' AS uuid), 10368000),
                 ('memory_gib', '00000000-0000-0000-0000-000000000032', 20736000)) AS line(meter, price, seconds);
  INSERT INTO broker.settlement (id, close_id, operator, total_fen)
    SELECT CAST('00000000-0000-0000-0003-00000000000' || which AS uuid),
           CAST('00000000-0000-0000-0001-00000000000' || which AS uuid), 'one', 172800;
  INSERT INTO broker.settlement_line (settlement_id, usage_month, sub_cloud_id, meter, tariff_price_id, quantity_seconds, amount_fen)
    SELECT CAST('00000000-0000-0000-0003-00000000000' || which AS uuid), '2026-09-01', '00000000-0000-0000-0000-000000000011',
           meter, price, seconds, 86400
    FROM (VALUES ('vcpu_x86_64', CAST('00000000-0000-0000-0000-000000000033' AS uuid), 10368000),
                 ('memory_gib', '00000000-0000-0000-0000-000000000034', 20736000)) AS line(meter, price, seconds);
  INSERT INTO broker.ledger_posting (id, close_id, statement_id, settlement_id, posted_at) VALUES
    (CAST('00000000-0000-0000-0004-00000000000' || which AS uuid), CAST('00000000-0000-0000-0001-00000000000' || which AS uuid),
     CAST('00000000-0000-0000-0002-00000000000' || which AS uuid), NULL, '2026-10-01Z'),
    (CAST('00000000-0000-0000-0005-00000000000' || which AS uuid), CAST('00000000-0000-0000-0001-00000000000' || which AS uuid),
     NULL, CAST('00000000-0000-0000-0003-00000000000' || which AS uuid), '2026-10-01Z');
  INSERT INTO broker.ledger_entry (posting_id, account, unit_id, operator, amount_fen) VALUES
    (CAST('00000000-0000-0000-0004-00000000000' || which AS uuid), 'payer', '00000000-0000-0000-0000-000000000002', NULL, 207360),
    (CAST('00000000-0000-0000-0004-00000000000' || which AS uuid), 'income', NULL, NULL, -207360),
    (CAST('00000000-0000-0000-0005-00000000000' || which AS uuid), 'cost', NULL, NULL, 172800),
    (CAST('00000000-0000-0000-0005-00000000000' || which AS uuid), 'operator', NULL, 'one', -172800);
$$;
SELECT pg_temp.close_september(1);
INSERT INTO broker.month_reopening (id, close_id, reason, asked_by, asked_at) VALUES
  (gen_random_uuid(), '00000000-0000-0000-0001-000000000001', '漏导用量', '00000000-0000-0000-0000-0000000000b1', '2026-10-02Z');
UPDATE broker.month_reopening SET agreed_by = '00000000-0000-0000-0000-0000000000b2', agreed_at = '2026-10-02 01:00Z';
UPDATE broker.month_close SET reopened_at = '2026-10-02 01:00Z';
INSERT INTO broker.ledger_posting (id, close_id, statement_id, settlement_id, reverses_id, posted_at)
  SELECT gen_random_uuid(), close_id, statement_id, settlement_id, id, '2026-10-02 01:00Z' FROM broker.ledger_posting;
INSERT INTO broker.ledger_entry (posting_id, account, unit_id, operator, amount_fen)
  SELECT p.id, e.account, e.unit_id, e.operator, -e.amount_fen
  FROM broker.ledger_posting p JOIN broker.ledger_entry e ON e.posting_id = p.reverses_id;
SELECT pg_temp.close_september(2);
INSERT INTO broker.adjustment (id, charge_id, amount_fen, reason, decided_by, decided_at)
  SELECT '00000000-0000-0000-0006-000000000001', id, -100, '重复计费', '00000000-0000-0000-0000-0000000000b2', '2026-10-03Z'
  FROM broker.charge WHERE statement_id = '00000000-0000-0000-0002-000000000002' AND meter = 'vcpu_x86_64';
INSERT INTO broker.dispute (id, statement_id, charge_id, payer_unit_id, reason, raised_by, raised_at, decision, answer, answered_by,
                            answered_at, adjustment_id)
  SELECT gen_random_uuid(), '00000000-0000-0000-0002-000000000002', charge_id, '00000000-0000-0000-0000-000000000002', '重复计费',
         '00000000-0000-0000-0000-0000000000b1', '2026-10-02Z', 'accepted', '属实', decided_by, decided_at, id
  FROM broker.adjustment;

-- What was scarce, counted by the released schema's own functions: a tree with limits (one borrows), a stock, holds in each
-- state (held, pinned, posted in part and released in part, void, expired), and prefixes that are held, in use and at rest.
DO $$
DECLARE
  root uuid := '00000000-0000-0000-0000-000000000001';
  leaf uuid := '00000000-0000-0000-0000-000000000002';
  pool uuid := '00000000-0000-0000-0000-000000000011';
  owner uuid := '00000000-0000-0000-0000-000000000041';
  classes text[] := '{vcpu_x86_64,memory_gib}';
  pools uuid[] := ARRAY['00000000-0000-0000-0000-000000000011', '00000000-0000-0000-0000-000000000011'];
  said text;
BEGIN
  PERFORM quotas.add_node(root, NULL), quotas.add_node(leaf, root);
  PERFORM quotas.set_inventory(pool, 'vcpu_x86_64', 100, 10, 2, 1), quotas.set_inventory(pool, 'memory_gib', 400, 0, 1, 1);
  PERFORM quotas.set_limit(root, 'vcpu', NULL, 80, NULL, NULL), quotas.set_limit(leaf, 'vcpu', NULL, 20, 10, NULL),
          quotas.set_limit(leaf, 'memory_gib', pool, 100, NULL, NULL);
  SELECT string_agg(quotas.hold(CAST('00000000-0000-0000-0007-00000000000' || n AS uuid), owner, leaf, classes, pools,
                                ARRAY[n, 4 * n]::bigint[], timestamptz '2026-09-01Z' + n * interval '100 years', NULL)
                    ->> 'outcome', ' ' ORDER BY n)
    INTO said FROM generate_series(1, 6) AS n;
  ASSERT said = 'ok ok ok ok ok ok', said;
  said := concat_ws(' ', quotas.pin('00000000-0000-0000-0007-000000000002', '2026-09-01Z'),
    quotas.post('00000000-0000-0000-0007-000000000003', gen_random_uuid(), classes, pools, '{3,12}', '2026-09-01Z') ->> 'outcome',
    quotas.post('00000000-0000-0000-0007-000000000004', gen_random_uuid(), classes[1:1], pools[1:1], '{3}', '2026-09-01Z') ->> 'outcome',
    quotas.release('00000000-0000-0000-0007-000000000003', gen_random_uuid(), classes[1:1], pools[1:1], '{1}') ->> 'outcome',
    quotas.void('00000000-0000-0000-0007-000000000005'));
  ASSERT said = 'ok ok ok ok ok', said;
  SELECT count(*) INTO said FROM quotas.sweep('2127-01-01Z', 100);
  ASSERT said = '1', said;
  said := concat_ws(' ', quotas.ensure_pool(root, NULL, 'zone', 'shared', 'gx-shared', '3fff:100::/24', false),
    quotas.ensure_pool(leaf, root, 'city', 'shared', 'gx-shared', '3fff:101::/32', true));
  ASSERT said = 'ok ok', said;
  SELECT string_agg(quotas.allocate(gen_random_uuid(), leaf, CAST('00000000-0000-0000-0008-00000000000' || n AS uuid), 64,
                                    '2126-09-01Z', 'held', '') ->> 'outcome', ' ' ORDER BY n)
    INTO said FROM generate_series(1, 3) AS n;
  ASSERT said = 'ok ok ok', said;
  PERFORM quotas.turn('00000000-0000-0000-0008-000000000002', 'activate', '2026-09-01Z'),
          quotas.turn('00000000-0000-0000-0008-000000000003', 'activate', '2026-09-01Z'),
          quotas.give_back('00000000-0000-0000-0008-000000000003', NULL, '2126-10-01Z');
END $$;
