"""A simulated cloud as its wire shows it: objects with refs and tags of their own, orders that are asynchronous.

Called by: ``provider``. The cloud itself lives in ``sql/``; this is its client, one statement a verb.
Must not: know the broker's contract, or decide what an error means.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv6Address, IPv6Network
from typing import Any
from uuid import UUID

from providers.simulated.database import Database, as_json
from providers.simulated.options import Options
from providers.simulated.pulse import Life
from providers.simulated.wire import WireError, WireTimeout

Arguments = Mapping[str, Any]

_CALL = "select simulated.call(%s, %s, %s, %s::jsonb)"
_REGISTER = "select simulated.register(%s, %s, %s, %s::jsonb)"


@dataclass(frozen=True, slots=True)
class WireObject:
    """One object as the cloud shows it. ``server`` is the tag of the server it is attached to or was taken of."""

    ref: str
    kind: str
    tag: UUID | None
    project: UUID | None
    name: str
    state: str
    vcpu: int | None
    memory_gib: int | None
    size_gib: int | None
    prefix: IPv6Network | None
    addresses: tuple[IPv6Address, ...]
    server: UUID | None
    uplink: Mapping[str, Any] | None


class Cloud:
    """The client of the cloud ``code``. Blocks; may be used by several threads. Raises WireError and WireTimeout."""

    def __init__(self, code: str, options: Options, sleep: Callable[[float], None] = time.sleep) -> None:
        self._code = code
        self._options = options
        self._sleep = sleep
        self._database = Database.acquire(options.database_url, options.pool_size)
        self._registered = False

    def close(self) -> None:
        self._database.release()

    def create(self, kind: str, arguments: Arguments) -> Sequence[WireObject]:
        """Order an object unless its tag is there. All that carry the tag, the one that counts first."""
        slow = {"build_ms": self._options.build_ms} if kind == "server" else {}
        return _objects(self._call("create", kind, {**arguments, **slow}))

    def look(self, verb: str, kind: str, arguments: Arguments) -> Sequence[WireObject]:
        """Objects with a tag (``observe``), or all of a project or of the cloud (``list``); first what counts first."""
        return _objects(self._call(verb, kind, arguments))

    def change(self, kind: str, arguments: Arguments) -> Sequence[WireObject]:
        return _objects(self._call("change", kind, {**arguments, "build_ms": self._options.build_ms}))

    def power(self, arguments: Arguments) -> Sequence[WireObject]:
        return _objects(self._call("power", "server", arguments))

    def delete(self, kind: str, arguments: Arguments) -> Sequence[WireObject]:
        """Order all objects with a tag to go, or only the one with a ``ref``. What is still there with the tag."""
        return _objects(self._call("delete", kind, {**arguments, "delete_ms": self._options.delete_ms}))

    def capacity(self) -> Sequence[tuple[str, str, int, int]]:
        """(resource, name, total, used) of everything scarce."""
        return [(str(r), str(n), int(total), int(used)) for r, n, total, used in self._call("capacity", None, {})]

    def images(self) -> Sequence[str]:
        return [str(name) for name in self._call("images", None, {})]

    def usage(self, project: UUID, start: datetime, end: datetime) -> Sequence[tuple[UUID, float, float]]:
        """(tag, vCPU hours, memory GiB hours) of each server of a project in [start, end)."""
        arguments = {"project": str(project), "start": start.isoformat(), "end": end.isoformat()}
        return [(UUID(tag), float(v), float(m)) for tag, v, m in self._call("usage", "server", arguments)]

    def ports(self) -> Sequence[tuple[str, UUID, UUID, IPv6Address]]:
        """(ref, tag of its network, project, address) of each port that is bound to nothing."""
        return [(str(r), UUID(n), UUID(p), IPv6Address(a)) for r, n, p, a in self._call("ports", "network", {})]

    def lives(self, start: datetime, end: datetime) -> Sequence[Life]:
        """How large each server was, and when it was off, in [start, end)."""
        arguments = {"start": start.isoformat(), "end": end.isoformat()}
        return [
            Life(
                UUID(tag),
                tuple((datetime.fromisoformat(a), datetime.fromisoformat(b), int(v), int(m)) for a, b, v, m in sizes),
                tuple((datetime.fromisoformat(a), datetime.fromisoformat(b)) for a, b in offs),
            )
            for tag, sizes, offs in self._call("lives", "server", arguments)
        ]

    def ping(self) -> None:
        """A call that does nothing."""
        self._call("health", None, {})

    def _call(self, verb: str, kind: str | None, arguments: Arguments) -> Any:
        if not self._registered:
            self._register()
        reply = self._database.value(_CALL, self._code, verb, kind, as_json(arguments))
        fault_s = float(reply["delay_s"])
        self._wait(self._options.latency_ms / 1000 + (fault_s if reply.get("fault") == "slow" else 0))
        if reply["lost"]:
            raise WireTimeout("no answer")
        if reply["status"] >= 400:
            retry_after_s = fault_s or 1.0
            raise WireError(reply["status"], reply["code"], reply.get("detail") or "", retry_after_s=retry_after_s)
        return reply["body"]

    def _wait(self, seconds: float) -> None:
        """Let the answer travel; a caller does not wait for it longer than a call may take."""
        if seconds <= 0:
            return
        self._sleep(min(seconds, self._options.call_timeout_s))
        if seconds > self._options.call_timeout_s:
            raise WireTimeout("the answer came too late")

    def _register(self) -> None:
        options = self._options
        pools = as_json(options.pools())
        self._database.value(_REGISTER, self._code, list(options.images), options.log_looks, pools)
        self._registered = True


def _objects(body: Sequence[Mapping[str, Any]]) -> Sequence[WireObject]:
    return [_object(shown) for shown in body]


def _object(shown: Mapping[str, Any]) -> WireObject:
    prefix = IPv6Network(shown["prefix"]) if shown["prefix"] else None
    return WireObject(
        ref=shown["ref"],
        kind=shown["kind"],
        tag=_uuid(shown["tag"]),
        project=_uuid(shown["project"]),
        name=shown["name"],
        state=shown["state"],
        vcpu=shown["vcpu"],
        memory_gib=shown["memory_gib"],
        size_gib=shown["size_gib"],
        prefix=prefix,
        addresses=(slaac_address(prefix, shown["mac"]),) if prefix and shown["mac"] else (),
        server=_uuid(shown["server"]),
        uplink=shown["uplink"],
    )


def _uuid(text: str | None) -> UUID | None:
    return UUID(text) if text else None


def slaac_address(prefix: IPv6Network, mac: str) -> IPv6Address:
    """The address a guest gives itself on the first /64 of ``prefix`` (RFC 4291, modified EUI-64)."""
    octets = bytes.fromhex(mac.replace(":", ""))
    interface = bytes([octets[0] ^ 0x02]) + octets[1:3] + b"\xff\xfe" + octets[3:]
    return prefix.network_address + int.from_bytes(interface, "big")
