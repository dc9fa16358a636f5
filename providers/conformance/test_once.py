"""Nothing twice: an object is keyed by our id, however often and by how many at once it is ordered."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from providers.conformance.workshop import Workshop
from providers.contract import Kind, NetworkSpec, ProjectSpec, ServerSpec, Spec, Status, VolumeSpec, key_of

THREADS = 4


@pytest.mark.needs(Kind.NETWORK, Kind.VOLUME, Kind.SERVER)
def test_ordered_twice_it_is_one_object(
    workshop: Workshop, project: ProjectSpec, network: NetworkSpec, volume: VolumeSpec, server: ServerSpec
) -> None:
    """A second create with the same id returns the first one's object."""
    specs: tuple[Spec, ...] = (project, network, volume, server)
    for spec in specs:
        first = workshop.observe(key_of(spec))
        again = workshop.create(spec)
        assert first is not None
        assert again.ref == first.ref
        assert again.extra_refs == ()
        listed = [seen for seen in workshop.list(spec.kind, key_of(spec).project_id) if seen.key == key_of(spec)]
        assert [seen.ref for seen in listed] == [first.ref]


@pytest.mark.parametrize("kind", [Kind.PROJECT, Kind.NETWORK, Kind.VOLUME, Kind.SERVER])
def test_ordered_by_several_at_once_it_is_one_object(
    kind: Kind, workshop: Workshop, request: pytest.FixtureRequest
) -> None:
    """Four threads that order the same id at the same time get the same object, and there is one."""
    spec: Spec
    match kind:
        case Kind.PROJECT:
            spec = workshop.project()
        case Kind.SERVER:
            spec = workshop.server(request.getfixturevalue("network"))
        case Kind.VOLUME:
            spec = workshop.volume(request.getfixturevalue("project").id)
        case _:
            spec = workshop.network(request.getfixturevalue("project").id)
    with ThreadPoolExecutor(THREADS) as threads:
        answers = list(threads.map(workshop.create, [spec] * THREADS))
    ready = workshop.until(key_of(spec), Status.ACTIVE)
    assert {answer.ref for answer in answers} == {ready.ref}
    assert ready.extra_refs == ()
    assert [seen.key for seen in workshop.list(kind)].count(key_of(spec)) == 1
    workshop.remove(key_of(spec))


@pytest.mark.needs(Kind.NETWORK, Kind.VOLUME, Kind.SERVER)
def test_pruning_leaves_the_object_that_counts(
    workshop: Workshop, network: NetworkSpec, volume: VolumeSpec, server: ServerSpec
) -> None:
    """Without duplicates there is nothing to prune; what is there stays as it is."""
    specs: tuple[Spec, ...] = (network, volume, server)
    for spec in specs:
        key = key_of(spec)
        before = workshop.observe(key)
        assert before is not None
        assert workshop.patiently(lambda key=key: workshop.provider.prune(key)) is True  # type: ignore[misc]  # bound now
        after = workshop.observe(key)
        assert after is not None
        assert after.ref == before.ref
