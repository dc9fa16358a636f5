"""The life of every kind of object: made, seen, listed, removed."""

from __future__ import annotations

import pytest
from uuid_utils.compat import uuid7

from providers.conformance.workshop import Workshop
from providers.contract import (
    AttachmentSpec,
    Key,
    Kind,
    NetworkSpec,
    ProjectSpec,
    ServerSpec,
    SnapshotSpec,
    Spec,
    Status,
    VolumeSpec,
    key_of,
)


def fresh(kind: Kind, workshop: Workshop, request: pytest.FixtureRequest) -> Spec:
    """A spec of that kind which nobody has ordered, and whatever it stands on."""
    project: ProjectSpec = request.getfixturevalue("project")
    match kind:
        case Kind.PROJECT:
            return workshop.project()
        case Kind.NETWORK:
            return workshop.network(project.id)
        case Kind.VOLUME:
            return workshop.volume(project.id)
        case Kind.SERVER:
            return workshop.server(request.getfixturevalue("network"))
        case Kind.SNAPSHOT:
            return workshop.snapshot(request.getfixturevalue("server"))
        case Kind.ATTACHMENT:
            volume = workshop.volume(project.id)
            workshop.make(volume)
            return workshop.attachment(volume, request.getfixturevalue("server"))


@pytest.mark.parametrize("kind", list(Kind))
def test_an_object_is_made_seen_listed_and_removed(
    kind: Kind, workshop: Workshop, request: pytest.FixtureRequest
) -> None:
    """create, observe, list and delete agree about one object, under our id."""
    spec = fresh(kind, workshop, request)
    key = key_of(spec)
    ordered = workshop.create(spec)
    assert ordered.key == key
    assert ordered.status in {Status.BUILDING, Status.ACTIVE}

    ready = workshop.until(key, Status.ACTIVE)
    assert ready.ref == ordered.ref
    assert ready.ref
    seen = workshop.observe(key)
    assert seen is not None
    assert (seen.key, seen.ref, seen.status) == (key, ready.ref, ready.status), "a look and the list agree"
    assert [one.key for one in workshop.list(kind) if one.key == key] == [key], "listed once in the whole cloud"

    workshop.remove(key)
    assert workshop.observe(key) is None
    assert workshop.find(key) is None
    assert workshop.provider.delete(key) is True, "deleting again is harmless"


@pytest.mark.parametrize("kind", list(Kind))
def test_looking_for_nothing_finds_nothing_and_deleting_nothing_succeeds(
    kind: Kind, workshop: Workshop, project: ProjectSpec
) -> None:
    """To observe nothing gives None; to delete nothing gives True, and so it is the second time."""
    identity = uuid7()
    for key in (
        Key(kind, identity, identity if kind is Kind.PROJECT else project.id),
        Key(kind, identity, identity),  # in a project that does not exist either
    ):
        assert workshop.observe(key) is None
        for _ in range(2):
            assert workshop.patiently(lambda key=key: workshop.provider.delete(key)) is True  # type: ignore[misc]


@pytest.mark.needs(Kind.NETWORK, Kind.VOLUME, Kind.SERVER)
def test_what_was_asked_for_is_what_is_there(
    workshop: Workshop, project: ProjectSpec, network: NetworkSpec, volume: VolumeSpec, server: ServerSpec
) -> None:
    """Names in Chinese, sizes and the prefix come back as they were given."""
    for spec in (project, network, volume, server):
        seen = workshop.observe(key_of(spec))
        assert seen is not None
        assert seen.name == spec.name
        match spec:
            case NetworkSpec():
                assert seen.prefix == spec.prefix
            case VolumeSpec():
                assert seen.size_gib is not None
                assert seen.size_gib >= spec.size_gib
            case ServerSpec():
                assert (seen.vcpu, seen.memory_gib) != (None, None)


@pytest.mark.needs(Kind.NETWORK, Kind.VOLUME, Kind.SERVER)
def test_a_list_holds_all_of_a_project_and_only_that(  # noqa: PLR0917  # pytest passes fixtures by name
    workshop: Workshop,
    project: ProjectSpec,
    other_project: ProjectSpec,
    network: NetworkSpec,
    volume: VolumeSpec,
    server: ServerSpec,
) -> None:
    """The list of a project is complete and holds nothing of others; the list of the cloud holds both."""
    foreign = workshop.network(other_project.id)
    workshop.make(foreign)
    for spec in (network, volume, server):
        keys = [seen.key for seen in workshop.list(spec.kind, project.id)]
        assert len(keys) == len(set(keys))
        assert key_of(spec) in keys
        assert {key.project_id for key in keys} == {project.id}
        assert key_of(spec) not in [seen.key for seen in workshop.list(spec.kind, other_project.id)]
    assert [seen.key for seen in workshop.list(Kind.NETWORK, other_project.id)] == [key_of(foreign)]
    assert {key_of(network), key_of(foreign)} <= {seen.key for seen in workshop.list(Kind.NETWORK)}
    assert [seen.key for seen in workshop.list(Kind.PROJECT, project.id)] == [key_of(project)]
    workshop.remove(key_of(foreign))


@pytest.mark.needs(Kind.ATTACHMENT)
def test_a_volume_is_attached_and_detached(workshop: Workshop, volume: VolumeSpec, server: ServerSpec) -> None:
    """An attachment is seen with its server, once; when it is deleted the volume stays."""
    attachment = AttachmentSpec(volume.id, volume.project_id, server.id)
    made = workshop.make(attachment)
    assert made.server_id == server.id
    assert workshop.create(attachment).key == made.key
    assert [seen.server_id for seen in workshop.list(Kind.ATTACHMENT, volume.project_id)].count(server.id) == 1
    workshop.remove(key_of(attachment))
    assert workshop.observe(key_of(attachment)) is None
    assert workshop.until(key_of(volume), Status.ACTIVE)


@pytest.mark.needs(Kind.SNAPSHOT)
def test_a_server_stays_as_it_is_when_a_snapshot_is_taken(workshop: Workshop, server: ServerSpec) -> None:
    """A snapshot is an object of its own: the server stays active while it is made, and when it goes."""
    snapshot = SnapshotSpec(uuid7(), server.project_id, server.id, "变更前快照")
    assert workshop.make(snapshot).name == snapshot.name
    assert workshop.until(key_of(server), Status.ACTIVE)
    workshop.remove(key_of(snapshot))
    assert workshop.until(key_of(server), Status.ACTIVE)
