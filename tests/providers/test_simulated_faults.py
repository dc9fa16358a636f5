"""Every fault that a simulated cloud can have, and what its adapter makes of it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from providers.contract import Key, Kind, Spec, Status, key_of
from providers.errors import Permanent, ProviderError, Temporary, UnknownOutcome
from providers.simulated import SimulatedProvider, faults
from providers.simulated.faults import Fault, Mode
from tests.providers.world import World


@dataclass(frozen=True)
class Expected:
    """What a create under a fault leads to, and the same create once more when the fault is spent."""

    error: type[ProviderError] | None
    things: int
    """How many objects there are after the create that met the fault."""
    things_after_retry: int = 1
    """... after a second create, for a kind that nothing makes unique."""
    status_after_retry: Status = Status.ACTIVE
    delay_s: float = 0.0


TABLE = {
    Mode.REFUSE: Expected(Permanent, 0),
    Mode.SLOW: Expected(None, 1, delay_s=2.5),
    Mode.HTTP_5XX: Expected(Temporary, 0),
    Mode.TIMEOUT_AFTER_DONE: Expected(UnknownOutcome, 1),
    Mode.LATE: Expected(UnknownOutcome, 0, things_after_retry=2),
    Mode.VANISH: Expected(None, 0),
    Mode.QUOTA_EXCEEDED: Expected(Permanent, 0),
    Mode.RATE_LIMIT: Expected(Temporary, 0, delay_s=7.0),
    Mode.ERROR_STATE: Expected(None, 1, status_after_retry=Status.ERROR),
    Mode.STUCK_BUILDING: Expected(None, 1, status_after_retry=Status.BUILDING),
}
PLACED: dict[Kind, Callable[[World, SimulatedProvider], Spec]] = {
    Kind.PROJECT: lambda world, _: world.project(),
    Kind.NETWORK: World.placed_network,
    Kind.VOLUME: World.placed_volume,
    Kind.SERVER: World.placed_server,
    Kind.SNAPSHOT: World.placed_snapshot,
}
UNIQUE = {Kind.PROJECT, Kind.NETWORK, Kind.SERVER}


def test_the_table_holds_every_mode() -> None:
    """No fault without a row that says what it does."""
    assert set(TABLE) == set(Mode)


@pytest.mark.parametrize("kind", list(PLACED))
@pytest.mark.parametrize("mode", list(Mode))
def test_a_create_under_a_fault_is_repeated_until_one_object_counts(
    mode: Mode, kind: Kind, world: World, provider: SimulatedProvider
) -> None:
    """Whatever happens to a create, the same create again leads to one object under our id, and delete to none."""
    expected = TABLE[mode]
    spec = PLACED[kind](world, provider)
    faults.inject(world.url, Fault(world.cloud, "create", kind, mode, delay_s=expected.delay_s))

    error = None
    try:
        provider.create(spec)
    except ProviderError as raised:
        error = raised
    assert type(error) is (expected.error or type(None))
    if mode is Mode.RATE_LIMIT:
        assert isinstance(error, Temporary)
        assert error.retry_after_s == expected.delay_s
    assert world.slept == ([expected.delay_s] if mode is Mode.SLOW else [])
    assert faults.unspent(world.url, world.cloud) == 0
    ours = [thing for thing in faults.things(world.url, world.cloud, kind=kind) if thing.object_id == spec.id]
    assert len(ours) == expected.things

    made = provider.create(spec)
    ours = [thing for thing in faults.things(world.url, world.cloud, kind=kind) if thing.object_id == spec.id]
    assert len(ours) == (1 if kind in UNIQUE else expected.things_after_retry)
    assert made.status is expected.status_after_retry
    assert (made.ref, *made.extra_refs) == tuple(thing.ref for thing in ours), "the oldest counts"
    assert [seen for seen in provider.list(kind, key_of(spec).project_id) if seen.key == key_of(spec)] == [made]

    assert provider.delete(key_of(spec)) is True
    assert spec.id not in {thing.object_id for thing in faults.things(world.url, world.cloud, kind=kind)}


def test_a_late_create_waits_for_as_many_looks_as_it_is_told(world: World, provider: SimulatedProvider) -> None:
    """An order whose answer was lost acts only after the caller has looked, here three times in three ways."""
    volume = world.placed_volume(provider)
    faults.inject(world.url, Fault(world.cloud, "create", Kind.VOLUME, Mode.LATE, looks=3))
    with pytest.raises(UnknownOutcome):
        provider.create(volume)
    assert provider.observe(key_of(volume)) is None
    assert provider.list(Kind.VOLUME) == []
    assert provider.list(Kind.NETWORK) == [], "a look at something else is no look"
    assert provider.list(Kind.VOLUME, key_of(volume).project_id) == []
    assert provider.observe(key_of(volume)) is not None
    assert provider.create(volume).extra_refs == (), "adopted, not made a second time"


def test_a_late_create_acts_by_the_clock_though_nobody_looks(world: World, provider: SimulatedProvider) -> None:
    """With a delay an order acts after that time, however often one looks before."""
    volume = world.placed_volume(provider)
    faults.inject(world.url, Fault(world.cloud, "create", Kind.VOLUME, Mode.LATE, delay_s=60))
    with pytest.raises(UnknownOutcome):
        provider.create(volume)
    assert [provider.observe(key_of(volume)) for _ in range(3)] == [None] * 3
    faults.advance(world.url, world.cloud, timedelta(seconds=61))
    assert provider.observe(key_of(volume)) is not None


def test_a_late_create_may_act_after_its_undo(world: World, provider: SimulatedProvider) -> None:
    """Delete finds nothing and says so; what comes later shows in the list, and the next delete removes it."""
    volume = world.placed_volume(provider)
    faults.inject(world.url, Fault(world.cloud, "create", Kind.VOLUME, Mode.LATE))
    with pytest.raises(UnknownOutcome):
        provider.create(volume)
    assert provider.delete(key_of(volume)) is True
    assert faults.late_orders(world.url, world.cloud) == 1
    faults.let_late_orders_act(world.url, world.cloud)
    assert faults.late_orders(world.url, world.cloud) == 0
    assert [seen.key for seen in provider.list(Kind.VOLUME)] == [key_of(volume)]
    assert provider.delete(key_of(volume)) is True
    assert provider.list(Kind.VOLUME) == []


def test_a_late_duplicate_is_pruned_and_what_counts_stays(world: World, provider: SimulatedProvider) -> None:
    """A create that acted twice leaves two volumes with one id; prune removes the one that does not count."""
    volume = world.placed_volume(provider)
    faults.inject(world.url, Fault(world.cloud, "create", Kind.VOLUME, Mode.LATE))
    with pytest.raises(UnknownOutcome):
        provider.create(volume)
    twice = provider.create(volume)
    assert len(twice.extra_refs) == 1
    assert provider.prune(key_of(volume)) is True
    assert [thing.ref for thing in faults.things(world.url, world.cloud, kind=Kind.VOLUME)] == [twice.ref]


def test_a_late_order_for_a_project_that_has_gone_makes_nothing(world: World, provider: SimulatedProvider) -> None:
    """The cloud refuses on its own what it had accepted; the log says so."""
    volume = world.placed_volume(provider)
    faults.inject(world.url, Fault(world.cloud, "create", Kind.VOLUME, Mode.LATE))
    with pytest.raises(UnknownOutcome):
        provider.create(volume)
    assert provider.delete(Key(Kind.PROJECT, key_of(volume).project_id, key_of(volume).project_id)) is True
    faults.let_late_orders_act(world.url, world.cloud)
    assert faults.things(world.url, world.cloud) == []
    last = faults.calls(world.url, world.cloud)[-1]
    assert (last.fault, last.status, last.code) == ("acted late", 404, "project.unknown")


def test_any_order_may_be_late(world: World, provider: SimulatedProvider) -> None:
    """Switching, resizing and deleting too take effect only after somebody has looked."""
    server = world.placed_server(provider)
    key = key_of(server)
    provider.create(server)
    for verb in ("power", "change", "delete"):
        faults.inject(world.url, Fault(world.cloud, verb, Kind.SERVER, Mode.LATE))
    with pytest.raises(UnknownOutcome):
        provider.power(key, on=False)
    assert [provider.list(Kind.SERVER)[0].status for _ in range(2)] == [Status.ACTIVE, Status.STOPPED]
    with pytest.raises(UnknownOutcome):
        provider.change(replace(server, vcpu=8))
    assert [provider.list(Kind.SERVER)[0].vcpu for _ in range(2)] == [2, 8]
    with pytest.raises(UnknownOutcome):
        provider.delete(key)
    assert [len(provider.list(Kind.SERVER)) for _ in range(2)] == [1, 0]


def test_an_answer_slower_than_the_time_out_never_comes(world: World) -> None:
    """Too slow is UnknownOutcome although it was done, and the caller waits no longer than the time-out."""
    impatient = world.provider(call_timeout_s="3")
    project = world.project()
    faults.inject(world.url, Fault(world.cloud, "create", None, Mode.SLOW, delay_s=60))
    with pytest.raises(UnknownOutcome):
        impatient.create(project)
    assert world.slept == [3]
    assert impatient.observe(key_of(project)) is not None


def test_a_look_without_an_answer_may_be_repeated(world: World, provider: SimulatedProvider) -> None:
    """A look changes nothing, so a lost answer is Temporary; an ailing cloud says so without raising."""
    faults.inject(world.url, Fault(world.cloud, "*", None, Mode.TIMEOUT_AFTER_DONE, times=5))
    for look in (lambda: provider.list(Kind.SERVER), provider.capacity, provider.images):
        with pytest.raises(Temporary):
            look()
    assert not provider.health().healthy
    faults.clear(world.url, world.cloud)
    assert provider.health().healthy


def test_a_fault_strikes_the_calls_it_is_meant_for(world: World, provider: SimulatedProvider) -> None:
    """After two good calls one bad one, then good ones again; other kinds, ids and clouds are left alone."""
    project = world.project()
    provider.create(project)
    volumes = [world.volume(project.id) for _ in range(6)]
    faults.inject(world.url, Fault(world.cloud, "create", Kind.VOLUME, Mode.HTTP_5XX, after=2))
    faults.inject(world.url, Fault(world.cloud, "create", None, Mode.REFUSE, object_id=volumes[4].id))
    faults.inject(world.url, Fault(f"{world.cloud}-other", "*", None, Mode.REFUSE, times=99))
    answers = []
    for volume in volumes:
        try:
            provider.create(volume)
            answers.append("made")
        except ProviderError as error:
            answers.append(error.code)
    assert answers == ["made", "made", "unavailable", "made", "refused", "made"]
    provider.create(world.network(project.id))
    faults.clear(world.url, f"{world.cloud}-other")


def test_a_fault_strikes_as_often_as_it_is_told_however_many_call_at_once(world: World) -> None:
    """Workers in several processes share the count of a fault."""
    provider = world.provider()
    provider.images()
    faults.inject(world.url, Fault(world.cloud, "images", None, Mode.HTTP_5XX, times=7))
    program = (
        "import sys\n"
        "from providers.errors import Temporary\n"
        "from providers.simulated import build\n"
        "provider, struck = build(sys.argv[1], {'database_url': sys.argv[2]}), 0\n"
        "for _ in range(20):\n"
        "    try: provider.images()\n"
        "    except Temporary: struck += 1\n"
        "print(struck)\n"
    )
    workers = [
        subprocess.Popen([sys.executable, "-c", program, world.cloud, world.url], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert sum(int(worker.communicate(timeout=300)[0]) for worker in workers) == 7
    assert faults.unspent(world.url, world.cloud) == 0


def test_something_may_vanish_later_or_by_hand(world: World, provider: SimulatedProvider) -> None:
    """What vanishes frees what it held, and a volume that was attached to it is free again."""
    server = world.placed_server(provider)
    faults.inject(world.url, Fault(world.cloud, "create", Kind.SERVER, Mode.VANISH, delay_s=3600))
    provider.create(server)
    assert provider.observe(key_of(server)) is not None
    faults.advance(world.url, world.cloud, timedelta(hours=2))
    assert provider.observe(key_of(server)) is None
    assert all(amount.vcpu_used == 0 for amount in provider.capacity().compute.values())

    provider.create(server)
    faults.vanish(world.url, world.cloud, Kind.SERVER, server.id)
    assert provider.list(Kind.SERVER) == []


def test_the_log_tells_what_was_made_and_what_was_found(world: World, provider: SimulatedProvider) -> None:
    """Tests count on the log: an order that made something differs from one that found it, looks are left out."""
    project = world.project()
    faults.inject(world.url, Fault(world.cloud, "create", Kind.PROJECT, Mode.TIMEOUT_AFTER_DONE))
    with pytest.raises(UnknownOutcome):
        provider.create(project)
    provider.create(project)
    provider.observe(key_of(project))
    log = faults.calls(world.url, world.cloud, object_id=project.id)
    assert [(call.verb, call.status, call.code, call.fault) for call in log] == [
        ("create", 200, "", "timeout_after_done"),
        ("create", 200, "found", None),
    ]
    talkative = world.provider(log_looks="true")
    talkative.observe(key_of(project))
    assert [call.verb for call in faults.calls(world.url, world.cloud, verb="observe")] == ["observe"]
