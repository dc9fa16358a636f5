"""What a cloud refuses, and how: the error says what the caller has to do next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from providers.conformance.settings import Settings, Size
from providers.conformance.watched import FOUR, watched
from providers.conformance.workshop import Workshop
from providers.contract import (
    AttachmentSpec,
    Key,
    Kind,
    NetworkSpec,
    ProjectLimits,
    ProjectSpec,
    ServerSpec,
    SnapshotSpec,
    Spec,
    Status,
    VolumeSpec,
    key_of,
)
from providers.errors import ActionRequired, Permanent


@pytest.mark.needs(Kind.NETWORK)
def test_a_project_with_content_cannot_be_deleted(
    workshop: Workshop, project: ProjectSpec, network: NetworkSpec
) -> None:
    """Nobody loses a network because somebody deleted a project: Permanent, and all is still there."""
    assert isinstance(workshop.refused(lambda: workshop.provider.delete(key_of(project))), Permanent)
    assert workshop.observe(key_of(project)) is not None
    assert workshop.observe(key_of(network)) is not None


@pytest.mark.needs(Kind.VOLUME)
def test_a_projects_limits_hold_until_they_are_raised(workshop: Workshop) -> None:
    """One volume more than the project may have is Permanent; after a change of the limit it is made."""
    tight = workshop.project(ProjectLimits(volumes=1))
    workshop.make(tight)
    first, second = workshop.volume(tight.id), workshop.volume(tight.id)
    workshop.make(first)
    assert isinstance(workshop.refused(lambda: workshop.create(second)), Permanent)
    assert workshop.observe(key_of(second)) is None
    workshop.patiently(lambda: workshop.provider.change(replace(tight, limits=ProjectLimits(volumes=2))))
    workshop.make(second)


@pytest.mark.needs(Kind.SERVER)
def test_an_unknown_image_is_refused(workshop: Workshop, network: NetworkSpec) -> None:
    """A server with an image that the cloud has not: Permanent, and nothing is left of it."""
    spec = workshop.server(network, image="没有这个镜像")
    assert isinstance(workshop.refused(lambda: workshop.create(spec)), Permanent)
    assert workshop.observe(key_of(spec)) is None


@pytest.mark.needs(Kind.SERVER)
@pytest.mark.parametrize("size", [Size(0, 1, 1), Size(1, 0, 1), Size(-1, -1, 1)], ids=str)
def test_an_impossible_size_is_refused(size: Size, workshop: Workshop, network: NetworkSpec) -> None:
    """A server without a processor or without memory: Permanent, and nothing is left of it."""
    spec = workshop.server(network, size)
    assert isinstance(workshop.refused(lambda: workshop.create(spec)), Permanent)
    assert workshop.observe(key_of(spec)) is None


@pytest.mark.needs(Kind.SERVER)
def test_a_server_larger_than_the_cloud_never_runs(workshop: Workshop, network: NetworkSpec) -> None:
    """It is refused for good, or the cloud says that it failed; it is never active."""
    spec = workshop.server(network, Size(10_000, 100_000, 1))
    if not isinstance(workshop.refused(lambda: workshop.create(spec)), Permanent):
        seen = None
        for _ in workshop.deadline():
            seen = workshop.find(key_of(spec))
            if seen is None or seen.status is not Status.BUILDING:
                break
        assert seen is not None
        assert seen.status is Status.ERROR
    workshop.remove(key_of(spec))


@pytest.mark.needs(Kind.VOLUME)
@pytest.mark.parametrize("change", [{"size_gib": 0}, {"size_gib": -5}, {"block_class": "no-such-class"}], ids=str)
def test_an_impossible_volume_is_refused(change: dict[str, object], workshop: Workshop, project: ProjectSpec) -> None:
    """A volume without a size, or of a class that the cloud has not: Permanent, and nothing is left of it."""
    spec = replace(workshop.volume(project.id), **change)  # type: ignore[arg-type]  # the values are meant to be wrong
    assert isinstance(workshop.refused(lambda: workshop.create(spec)), Permanent)
    assert workshop.observe(key_of(spec)) is None


@pytest.mark.parametrize("kind", [Kind.NETWORK, Kind.VOLUME, Kind.SERVER, Kind.ATTACHMENT, Kind.SNAPSHOT])
def test_what_something_stands_on_has_to_be_there(kind: Kind, workshop: Workshop, project: ProjectSpec) -> None:
    """An order in a project, on a network or a server that does not exist is Permanent."""
    nowhere: UUID = uuid7()
    specs: dict[Kind, Spec] = {
        Kind.NETWORK: workshop.network(nowhere),
        Kind.VOLUME: workshop.volume(nowhere),
        Kind.SERVER: workshop.server(workshop.network(project.id)),
        Kind.ATTACHMENT: AttachmentSpec(uuid7(), project.id, nowhere),
        Kind.SNAPSHOT: SnapshotSpec(uuid7(), project.id, nowhere, "无主快照"),
    }
    assert isinstance(workshop.refused(lambda: workshop.create(specs[kind])), Permanent)
    assert workshop.observe(key_of(specs[kind])) is None


@pytest.mark.needs(Kind.VOLUME, Kind.SERVER)
def test_what_is_absent_cannot_be_changed_or_switched(
    workshop: Workshop, project: ProjectSpec, network: NetworkSpec
) -> None:
    """Changing and switching nothing is Permanent, and makes nothing."""
    server, volume = workshop.server(network), workshop.volume(project.id)
    calls: list[Callable[[], object]] = []
    if workshop.provider.capabilities.resize:
        calls += [lambda: workshop.provider.change(server), lambda: workshop.provider.change(volume)]
    if workshop.provider.capabilities.power:
        calls += [lambda: workshop.provider.power(key_of(server), on=True)]
    calls += [lambda: workshop.provider.change(workshop.project())]
    for call in calls:
        assert isinstance(workshop.refused(call), Permanent)
    assert workshop.observe(key_of(server)) is None
    assert workshop.observe(key_of(volume)) is None


@pytest.mark.parametrize("name", ["", "长" * 300, "a\x00b", "a\nb", "'; drop table --", "\ud800"], ids=ascii)
def test_whatever_the_name_only_the_four_errors_leave(name: str, workshop: Workshop, project: ProjectSpec) -> None:
    """A name that a cloud may not like is taken, or refused with one of the four errors; never anything else."""
    specs: tuple[Spec, ...] = (
        ProjectSpec(uuid7(), name),
        VolumeSpec(uuid7(), project.id, name, 1, workshop.settings.block_class),
    )
    for spec in specs:
        if spec.kind not in workshop.provider.capabilities.kinds:
            continue
        error = workshop.refused(lambda spec=spec: workshop.create(spec))  # type: ignore[misc]  # bound now on purpose
        assert error is None or isinstance(error, FOUR)
        workshop.remove(key_of(spec))


@pytest.mark.needs(Kind.ATTACHMENT)
def test_a_volume_is_not_attached_to_two_servers(workshop: Workshop, volume: VolumeSpec, server: ServerSpec) -> None:
    """A volume has at most one attachment: whatever a second order is answered, the first server keeps the volume."""
    attachment = AttachmentSpec(volume.id, volume.project_id, server.id)
    workshop.make(attachment)
    stranger = AttachmentSpec(volume.id, volume.project_id, uuid7())
    error = workshop.refused(lambda: workshop.create(stranger))
    assert error is None or isinstance(error, Permanent)
    kept = workshop.observe(key_of(attachment))
    assert kept is not None
    assert kept.server_id == server.id
    workshop.remove(key_of(attachment))


def test_wrong_options_ask_for_a_person(settings: Settings) -> None:
    """With a wrong password nothing can be done until somebody acts: ActionRequired, and health says so and no more."""
    if not settings.wrong_options:
        pytest.skip("the options file names no wrong_options under conformance")
    with pytest.raises(ActionRequired):
        settings.build(**settings.wrong_options).list(Kind.PROJECT)
    try:
        refused = settings.build(**settings.wrong_options)
    except ActionRequired:
        return  # the adapter finds out when it is built
    try:
        assert not watched(refused).health().healthy
        with pytest.raises(ActionRequired):
            watched(refused).observe(Key(Kind.PROJECT, uuid7(), uuid7()))
    finally:
        refused.close()
