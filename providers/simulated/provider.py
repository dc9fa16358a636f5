"""The simulated cloud's meaning: our contract on top of its wire.

Called by: the broker through ``providers.registry``. Must not: reach around the wire into the cloud's database.

What the wire does not promise is made good here: a create is one object however often it is ordered. The wire looks for
our tag before it creates, which is no proof (an order that timed out may still act); so a lost race for something that
only one can take is answered by looking once more, and volumes and snapshots, which nothing makes unique, may have
duplicates: the attached or else the oldest one counts, the others are ``extra_refs`` and go with it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from ipaddress import IPv6Address
from typing import Any, TypeVar
from uuid import UUID

from providers.contract import (
    Addressing,
    AttachmentSpec,
    Capabilities,
    Capacity,
    ComputeCapacity,
    CpuArch,
    Encapsulation,
    Health,
    Key,
    Kind,
    LooseAddress,
    NetworkSpec,
    Observed,
    ProjectSpec,
    ServerHour,
    ServerSpec,
    SnapshotSpec,
    Spec,
    Status,
    Telemetry,
    Uplink,
    UsageReading,
    VolumeSpec,
    key_of,
)
from providers.errors import ActionRequired, Permanent, ProviderError, Temporary, UnknownOutcome
from providers.simulated.cloud import Cloud, WireObject
from providers.simulated.options import Options
from providers.simulated.pulse import hours
from providers.simulated.wire import WireError, WireTimeout

Answer = TypeVar("Answer")

_STRIPES = 64


class SimulatedProvider:
    """One simulated sub-cloud. ``sleep`` is how latency passes; tests give their own."""

    def __init__(self, name: str, options: Options, sleep: Callable[[float], None] = time.sleep) -> None:
        self._cloud = Cloud(name, options, sleep)
        self._timeout_s = options.call_timeout_s
        self._cores = {CpuArch.X86_64: options.cores_x86_64, CpuArch.AARCH64: options.cores_aarch64}
        # Two threads that order the same volume at once would both find nothing; the wire cannot tell them apart.
        self._creating = [threading.Lock() for _ in range(_STRIPES)]
        self._capabilities = Capabilities(
            provider="simulated",
            kinds=frozenset(Kind),
            resize=True,
            power=True,
            usage=True,
            guest_reachable=False,
            call_timeout_s=options.call_timeout_s,
            telemetry=Telemetry.HOURS,
            uplinks=frozenset(Encapsulation),
        )

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    def close(self) -> None:
        self._cloud.close()

    def health(self) -> Health:
        try:
            _look(self._cloud.ping)
        except ProviderError as error:
            return Health(healthy=False, detail=str(error))
        return Health(healthy=True)

    def capacity(self) -> Capacity:
        pools = {(resource, name): (total, used) for resource, name, total, used in _look(self._cloud.capacity)}
        compute = {
            arch: ComputeCapacity(
                self._cores[arch] or pools["vcpu", arch][0], pools["vcpu", arch][1], *pools["memory_gib", arch]
            )
            for arch in CpuArch
            if pools["vcpu", arch] != (0, 0)
        }
        block = {
            name: amounts for (resource, name), amounts in pools.items() if resource == "block_gib" and any(amounts)
        }
        return Capacity(
            compute,
            block_total_gib={name: total for name, (total, _) in block.items()},
            block_used_gib={name: used for name, (_, used) in block.items()},
        )

    def images(self) -> Sequence[str]:
        return _look(self._cloud.images)

    def create(self, spec: Spec) -> Observed:
        key = key_of(spec)
        with self._one_at_a_time(key):
            try:
                found = self._cloud.create(spec.kind, _order(spec))
            except WireError as error:
                return self._lost_race(key, error)
            except WireTimeout as error:
                raise UnknownOutcome("cloud.timeout", str(error)) from None
        made = _made(key, found)
        if isinstance(spec, AttachmentSpec) and made.server_id != spec.server_id:
            raise Permanent("volume.attached", f"attached to server {made.server_id}")
        if isinstance(spec, NetworkSpec) and made.uplink != spec.uplink:
            raise Permanent("uplink.differs", f"the network is there with {made.uplink}")
        return made

    def observe(self, key: Key) -> Observed | None:
        found = _look(lambda: self._cloud.look("observe", key.kind, _named(key)))
        return _merged(key.kind, found) if found else None

    def list(self, kind: Kind, project_id: UUID | None = None) -> Sequence[Observed]:
        within = {"project": str(project_id)} if project_id else {}
        by_tag: dict[tuple[UUID | None, UUID | None], list[WireObject]] = {}
        for shown in _look(lambda: self._cloud.look("list", kind, within)):
            by_tag.setdefault((shown.project, shown.tag), []).append(shown)
        return [_merged(kind, same) for same in by_tag.values()]

    def change(self, spec: VolumeSpec | ServerSpec | ProjectSpec) -> Observed:
        key = key_of(spec)
        return _made(key, _act(lambda: self._cloud.change(spec.kind, _order(spec))))

    def power(self, key: Key, *, on: bool) -> Observed:
        if key.kind is not Kind.SERVER:
            raise Permanent("power.server_only", f"a {key.kind} has no power switch")
        return _made(key, _act(lambda: self._cloud.power({**_named(key), "on": on})))

    def delete(self, key: Key) -> bool:
        return not _act(lambda: self._cloud.delete(key.kind, _named(key)))

    def prune(self, key: Key) -> bool:
        seen = None if key.kind is Kind.ATTACHMENT else self.observe(key)
        if seen is None or not seen.extra_refs:
            return True
        for ref in seen.extra_refs:
            named = {**_named(key), "ref": ref}
            _act(lambda named=named: self._cloud.delete(key.kind, named))  # type: ignore[misc]  # bound now on purpose
        left = self.observe(key)
        return left is None or not left.extra_refs

    def usage(self, project_id: UUID, start: datetime, end: datetime) -> Sequence[UsageReading]:
        if start.tzinfo is None or end.tzinfo is None:
            raise Permanent("usage.naive_time", "start and end need a time zone")
        readings = _look(lambda: self._cloud.usage(project_id, start, end))
        return [UsageReading(server, vcpu, memory) for server, vcpu, memory in readings]

    def loose_addresses(self) -> Sequence[LooseAddress]:
        return [LooseAddress(network, project, ref, at) for ref, network, project, at in _look(self._cloud.ports)]

    def utilisation(self, start: datetime, end: datetime) -> Sequence[ServerHour]:
        return [hour for life in _look(lambda: self._cloud.lives(start, end)) for hour in hours(life, start, end)]

    @contextmanager
    def _one_at_a_time(self, key: Key) -> Iterator[None]:
        lock = self._creating[hash(key) % _STRIPES]
        if not lock.acquire(timeout=self._timeout_s):
            raise Temporary("create.busy", "the same object is being ordered by another thread")
        try:
            yield
        finally:
            lock.release()

    def _lost_race(self, key: Key, error: WireError) -> Observed:
        """A refused create. Somebody may have taken the name, prefix or port meanwhile: if that was us, fine."""
        if error.status == 409 and error.code.endswith((".taken", ".overlaps")):
            found = self.observe(key)
            if found is not None:
                return found
        raise _meaning(error)


def _act(call: Callable[[], Answer]) -> Answer:
    """An order's answer; when none came, it may have been done."""
    try:
        return call()
    except WireError as error:
        raise _meaning(error) from None
    except WireTimeout as error:
        raise UnknownOutcome("cloud.timeout", str(error)) from None


def _look(call: Callable[[], Answer]) -> Answer:
    """A look's answer; when none came, nothing was done, and one may look again."""
    try:
        return call()
    except WireError as error:
        raise _meaning(error) from None
    except WireTimeout as error:
        raise Temporary("cloud.timeout", str(error)) from None


def _meaning(error: WireError) -> ProviderError:
    """What a caller has to do about an error of the wire."""
    if error.status == 401:
        return ActionRequired(error.code, error.detail)
    if error.status == 429 or error.status >= 500 or error.code == "busy":
        return Temporary(error.code, error.detail, retry_after_s=error.retry_after_s)
    return Permanent(error.code, error.detail)


def _named(key: Key) -> dict[str, str]:
    return {"tag": str(key.id), "project": str(key.project_id)}


def _order(spec: Spec) -> dict[str, Any]:
    """A spec in the wire's words."""
    order: dict[str, Any] = _named(key_of(spec))
    match spec:
        case ProjectSpec():
            limits = {name: getattr(spec.limits, name) for name in spec.limits.__slots__}
            order |= {"name": spec.name, "limits": {name: n for name, n in limits.items() if n is not None}}
        case NetworkSpec():
            order |= {"name": spec.name, "prefix": str(spec.prefix), "zone": spec.zone, "uplink": _said(spec.uplink)}
        case VolumeSpec():
            order |= {"name": spec.name, "size_gib": spec.size_gib, "block_class": spec.block_class}
        case ServerSpec():
            order |= {"name": spec.name, "vcpu": spec.vcpu, "memory_gib": spec.memory_gib, "size_gib": spec.root_gib}
            order |= {"image": spec.image, "arch": spec.cpu_arch, "network": str(spec.network_id)}
            order |= {"mac": _mac(spec.id)}
        case AttachmentSpec():
            order |= {"server": str(spec.server_id)}
        case SnapshotSpec():
            order |= {"name": spec.name, "server": str(spec.server_id)}
    return order


def _said(uplink: Uplink | None) -> dict[str, Any] | None:
    if uplink is None:
        return None
    return {"encapsulation": uplink.encapsulation, "tag": uplink.tag, "gateway": str(uplink.gateway),
            "addressing": uplink.addressing}  # fmt: skip


def _uplink(said: Mapping[str, Any] | None) -> Uplink | None:
    if said is None:
        return None
    gateway = IPv6Address(said["gateway"])
    return Uplink(Encapsulation(said["encapsulation"]), said["tag"], gateway, Addressing(said["addressing"]))


def _mac(server: UUID) -> str:
    """A locally administered MAC address made of our id: a network has it once, so a server boots once."""
    octets = server.bytes[-6:]
    return ":".join(f"{octet:02x}" for octet in (octets[0] & 0xFC | 0x02, *octets[1:]))


def _made(key: Key, found: Sequence[WireObject]) -> Observed:
    """The object that an order was about. It may be gone again by the time the cloud answers."""
    if not found:
        raise Temporary("object.vanished", f"{key.kind} {key.id} was there and is not any more")
    return _merged(key.kind, found)


def _merged(kind: Kind, same: Sequence[WireObject]) -> Observed:
    """Objects that carry the same tag, as one; the wire puts first the one that counts."""
    first, *others = same
    if first.tag is None or first.project is None:
        raise Permanent("object.untagged", first.ref)
    return Observed(
        key=Key(kind, first.tag, first.project),
        ref=first.ref,
        status=Status(first.state),
        name=first.name,
        vcpu=first.vcpu,
        memory_gib=first.memory_gib,
        size_gib=first.size_gib,
        prefix=first.prefix if kind is Kind.NETWORK else None,
        addresses=first.addresses,
        server_id=first.server,
        detail="the cloud says that this object failed" if first.state == "error" else "",
        extra_refs=tuple(other.ref for other in others),
        uplink=_uplink(first.uplink),
    )
