"""The simulated cloud: what it remembers, what it measures, and how little it asks of its database."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv6Address
from random import Random

import psycopg
import pytest
from sqlalchemy import Engine, event
from uuid_utils.compat import uuid7

from broker.embedded.postgres import libpq_url
from providers.contract import AttachmentSpec, CpuArch, Key, Kind, ProjectLimits, Spec, Status, key_of
from providers.errors import Permanent, ProviderError, Temporary, UnknownOutcome
from providers.simulated import SimulatedProvider, build, faults
from providers.simulated.faults import Fault, Mode
from tests.conftest import Database
from tests.providers.world import World


def foreign(world: World, kind: str, name: str) -> None:
    """Something in the cloud that is not ours: it carries no tag."""
    with psycopg.connect(libpq_url(world.url)) as connection:
        connection.execute(
            "insert into simulated.object (ref, seq, cloud, kind, name, ready_at, deleting, failed, stopped, size_gib) "
            "values (gen_random_uuid(), nextval('simulated.object_seq'), %s, %s, %s, now(), false, false, false, 1)",
            (world.cloud, kind, name),
        )


def test_several_processes_make_the_schema_at_once(blank_database: Database) -> None:
    """On an empty database every worker comes up, whoever was first."""
    program = (
        "import sys\n"
        "from uuid import uuid4\n"
        "from providers.contract import ProjectSpec\n"
        "from providers.simulated import build\n"
        "provider = build('first', {'database_url': sys.argv[1]})\n"
        "provider.create(ProjectSpec(uuid4(), sys.argv[2]))\n"
        "provider.close()\n"
    )
    workers = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", program, blank_database.owner_url, f"项目{number}"])
        for number in range(4)
    ]
    assert [worker.wait(timeout=300) for worker in workers] == [0] * 4
    assert len(faults.things(blank_database.owner_url, "first")) == 4


def test_a_cloud_outlives_its_adapter(world: World) -> None:
    """Everything is in the database: another worker, or the same after a restart, finds what was made."""
    first = world.provider()
    server = world.placed_server(first)
    first.create(server)
    first.power(key_of(server), on=False)
    seen = first.observe(key_of(server))
    assert seen is not None
    assert seen.status is Status.STOPPED
    assert world.provider().observe(key_of(server)) == seen


def test_clouds_in_one_database_do_not_see_each_other(world: World, provider: SimulatedProvider) -> None:
    """The same ids, names and prefixes are free in another cloud."""
    server = world.placed_server(provider)
    provider.create(server)
    other = world.provider(f"{world.cloud}-other")
    assert [list(other.list(kind)) for kind in Kind] == [[]] * len(Kind)
    project = world.project(provider.list(Kind.PROJECT)[0].name)
    other.create(project)
    assert other.create(world.network(project.id, "3fff:1::/64")).status is Status.ACTIVE
    assert other.capacity().compute[CpuArch.AARCH64].vcpu_used == 0


def test_a_server_builds_by_the_databases_clock(world: World) -> None:
    """BUILDING until its time has come; meanwhile it can be neither switched nor resized, only waited for."""
    slow = world.provider(build_ms="90000")
    server = world.placed_server(slow)
    key = key_of(server)
    assert slow.create(server).status is Status.BUILDING
    with pytest.raises(Temporary):
        slow.power(key, on=False)
    faults.advance(world.url, world.cloud, timedelta(seconds=30))  # the machine's own seconds come on top
    assert slow.list(Kind.SERVER)[0].status is Status.BUILDING
    faults.advance(world.url, world.cloud, timedelta(seconds=61))
    assert slow.list(Kind.SERVER)[0].status is Status.ACTIVE
    assert slow.change(replace(server, memory_gib=64)).status is Status.BUILDING
    faults.advance(world.url, world.cloud, timedelta(seconds=91))
    resized = slow.observe(key)
    assert resized is not None
    assert (resized.status, resized.memory_gib) == (Status.ACTIVE, 64)
    assert world.slept == []


def test_deleting_takes_its_time_where_it_is_told_to(world: World) -> None:
    """False while the cloud is at it, and still holding what it holds; True when nothing is left."""
    slow = world.provider(delete_ms="90000")
    server = world.placed_server(slow)
    slow.create(server)
    key = key_of(server)
    assert [slow.delete(key) for _ in range(2)] == [False, False]
    assert slow.list(Kind.SERVER)[0].status is Status.DELETING
    assert slow.capacity().compute[CpuArch.AARCH64].vcpu_used == 2
    faults.advance(world.url, world.cloud, timedelta(seconds=91))
    assert slow.delete(key) is True
    assert slow.capacity().compute[CpuArch.AARCH64].vcpu_used == 0


def test_what_does_not_fit_is_refused_and_what_fits_is_counted(world: World) -> None:
    """Twelve workers want servers where five fit: exactly five get one, and nothing is booked for the others."""
    provider = world.provider(vcpu_aarch64="11", memory_gib_aarch64="100")
    project = world.project()
    provider.create(project)
    network = world.network(project.id)
    provider.create(network)

    def attempt(_: int) -> str:
        try:
            provider.create(world.server(network))
        except Permanent as error:
            return error.code
        return "made"

    with ThreadPoolExecutor(12) as threads:
        assert sorted(threads.map(attempt, range(12))) == ["capacity.exhausted"] * 7 + ["made"] * 5
    used = provider.capacity().compute[CpuArch.AARCH64]
    assert (used.vcpu_used, used.vcpu_total, used.memory_used_gib) == (10, 11, 20)
    assert len(provider.list(Kind.SERVER, project.id)) == 5


def test_the_counts_are_exact_after_many_did_everything_at_once(world: World) -> None:
    """Eight workers make, resize, attach, switch and delete the same things: no deadlock, nothing counted twice."""
    provider = world.provider()
    project = world.project()
    provider.create(project)
    network = world.network(project.id)
    provider.create(network)
    servers = [world.server(network) for _ in range(4)]
    volumes = [world.volume(project.id) for _ in range(4)]
    disks = [AttachmentSpec(volume.id, project.id, server.id) for volume, server in zip(volumes, servers, strict=True)]

    def act(chance: Random) -> object:
        server = chance.choice(servers)
        anything: list[Spec] = [server, chance.choice(volumes), chance.choice(disks)]
        match chance.choice(["make", "delete", "resize", "stop"]):
            case "make":
                return provider.create(chance.choice(anything))
            case "delete":
                return provider.delete(key_of(chance.choice(anything)))
            case "resize":
                return provider.change(replace(server, vcpu=chance.randint(1, 9)))
            case _:
                return provider.power(key_of(server), on=False)

    def work(seed: int) -> set[str]:
        chance, refusals = Random(seed), set()
        for _ in range(60):
            try:
                act(chance)
            except ProviderError as error:
                refusals.add(error.code)
        return refusals

    with ThreadPoolExecutor(8) as threads:
        refusals = set().union(*threads.map(work, range(8)))
    assert refusals <= {"server.unknown", "volume.unknown", "volume.attached", "object.vanished", "busy"}
    used = provider.capacity()
    held = provider.list(Kind.SERVER)
    assert used.compute[CpuArch.AARCH64].vcpu_used == sum(server.vcpu or 0 for server in held)
    assert used.compute[CpuArch.AARCH64].memory_used_gib == sum(server.memory_gib or 0 for server in held)
    assert used.block_used_gib["ssd"] == sum(volume.size_gib or 0 for volume in provider.list(Kind.VOLUME))
    assert {disk.server_id for disk in provider.list(Kind.ATTACHMENT)} <= {server.key.id for server in held}


def test_block_storage_is_counted_by_class(world: World, provider: SimulatedProvider) -> None:
    """A volume holds its size of its class, more after it grew, nothing after it went; it never shrinks."""
    volume = world.placed_volume(provider)
    provider.create(volume)
    assert provider.capacity().block_used_gib == {"ssd": 10, "hdd": 0}
    provider.change(replace(volume, size_gib=25))
    with pytest.raises(Permanent) as refused:
        provider.change(replace(volume, size_gib=20))
    assert refused.value.code == "size.shrinks"
    assert provider.capacity().block_used_gib == {"ssd": 25, "hdd": 0}
    provider.delete(key_of(volume))
    assert provider.capacity().block_used_gib == {"ssd": 0, "hdd": 0}


@pytest.mark.parametrize(
    ("limits", "vcpu"),
    [(ProjectLimits(servers=1), 2), (ProjectLimits(vcpu=5), 4), (ProjectLimits(memory_gib=7), 2)],
    ids=["servers", "vcpu", "memory_gib"],
)
def test_a_project_is_held_to_its_limits_by_many_at_once(limits: ProjectLimits, vcpu: int, world: World) -> None:
    """Eight threads order at once where one server is allowed: one gets it."""
    provider = world.provider()
    project = world.project(limits=limits)
    provider.create(project)
    network = world.network(project.id)
    provider.create(network)

    def attempt(_: int) -> str:
        try:
            provider.create(world.server(network, vcpu=vcpu))
        except Permanent as error:
            return error.code
        return "made"

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(attempt, range(8))) == ["made"] + ["quota.exceeded"] * 7


def test_what_is_not_ours_stands_in_the_way_and_is_never_listed(world: World, provider: SimulatedProvider) -> None:
    """A project of the same name that somebody made by hand is no project of ours: refused, not adopted."""
    provider.health()
    foreign(world, "project", "手工建的项目")
    foreign(world, "volume", "手工建的盘")
    with pytest.raises(Permanent):
        provider.create(world.project("手工建的项目"))
    assert [list(provider.list(kind)) for kind in (Kind.PROJECT, Kind.VOLUME)] == [[], []]
    assert len(faults.things(world.url, world.cloud)) == 2


def test_of_two_volumes_with_our_id_the_attached_one_counts(world: World, provider: SimulatedProvider) -> None:
    """Duplicates are named, the choice between them is the same for everybody, and delete removes all of them."""
    server = world.placed_server(provider)
    provider.create(server)
    project_id = key_of(server).project_id
    volume = world.volume(project_id)
    faults.inject(world.url, Fault(world.cloud, "create", Kind.VOLUME, Mode.LATE))
    with pytest.raises(UnknownOutcome):
        provider.create(volume)
    made = provider.create(volume)
    late, retried = (thing.ref for thing in faults.things(world.url, world.cloud, kind=Kind.VOLUME))
    assert (made.ref, made.extra_refs) == (late, (retried,))
    with psycopg.connect(libpq_url(world.url)) as connection:
        connection.execute("update simulated.object set server = %s where ref = %s", (server.id, retried))
    for seen in (provider.observe(key_of(volume)), *provider.list(Kind.VOLUME), provider.create(volume)):
        assert seen is not None
        assert (seen.ref, seen.extra_refs, seen.server_id) == (retried, (late,), server.id)
    with pytest.raises(Permanent):
        provider.delete(key_of(volume))
    assert len(faults.things(world.url, world.cloud, kind=Kind.VOLUME)) == 2, "a refused delete removes none"
    assert provider.delete(key_of(AttachmentSpec(volume.id, project_id, server.id))) is True
    assert provider.delete(key_of(volume)) is True
    assert faults.things(world.url, world.cloud, kind=Kind.VOLUME) == []
    assert provider.capacity().block_used_gib["ssd"] == 0


def test_a_deleted_server_lets_its_volumes_go(world: World, provider: SimulatedProvider) -> None:
    """The volume stays, unattached, as in a real cloud; a network with servers stays too."""
    server = world.placed_server(provider)
    provider.create(server)
    volume = world.volume(key_of(server).project_id)
    provider.create(volume)
    provider.create(AttachmentSpec(volume.id, volume.project_id, server.id))
    with pytest.raises(Permanent):
        provider.delete(provider.list(Kind.NETWORK)[0].key)
    provider.delete(key_of(server))
    assert provider.list(Kind.ATTACHMENT) == []
    assert provider.list(Kind.VOLUME)[0].server_id is None
    assert provider.delete(provider.list(Kind.NETWORK)[0].key) is True


def test_the_cloud_meters_what_a_server_held_and_for_how_long(world: World, provider: SimulatedProvider) -> None:
    """Two hours with 2 vCPU and one with 8 are 12 vCPU hours; a part of the time is a part of the hours."""
    server = world.placed_server(provider)
    start = datetime.now(UTC)
    provider.create(server)
    faults.advance(world.url, world.cloud, timedelta(hours=2))
    provider.change(replace(server, vcpu=8))
    faults.advance(world.url, world.cloud, timedelta(hours=1))
    provider.delete(key_of(server))
    faults.advance(world.url, world.cloud, timedelta(hours=5))
    project_id = key_of(server).project_id
    (reading,) = provider.usage(project_id, start, start + timedelta(hours=9))
    assert reading.server_id == server.id
    assert reading.vcpu_hours == pytest.approx(12, abs=0.05)
    assert reading.memory_gib_hours == pytest.approx(12, abs=0.05)
    (reading,) = provider.usage(project_id, start + timedelta(hours=1), start + timedelta(hours=2))
    assert reading.vcpu_hours == pytest.approx(2, abs=0.05)


def test_addresses_are_those_a_guest_gives_itself(world: World, provider: SimulatedProvider) -> None:
    """SLAAC on the first /64: prefix, then the MAC address with its universal bit turned (RFC 4291)."""
    project = world.project()
    provider.create(project)
    network = world.network(project.id, "3fff:9:8:0::/60")
    provider.create(network)
    servers = [provider.create(world.server(network)) for _ in range(5)]
    addresses = [address for server in servers for address in server.addresses]
    assert len(set(addresses)) == 5
    for address in addresses:
        assert address in network.prefix
        assert int(address) >> 24 & 0xFFFF == 0xFFFE
        assert int(address) >> 64 == int(IPv6Address("3fff:9:8::")) >> 64


def test_every_verb_is_one_statement(world: World, provider: SimulatedProvider) -> None:
    """Once the cloud is known, each verb costs one round trip to the database, outside a transaction of its own."""
    server = world.placed_server(provider)
    project_id = key_of(server).project_id
    volume = world.volume(project_id)
    attachment = AttachmentSpec(volume.id, project_id, server.id)
    now = datetime.now(UTC)
    verbs: list[Callable[[], object]] = [
        provider.health,
        provider.capacity,
        provider.images,
        lambda: provider.create(server),
        lambda: provider.create(volume),
        lambda: provider.create(attachment),
        lambda: provider.observe(key_of(server)),
        lambda: provider.list(Kind.SERVER),
        lambda: provider.change(replace(server, vcpu=4)),
        lambda: provider.power(key_of(server), on=False),
        lambda: provider.usage(project_id, now, now),
        lambda: provider.delete(key_of(server)),
    ]
    statements: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        for verb in verbs:
            verb()
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert len(statements) == len(verbs)
    assert all("simulated.call" in statement for statement in statements)


def test_latency_passes_on_every_call(world: World) -> None:
    """Every call takes at least the cloud's latency."""
    far = world.provider(latency_ms="40")
    far.images()
    far.capacity()
    assert world.slept == [0.04, 0.04]


def test_a_database_that_is_down_is_a_cloud_that_is_down(world: World) -> None:
    """Nothing was done, so it is Temporary; the adapter itself can be built, and works when the database is back."""
    with closing(build("x", {"database_url": "postgresql+psycopg://guiyun@127.0.0.1:1/none"})) as provider:
        assert not provider.health().healthy
        with pytest.raises(Temporary):
            provider.create(world.project())


def test_a_connection_cut_while_an_order_is_under_way_leaves_its_outcome_unknown(
    world: World, provider: SimulatedProvider
) -> None:
    """When the database ends the connection nobody knows what became of the order; the next call is served again."""
    project = world.project()
    provider.create(project)
    cut = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'guiyun-simulated'"
    with psycopg.connect(libpq_url(world.url), autocommit=True) as connection:
        connection.execute(cut)
    with pytest.raises(ProviderError) as error:
        provider.create(project)
    assert type(error.value) is UnknownOutcome
    assert provider.observe(Key(Kind.PROJECT, project.id, project.id)) is not None
    assert provider.observe(Key(Kind.PROJECT, uuid7(), uuid7())) is None
