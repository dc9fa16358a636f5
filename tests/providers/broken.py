"""Adapters that break one rule each, to prove that the conformance suite sees it.

Called by: the conformance suite in a process of its own, as ``tests.providers.broken:NAME``.
Must not: be better than its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from uuid_utils.compat import uuid7

from providers.contract import Capabilities, Key, Kind, NetworkSpec, Observed, Spec, VolumeSpec
from providers.errors import Permanent, Temporary
from providers.simulated import Options, SimulatedProvider


class Forgetful(SimulatedProvider):
    """Makes a new volume at each order."""

    def create(self, spec: Spec) -> Observed:
        if not isinstance(spec, VolumeSpec):
            return super().create(spec)
        made = super().create(replace(spec, id=uuid7()))
        return replace(made, key=Key(Kind.VOLUME, spec.id, spec.project_id))


class Headstrong(SimulatedProvider):
    """Chooses prefixes itself."""

    def create(self, spec: Spec) -> Observed:
        if isinstance(spec, NetworkSpec):
            spec = replace(spec, prefix=spec.prefix.supernet(4))
        return super().create(spec)


class Hasty(SimulatedProvider):
    """Says that all is gone before it is."""

    def delete(self, key: Key) -> bool:
        super().delete(key)
        return True


class Leaky(SimulatedProvider):
    """Lets an error of its own out."""

    def observe(self, key: Key) -> Observed | None:
        found = super().observe(key)
        if found is None:
            raise KeyError(key.id)
        return found


class Hopeful(SimulatedProvider):
    """Believes that everything may go well the next time."""

    def create(self, spec: Spec) -> Observed:
        try:
            return super().create(spec)
        except Permanent as error:
            raise Temporary(error.code, error.detail) from None


class Boundless(SimulatedProvider):
    """Lists the whole cloud whatever project is asked for."""

    def list(self, kind: Kind, project_id: UUID | None = None) -> Sequence[Observed]:  # noqa: ARG002  # that is the bug
        return super().list(kind)


class Modest(SimulatedProvider):
    """Nothing is wrong with it: it cannot do much, and says so."""

    @property
    def capabilities(self) -> Capabilities:
        kinds = frozenset({Kind.PROJECT, Kind.NETWORK, Kind.VOLUME})
        return replace(super().capabilities, kinds=kinds, resize=False, power=False, usage=False)


def _factory(broken: type[SimulatedProvider]) -> object:
    def build(name: str, options: Mapping[str, str]) -> SimulatedProvider:
        return broken(name, Options.parse(options))

    return build


forgetful, headstrong, hasty, leaky, hopeful, boundless, modest = (
    _factory(broken) for broken in (Forgetful, Headstrong, Hasty, Leaky, Hopeful, Boundless, Modest)
)
