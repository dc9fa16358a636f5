-- The life of the objects: how each kind is placed, counted, changed and removed. Called by wire.sql only.
-- `c` is the cloud, `now_` its clock, `a` the arguments of an order. A refusal is raised with SQLSTATE GYnnn, nnn being
-- the HTTP status a real cloud would answer with.

create or replace function simulated.refuse(status integer, code text, detail text) returns void
language plpgsql as $$
begin
  raise exception using errcode = 'GY' || status, message = code, detail = detail;
end $$;

create or replace function simulated.state(o simulated.object, now_ timestamptz) returns text
language sql immutable as $$
  select case
    when o.deleting then 'deleting'
    when o.ready_at > now_ then 'building'
    when o.failed then 'error'
    when o.stopped then 'stopped'
    else 'active'
  end
$$;

-- All objects that carry a tag; the one that counts comes first: an attached volume, else the oldest.
create or replace function simulated.tagged(c text, k text, project_ uuid, tag_ uuid) returns setof simulated.object
language sql stable as $$
  select * from simulated.object o
  where o.cloud = c and o.tag = tag_ and o.project = project_
    and o.kind = case k when 'attachment' then 'volume' else k end
    and (k <> 'attachment' or o.server is not null)
  order by o.server is null, o.seq
$$;

-- Books `amount` (negative: gives it back) against a pool.
create or replace function simulated.draw(c text, resource_ text, name_ text, amount bigint) returns void
language plpgsql as $$
begin
  if amount = 0 then return; end if;
  update simulated.pool set used = used + amount
  where cloud = c and resource = resource_ and name = name_ and (amount < 0 or used + amount <= total);
  if not found then
    if not exists (select from simulated.pool where cloud = c and resource = resource_ and name = name_) then
      perform simulated.refuse(400, resource_ || '.unknown', format('this cloud has no %s', name_));
    end if;
    perform simulated.refuse(409, 'capacity.exhausted', format('%s %s: %s more do not fit', resource_, name_, amount));
  end if;
end $$;

create or replace function simulated.account(o simulated.object, sign integer) returns void
language plpgsql as $$
begin
  if o.kind = 'server' then
    perform simulated.draw(o.cloud, 'vcpu', o.arch, sign * o.vcpu);
    perform simulated.draw(o.cloud, 'memory_gib', o.arch, sign * o.memory_gib);
  elsif o.kind = 'volume' then
    perform simulated.draw(o.cloud, 'block_gib', o.block_class, sign * o.size_gib);
  end if;
end $$;

create or replace function simulated.meter(o simulated.object, now_ timestamptz, running boolean) returns void
language plpgsql as $$
begin
  if o.kind <> 'server' then return; end if;
  update simulated.metered set end_at = greatest(now_, start_at) where ref = o.ref and end_at is null;
  if running then
    insert into simulated.metered values (o.cloud, o.ref, o.project, o.tag, o.vcpu, o.memory_gib, now_, null);
  end if;
end $$;

create or replace function simulated.remove(o simulated.object, now_ timestamptz) returns void
language plpgsql as $$
begin
  perform simulated.account(o, -1);
  perform simulated.meter(o, now_, false);
  if o.kind = 'server' then
    update simulated.object set server = null where cloud = o.cloud and kind = 'volume' and server = o.tag;
  end if;
  delete from simulated.object where ref = o.ref;
end $$;

-- The project an order is for, locked: it can neither go away nor be overfilled meanwhile.
create or replace function simulated.project_of(c text, project_ uuid) returns simulated.object
language plpgsql as $$
declare p simulated.object;
begin
  select * into p from simulated.object where cloud = c and kind = 'project' and tag = project_ and not deleting
  order by seq limit 1 for update;
  if not found then perform simulated.refuse(404, 'project.unknown', format('no project %s', project_)); end if;
  return p;
end $$;

-- Whether the project, as it is now, is within its limits. Called after the change, in the same transaction.
create or replace function simulated.within_limits(p simulated.object) returns void
language plpgsql as $$
declare over text;
begin
  if p.limits is null or p.limits = '{}' then return; end if;
  select string_agg(format('%s %s > %s', w.what, w.used, p.limits ->> w.what), ', ') into over
  from (
    select count(*) filter (where kind = 'server') as servers, sum(vcpu) filter (where kind = 'server') as vcpu,
      sum(memory_gib) filter (where kind = 'server') as memory_gib, count(*) filter (where kind = 'volume') as volumes,
      sum(size_gib) filter (where kind = 'volume') as block_gib, count(*) filter (where kind = 'network') as networks
    from simulated.object where cloud = p.cloud and project = p.tag
  ) t, lateral (values ('servers', t.servers), ('vcpu', t.vcpu), ('memory_gib', t.memory_gib), ('volumes', t.volumes),
    ('block_gib', t.block_gib), ('networks', t.networks)) as w (what, used)
  where w.used > (p.limits ->> w.what)::bigint;
  if over is not null then perform simulated.refuse(413, 'quota.exceeded', over); end if;
end $$;

create or replace function simulated.place(o simulated.object, now_ timestamptz) returns void
language plpgsql as $$
begin
  insert into simulated.object select o.*;
  perform simulated.account(o, 1);
  perform simulated.meter(o, now_, true);
end $$;

create or replace function simulated.check_network(o simulated.object) returns void
language plpgsql as $$
declare other simulated.object;
begin
  perform pg_advisory_xact_lock(hashtextextended('simulated.prefix ' || o.cloud, 0));
  select * into other from simulated.object x
  where x.kind = 'network' and x.prefix && o.prefix and x.cloud = o.cloud limit 1;
  if found then
    perform simulated.refuse(409, 'prefix.overlaps', format('%s overlaps %s', o.prefix, other.prefix));
  end if;
  if exists (select from simulated.object x where x.kind = 'network' and x.cloud = o.cloud
      and x.uplink ->> 'encapsulation' = o.uplink ->> 'encapsulation' and x.uplink -> 'tag' = o.uplink -> 'tag') then
    perform simulated.refuse(409, 'uplink.taken', format('%s %s', o.uplink ->> 'encapsulation', o.uplink ->> 'tag'));
  end if;
end $$;

create or replace function simulated.check_server(o simulated.object) returns cidr
language plpgsql as $$
declare prefix_ cidr;
begin
  if not exists (select from simulated.cloud where code = o.cloud and o.image = any (images)) then
    perform simulated.refuse(400, 'image.unknown', format('no image %s', o.image));
  end if;
  -- The lock keeps the network from being deleted under the new port.
  select prefix into prefix_ from simulated.object
  where cloud = o.cloud and kind = 'network' and tag = o.network and project = o.project and not deleting
  order by seq limit 1 for key share;
  if not found then perform simulated.refuse(404, 'network.unknown', format('no network %s', o.network)); end if;
  return prefix_;
end $$;

create or replace function simulated.attach(c text, a jsonb, now_ timestamptz) returns void
language plpgsql as $$
declare v simulated.object; s simulated.object;
begin
  perform simulated.project_of(c, (a ->> 'project')::uuid);
  -- The lock keeps the server from being deleted under the new attachment.
  select * into s from simulated.object
  where cloud = c and kind = 'server' and tag = (a ->> 'server')::uuid and project = (a ->> 'project')::uuid
  order by seq limit 1 for key share;
  if not found then perform simulated.refuse(404, 'server.unknown', format('no server %s', a ->> 'server')); end if;
  select * into v from simulated.tagged(c, 'volume', (a ->> 'project')::uuid, (a ->> 'tag')::uuid) limit 1;
  if not found then perform simulated.refuse(404, 'volume.unknown', format('no volume %s', a ->> 'tag')); end if;
  if v.server is not null and v.server <> s.tag then
    perform simulated.refuse(409, 'volume.attached', format('attached to server %s', v.server));
  end if;
  if simulated.state(s, now_) not in ('active', 'stopped') or simulated.state(v, now_) <> 'active' then
    perform simulated.refuse(409, 'busy', format('server is %s, volume is %s',
      simulated.state(s, now_), simulated.state(v, now_)));
  end if;
  update simulated.object set server = s.tag where ref = v.ref;
end $$;

-- Makes one object, without asking whether its tag is there already.
create or replace function simulated.create(c text, k text, a jsonb, now_ timestamptz) returns void
language plpgsql as $$
declare o simulated.object; p simulated.object;
begin
  if k = 'attachment' then
    perform simulated.attach(c, a, now_);
    return;
  end if;
  o := jsonb_populate_record(null::simulated.object, a);
  o.ref := gen_random_uuid();
  o.seq := nextval('simulated.object_seq');
  o.cloud := c;
  o.kind := k;
  o.ready_at := case when (a ->> 'stuck')::boolean then 'infinity'
    else now_ + make_interval(secs => coalesce((a ->> 'build_ms')::float8, 0) / 1000) end;
  o.deleting := false;
  o.failed := coalesce((a ->> 'failed')::boolean, false);
  o.stopped := false;
  if k <> 'project' then p := simulated.project_of(c, o.project); end if;
  if k = 'network' then perform simulated.check_network(o); end if;
  if k = 'server' then o.prefix := simulated.check_server(o); end if;
  if k = 'snapshot' then
    select x.size_gib into o.size_gib from simulated.tagged(c, 'server', o.project, o.server) x limit 1;
    if not found then perform simulated.refuse(404, 'server.unknown', format('no server %s', o.server)); end if;
  end if;
  perform simulated.place(o, now_);
  if k <> 'project' then perform simulated.within_limits(p); end if;
end $$;

create or replace function simulated.change(c text, k text, a jsonb, now_ timestamptz) returns void
language plpgsql as $$
declare o simulated.object; n simulated.object; p simulated.object;
begin
  p := simulated.project_of(c, (a ->> 'project')::uuid);
  select * into o from simulated.tagged(c, k, (a ->> 'project')::uuid, (a ->> 'tag')::uuid) limit 1;
  if found then select * into o from simulated.object where ref = o.ref for update; end if;
  if not found then perform simulated.refuse(404, k || '.unknown', format('no %s %s', k, a ->> 'tag')); end if;
  if k = 'project' then
    update simulated.object set limits = a -> 'limits' where ref = o.ref;
    return;
  end if;
  n := jsonb_populate_record(o, a - array['name', 'network', 'mac', 'image', 'arch', 'block_class', 'prefix']);
  if (n.vcpu, n.memory_gib, n.size_gib) is not distinct from (o.vcpu, o.memory_gib, o.size_gib) then return; end if;
  if simulated.state(o, now_) not in ('active', 'stopped') then
    perform simulated.refuse(409, 'busy', format('%s is %s', k, simulated.state(o, now_)));
  end if;
  if n.size_gib < o.size_gib then
    perform simulated.refuse(400, 'size.shrinks', format('%s GiB to %s GiB', o.size_gib, n.size_gib));
  end if;
  if k = 'server' then n.ready_at := now_ + make_interval(secs => (a ->> 'build_ms')::float8 / 1000); end if;
  perform simulated.account(o, -1);
  update simulated.object
  set vcpu = n.vcpu, memory_gib = n.memory_gib, size_gib = n.size_gib, ready_at = n.ready_at where ref = o.ref;
  perform simulated.account(n, 1);
  perform simulated.meter(n, now_, true);
  perform simulated.within_limits(p);
end $$;

create or replace function simulated.power(c text, a jsonb, now_ timestamptz) returns void
language plpgsql as $$
declare o simulated.object; state text;
begin
  select * into o from simulated.tagged(c, 'server', (a ->> 'project')::uuid, (a ->> 'tag')::uuid) limit 1;
  if not found then perform simulated.refuse(404, 'server.unknown', format('no server %s', a ->> 'tag')); end if;
  state := simulated.state(o, now_);
  if state = 'error' then perform simulated.refuse(409, 'server.failed', 'the server is in error'); end if;
  if state not in ('active', 'stopped') then
    perform simulated.refuse(409, 'busy', format('server is %s', state));
  end if;
  if o.stopped = (a ->> 'on')::boolean then
    if o.stopped then
      update simulated.off set end_at = greatest(now_, start_at) where ref = o.ref and end_at is null;
    else
      insert into simulated.off values (c, o.ref, now_, null) on conflict do nothing;  -- two switch it off at once
    end if;
  end if;
  update simulated.object set stopped = not (a ->> 'on')::boolean where ref = o.ref;
end $$;

-- Refuses to delete what is still in use.
create or replace function simulated.check_unused(o simulated.object) returns void
language plpgsql as $$
begin
  if o.kind = 'project' then
    if exists (select from simulated.object where cloud = o.cloud and project = o.tag and kind <> 'project') then
      perform simulated.refuse(409, 'project.not_empty', format('project %s has content', o.tag));
    end if;
  elsif o.kind = 'network' then
    if exists (select from simulated.object where cloud = o.cloud and kind = 'server' and network = o.tag) then
      perform simulated.refuse(409, 'network.in_use', format('network %s has servers', o.tag));
    end if;
  elsif o.kind = 'volume' and o.server is not null then
    perform simulated.refuse(409, 'volume.attached', format('attached to server %s', o.server));
  end if;
end $$;

create or replace function simulated.delete(c text, k text, a jsonb, now_ timestamptz) returns void
language plpgsql as $$
declare
  o simulated.object;
  wait interval := make_interval(secs => (a ->> 'delete_ms')::float8 / 1000);
begin
  if k = 'attachment' then
    update simulated.object set server = null
    where cloud = c and kind = 'volume' and tag = (a ->> 'tag')::uuid and project = (a ->> 'project')::uuid;
    return;
  end if;
  for o in select x.* from simulated.object x
    where x.cloud = c and x.kind = k and x.tag = (a ->> 'tag')::uuid and x.project = (a ->> 'project')::uuid
      and (not a ? 'ref' or x.ref = (a ->> 'ref')::uuid)
    order by x.seq for update
  loop
    perform simulated.check_unused(o);
    if wait = '0' then
      perform simulated.remove(o, now_);
    elsif not o.deleting then
      update simulated.object set deleting = true, gone_at = least(gone_at, now_ + wait) where ref = o.ref;
    end if;
  end loop;
end $$;
