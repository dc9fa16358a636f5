-- The wire: `simulated.call` is the one way in, a whole verb in one round trip. Called by cloud.py.
-- It answers {"status", "code", "detail", "body", "delay_s", "lost"}; `lost` means that the caller shall never see the
-- answer. Whatever becomes of the order itself, the faults' counters and the log are kept.

create or replace function simulated.register(c text, images_ text[], log_looks_ boolean, pools jsonb) returns void
language plpgsql as $$
begin
  insert into simulated.cloud as x (code, images, log_looks) values (c, images_, log_looks_)
  on conflict (code) do update set images = excluded.images, log_looks = excluded.log_looks
  where (x.images, x.log_looks) is distinct from (excluded.images, excluded.log_looks);
  insert into simulated.pool as x (cloud, resource, name, total)
  select c, p ->> 0, p ->> 1, (p ->> 2)::bigint from jsonb_array_elements(pools) p order by 2, 3
  on conflict (cloud, resource, name) do update set total = excluded.total where x.total <> excluded.total;
end $$;

create or replace function simulated.shown(o simulated.object, now_ timestamptz) returns jsonb
language sql stable as $$
  select jsonb_build_object('ref', o.ref, 'kind', o.kind, 'tag', o.tag, 'project', o.project, 'name', o.name,
    'state', simulated.state(o, now_), 'vcpu', o.vcpu, 'memory_gib', o.memory_gib, 'size_gib', o.size_gib,
    'prefix', o.prefix, 'mac', o.mac, 'server', o.server, 'uplink', o.uplink)
$$;

-- What carries a tag: the objects with this one, or all of a project, or all. The one that counts comes first.
create or replace function simulated.look(c text, k text, a jsonb, now_ timestamptz) returns jsonb
language plpgsql as $$
declare
  kind_ text := case k when 'attachment' then 'volume' else k end;
  body jsonb;
begin
  if a ? 'tag' then
    select jsonb_agg(simulated.shown(o, now_) order by o.server is null, o.seq) into body
    from simulated.tagged(c, k, (a ->> 'project')::uuid, (a ->> 'tag')::uuid) o;
  elsif a ? 'project' then
    select jsonb_agg(simulated.shown(o, now_) order by o.server is null, o.seq) into body
    from simulated.object o where o.cloud = c and o.kind = kind_ and o.project = (a ->> 'project')::uuid
      and o.tag is not null and (k <> 'attachment' or o.server is not null);
  else
    select jsonb_agg(simulated.shown(o, now_) order by o.server is null, o.seq) into body
    from simulated.object o where o.cloud = c and o.kind = kind_
      and o.tag is not null and (k <> 'attachment' or o.server is not null);
  end if;
  return coalesce(body, '[]');
end $$;

create or replace function simulated.report(c text, v text, a jsonb, now_ timestamptz) returns jsonb
language plpgsql as $$
declare body jsonb;
begin
  if v = 'capacity' then
    select jsonb_agg(jsonb_build_array(resource, name, total, used)) into body from simulated.pool where cloud = c;
  elsif v = 'images' then
    select to_jsonb(images) into body from simulated.cloud where code = c;
  elsif v = 'usage' then
    select jsonb_agg(jsonb_build_array(u.tag, u.vcpu, u.memory) order by u.tag) into body
    from (
      select m.tag, sum(m.vcpu * h.hours) as vcpu, sum(m.memory_gib * h.hours) as memory
      from simulated.metered m, lateral (select extract(epoch from least(m.end_at, now_, (a ->> 'end')::timestamptz)
        - greatest(m.start_at, (a ->> 'start')::timestamptz))::float8 / 3600 as hours) h
      where m.cloud = c and m.project = (a ->> 'project')::uuid and m.tag is not null and h.hours > 0
      group by m.tag
    ) u;
  elsif v = 'ports' then
    select jsonb_agg(jsonb_build_array(p.ref, o.tag, o.project, host(p.address)) order by p.ref) into body
    from simulated.port p join simulated.object o
      on o.cloud = p.cloud and o.kind = 'network' and o.tag = p.network and not o.deleting
    where p.cloud = c;
  elsif v = 'lives' then
    -- Of each server with a tag: its sizes over time, and when it was off.
    select jsonb_agg(jsonb_build_array(l.tag, l.sizes, l.offs) order by l.tag) into body
    from (
      select m.tag,
        jsonb_agg(jsonb_build_array(m.start_at, coalesce(m.end_at, now_), m.vcpu, m.memory_gib) order by m.start_at)
          as sizes,
        (select coalesce(jsonb_agg(jsonb_build_array(x.start_at, coalesce(x.end_at, now_))), '[]')
         from simulated.off x where x.cloud = c and x.ref = any (array_agg(m.ref))
           and x.start_at < (a ->> 'end')::timestamptz) as offs
      from simulated.metered m
      where m.cloud = c and m.tag is not null and m.start_at < (a ->> 'end')::timestamptz
        and coalesce(m.end_at, now_) > (a ->> 'start')::timestamptz
      group by m.tag
    ) l;
  end if;
  return coalesce(body, '[]');
end $$;

-- Carries out one order; the answer's status says how it went. What a refused order had done is undone.
create or replace function simulated.carry_out(c text, v text, k text, a jsonb, now_ timestamptz) returns jsonb
language plpgsql as $$
declare code_ text; detail_ text; state_ text; constraint_ text;
begin
  case v
    when 'create' then perform simulated.create(c, k, a, now_);
    when 'change' then perform simulated.change(c, k, a, now_);
    when 'power' then perform simulated.power(c, a, now_);
    when 'delete' then perform simulated.delete(c, k, a, now_);
  end case;
  return jsonb_build_object('status', 200, 'code', '', 'body', simulated.look(c, k, a, now_));
exception when others then
  get stacked diagnostics state_ = returned_sqlstate, code_ = message_text, detail_ = pg_exception_detail,
    constraint_ = constraint_name;
  if state_ like 'GY%' then
    return jsonb_build_object('status', substr(state_, 3)::integer, 'code', code_, 'detail', detail_);
  elsif state_ = '23505' then
    return jsonb_build_object('status', 409, 'code', constraint_ || '.taken', 'detail', detail_);
  elsif state_ like '22%' or state_ like '23%' then
    return jsonb_build_object('status', 400, 'code', 'order.invalid', 'detail', code_);
  end if;
  raise;
end $$;

-- Lets accepted orders act whose time has come. A late create does not ask whether its tag is there by now.
create or replace function simulated.act_late(c text, now_ timestamptz) returns void
language plpgsql as $$
declare l simulated.late_order; reply jsonb;
begin
  for l in delete from simulated.late_order where id in (
    select id from simulated.late_order where cloud = c and (looks_left <= 0 or due_at <= now_)
    order by id for update skip locked) returning *
  loop
    reply := simulated.carry_out(c, l.verb, l.kind, l.args, now_);
    perform simulated.log(c, l.verb, l.kind, l.args, reply, 'acted late', now_);
  end loop;
end $$;

-- Counts a look that has just been answered; the orders that waited for it act now.
create or replace function simulated.looked(c text, k text, a jsonb, now_ timestamptz) returns void
language plpgsql as $$
begin
  update simulated.late_order set looks_left = looks_left - 1
  where cloud = c and kind = k and looks_left is not null
    and (not a ? 'tag' or tag = (a ->> 'tag')::uuid) and (not a ? 'project' or project = (a ->> 'project')::uuid);
  if found then perform simulated.act_late(c, now_); end if;
end $$;

-- Brings the cloud up to the present: what was to be gone is gone, what was late has acted.
create or replace function simulated.settle(c text, now_ timestamptz) returns void
language plpgsql as $$
declare o simulated.object;
begin
  for o in select x.* from simulated.object x where x.cloud = c and x.gone_at <= now_
    order by x.arch, x.block_class, x.ref for update skip locked
  loop
    perform simulated.remove(o, o.gone_at);
  end loop;
  perform simulated.act_late(c, now_);
end $$;

create or replace function simulated.take_fault(c text, v text, k text, tag_ uuid) returns simulated.fault
language plpgsql as $$
declare f simulated.fault;
begin
  for f in select * from simulated.fault
    where cloud = c and verb in (v, '*') and (kind is null or kind = k) and (tag is null or tag = tag_)
      and (times > 0 or after_calls > 0)
    order by id for update
  loop
    if f.after_calls > 0 then
      update simulated.fault set after_calls = after_calls - 1 where id = f.id;
    elsif f.times > 0 then
      update simulated.fault set times = times - 1 where id = f.id;
      return f;
    end if;
  end loop;
  return null;
end $$;

create or replace function simulated.log(c text, v text, k text, a jsonb, reply jsonb, fault_ text, now_ timestamptz)
returns void language plpgsql as $$
declare n bigint;
begin
  insert into simulated.call_log (at, cloud, verb, kind, tag, project, status, code, fault)
  values (now_, c, v, k, (a ->> 'tag')::uuid, (a ->> 'project')::uuid, (reply ->> 'status')::integer,
    reply ->> 'code', fault_)
  returning id into n;
  if n % 1000 = 0 then delete from simulated.call_log where id <= n - 50000; end if;
end $$;

-- The order itself, with the faults that act during or after it.
create or replace function simulated.serve(c text, v text, k text, a jsonb, f simulated.fault, now_ timestamptz)
returns jsonb language plpgsql as $$
declare found_ jsonb; reply jsonb;
begin
  if v = 'create' then
    found_ := simulated.look(c, k, a, now_);
    perform simulated.looked(c, k, a, now_);
    if found_ <> '[]' then return jsonb_build_object('status', 200, 'code', 'found', 'body', found_); end if;
  end if;
  if f.mode = 'late' and v in ('create', 'change', 'power', 'delete') then
    insert into simulated.late_order (cloud, verb, kind, tag, project, args, looks_left, due_at)
    values (c, v, k, (a ->> 'tag')::uuid, (a ->> 'project')::uuid, a,
      case when f.delay_s = 0 then f.looks end,
      case when f.delay_s > 0 then now_ + make_interval(secs => f.delay_s) end);
    return jsonb_build_object('status', 202, 'code', 'accepted', 'body', '[]'::jsonb);
  end if;
  if v in ('observe', 'list') then
    reply := jsonb_build_object('status', 200, 'code', '', 'body', simulated.look(c, k, a, now_));
    perform simulated.looked(c, k, a, now_);
  elsif v in ('create', 'change', 'power', 'delete') then
    reply := simulated.carry_out(c, v, k, a || case f.mode
      when 'error_state' then '{"failed": true}'::jsonb
      when 'stuck_building' then '{"stuck": true}'::jsonb
      else '{}'::jsonb end, now_);
  else
    reply := jsonb_build_object('status', 200, 'code', '', 'body', simulated.report(c, v, a, now_));
  end if;
  if f.mode = 'vanish' then
    update simulated.object set gone_at = now_ + make_interval(secs => f.delay_s)
    where cloud = c and kind = k and tag = (a ->> 'tag')::uuid;
  end if;
  return reply;
end $$;

create or replace function simulated.call(c text, v text, k text, a jsonb) returns jsonb
language plpgsql as $$
declare
  cloud_ simulated.cloud;
  f simulated.fault;
  reply jsonb;
  now_ timestamptz;
begin
  select * into cloud_ from simulated.cloud where code = c;
  if not found then
    return jsonb_build_object('status', 404, 'code', 'cloud.unknown', 'detail', c, 'lost', false, 'delay_s', 0);
  end if;
  now_ := clock_timestamp() + cloud_.clock_ahead;
  perform simulated.settle(c, now_);
  f := simulated.take_fault(c, v, k, (a ->> 'tag')::uuid);
  reply := case f.mode
    when 'refuse' then jsonb_build_object('status', 403, 'code', 'refused', 'detail', 'the cloud refused')
    when 'http_5xx' then jsonb_build_object('status', 503, 'code', 'unavailable', 'detail', 'the cloud is out of order')
    when 'quota_exceeded' then jsonb_build_object('status', 413, 'code', 'quota.exceeded', 'detail', 'over the limit')
    when 'rate_limit' then jsonb_build_object('status', 429, 'code', 'rate.limited', 'detail', 'too many requests')
  end;
  if reply is null then reply := simulated.serve(c, v, k, a, f, now_); end if;
  if cloud_.log_looks or f.id is not null or v in ('create', 'change', 'power', 'delete') then
    perform simulated.log(c, v, k, a, reply, f.mode, now_);
  end if;
  return reply || jsonb_build_object(
    'lost', coalesce(f.mode in ('late', 'timeout_after_done'), false),
    'delay_s', coalesce(f.delay_s, 0),
    'fault', f.mode);
end $$;
