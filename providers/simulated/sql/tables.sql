-- What a simulated cloud remembers. Run again at every new version of this folder: each statement bears repetition.
-- One database holds many clouds; every row names its own.

create schema if not exists simulated;

create table if not exists simulated.version (
  single boolean primary key default true check (single),
  digest text not null
);

create table if not exists simulated.cloud (
  code text primary key,
  images text[] not null,
  log_looks boolean not null,
  -- Tests move a cloud's clock forward instead of sleeping.
  clock_ahead interval not null default '0'
);

-- What is scarce: vcpu and memory_gib by CPU architecture, block_gib by class.
create table if not exists simulated.pool (
  cloud text not null references simulated.cloud,
  resource text not null check (resource in ('vcpu', 'memory_gib', 'block_gib')),
  name text not null,
  total bigint not null check (total >= 0),
  used bigint not null default 0 check (used >= 0),
  primary key (cloud, resource, name)
);

create sequence if not exists simulated.object_seq;

-- Everything there is. `ref` is the cloud's own id; `tag` is the id its owner wrote on it, and nothing makes a tag unique.
create table if not exists simulated.object (
  ref uuid primary key,
  seq bigint not null,
  cloud text not null references simulated.cloud,
  kind text not null check (kind in ('project', 'network', 'volume', 'server', 'snapshot')),
  tag uuid,
  project uuid,
  name text not null check (length(name) between 1 and 255),
  ready_at timestamptz not null,
  gone_at timestamptz,
  deleting boolean not null,
  failed boolean not null,
  stopped boolean not null,
  vcpu integer check (vcpu > 0),
  memory_gib integer check (memory_gib > 0),
  size_gib integer check (size_gib > 0),
  arch text,
  image text,
  block_class text,
  prefix cidr check (family(prefix) = 6 and masklen(prefix) <= 64),
  mac macaddr,
  zone text,
  -- A server's network; the server a volume is attached to or a snapshot was taken of. Tags, as in an order.
  network uuid,
  server uuid,
  limits jsonb,
  check (kind <> 'project' or project is not distinct from tag),
  check (kind <> 'network' or prefix is not null),
  check (kind not in ('volume', 'server') or size_gib is not null),
  check (kind <> 'server' or (vcpu is not null and memory_gib is not null and mac is not null and network is not null))
);

-- A network's way out: {"encapsulation", "tag", "gateway", "addressing"}.
alter table simulated.object add column if not exists uplink jsonb;

-- What only one can take. A prefix is guarded by a lock in create_network: plain PostgreSQL has no gist for text.
create unique index if not exists project_name on simulated.object (cloud, name) where kind = 'project';
create unique index if not exists server_port on simulated.object (cloud, network, mac) where kind = 'server';

create index if not exists object_tag on simulated.object (cloud, tag);
create index if not exists object_project on simulated.object (cloud, project, kind);
create index if not exists object_kind on simulated.object (cloud, kind);
create index if not exists object_prefix on simulated.object using gist (prefix inet_ops) where kind = 'network';
create index if not exists object_server on simulated.object (cloud, server) where server is not null;
create index if not exists object_gone on simulated.object (cloud, gone_at) where gone_at is not null;

-- How long each server held which size: what the cloud's own usage report is made of.
create table if not exists simulated.metered (
  cloud text not null,
  ref uuid not null,
  project uuid,
  tag uuid,
  vcpu integer not null,
  memory_gib integer not null,
  start_at timestamptz not null,
  end_at timestamptz
);
create index if not exists metered_project on simulated.metered (cloud, project);
create unique index if not exists metered_open on simulated.metered (ref) where end_at is null;

-- When a server was off: a row from being switched off to being switched on again.
create table if not exists simulated.off (
  cloud text not null,
  ref uuid not null,
  start_at timestamptz not null,
  end_at timestamptz
);
create unique index if not exists off_open on simulated.off (ref) where end_at is null;
create index if not exists off_ref on simulated.off (cloud, ref);

-- Ports that somebody made by hand and bound to nothing.
create table if not exists simulated.port (
  ref uuid primary key default gen_random_uuid(),
  cloud text not null references simulated.cloud,
  network uuid not null,
  address inet not null
);

-- Faults that are switched on, and orders that were accepted and have not acted yet.
create table if not exists simulated.fault (
  id bigint generated always as identity primary key,
  cloud text not null,
  verb text not null,
  kind text,
  tag uuid,
  mode text not null,
  after_calls integer not null check (after_calls >= 0),
  times integer not null check (times >= 0),
  delay_s double precision not null check (delay_s >= 0),
  looks integer not null check (looks >= 1)
);
create index if not exists fault_cloud on simulated.fault (cloud);

create table if not exists simulated.late_order (
  id bigint generated always as identity primary key,
  cloud text not null,
  verb text not null,
  kind text not null,
  tag uuid,
  project uuid,
  args jsonb not null,
  looks_left integer,
  due_at timestamptz
);
create index if not exists late_order_cloud on simulated.late_order (cloud);

-- Calls as the cloud saw them, the last 50,000 or so.
create table if not exists simulated.call_log (
  id bigint generated always as identity primary key,
  at timestamptz not null,
  cloud text not null,
  verb text not null,
  kind text,
  tag uuid,
  project uuid,
  status integer not null,
  code text not null,
  fault text
);
create index if not exists call_log_cloud on simulated.call_log (cloud, id);
