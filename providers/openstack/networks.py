"""Networks: a neutron network, one IPv6 subnet with the prefix that the broker chose, and the security-group baseline.

Called by: ``provider``; ``servers`` asks for a network's id and group. Must not: choose a prefix.

The prefix is taken from a subnet pool, and a pool gives a prefix once: of two creates with one id (or of two ids with
one prefix) only one gets a subnet. A network of ours without a subnet is a stray: used by the next create with its id,
shown to nobody, removed with its id. The network of a segment of the extranet is a provider network (``uplinks``): no
router of the cloud's is connected to it and nothing of the cloud's advertises its prefix.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any
from uuid import UUID

from providers.contract import Key, Kind, LooseAddress, NetworkSpec, Observed, Status
from providers.errors import ActionRequired, Permanent, ProviderError
from providers.openstack.client import Client, Json
from providers.openstack.naming import check_name, id_in_name, tagged_name
from providers.openstack.options import Options
from providers.openstack.projects import Projects
from providers.openstack.uplinks import network_fields, of_network, same_wire, subnet_fields

_SUBNET_LENGTH, _SHORTEST = 64, 48
_STATUS = {"ACTIVE": Status.ACTIVE, "DOWN": Status.STOPPED, "BUILD": Status.BUILDING, "ERROR": Status.ERROR}


class Networks:
    """Neutron's networks whose name holds an id of ours."""

    def __init__(self, client: Client, options: Options, projects: Projects) -> None:
        self._client = client
        self._options = options
        self._projects = projects
        self._pool: str | None = None
        self._router: str | None = None

    def create(self, spec: NetworkSpec) -> Observed:
        """Network, group, subnet, router, in this order: what has a subnet has a group as well."""
        check_name(spec.name)
        if not _SHORTEST <= spec.prefix.prefixlen <= _SUBNET_LENGTH:
            raise Permanent(
                "prefix_length", f"a prefix has /{_SHORTEST} to /{_SUBNET_LENGTH}, not /{spec.prefix.prefixlen}"
            )
        ref = self._projects.require(spec.project_id)
        key = Key(Kind.NETWORK, spec.id, spec.project_id)
        wire = network_fields(spec.uplink, self._options)
        self._group(spec, ref)
        found = self.find(key)
        if found is None:
            found = self._take_prefix(spec, ref, wire)
        if found.uplink != spec.uplink:
            raise Permanent("uplink_differs", f"the network is there with {found.uplink}")
        if spec.uplink is None:
            self._connect(spec)
        return found

    def find(self, key: Key) -> Observed | None:
        ref = self._projects.ref(key.project_id)
        if ref is None:
            return None
        networks = self._named("networks", ref, key.id)
        subnets = self._named("subnets", ref, key.id)
        return next(iter(_observed(networks, subnets, {ref: key.project_id})), None)

    def list(self, project_id: UUID | None) -> Sequence[Observed]:
        if project_id is None:
            of, params = self._projects.by_ref(), {}
        else:
            ref = self._projects.ref(project_id)
            if ref is None:
                return []
            of, params = {ref: project_id}, {"project_id": ref}
        networks = self._client.pages("network", "/networks", "networks", params)
        subnets = self._client.pages("network", "/subnets", "subnets", params)
        return list(_observed(networks, subnets, of))

    def loose_addresses(self) -> Sequence[LooseAddress]:
        """IPv6 addresses of ports on our networks that belong to no device."""
        keys = {seen.ref: seen.key for seen in self.list(None)}
        ports = self._client.pages("network", "/ports", "ports")
        found = [
            (keys[port["network_id"]], port["id"], ip_address(fixed["ip_address"]))
            for port in ports
            if port["network_id"] in keys and not port["device_id"]
            for fixed in port["fixed_ips"]
        ]
        return [LooseAddress(key.id, key.project_id, ref, at) for key, ref, at in found if isinstance(at, IPv6Address)]

    def delete(self, key: Key) -> bool:
        """Remove the network, its strays, its group and what was reserved for it. Permanent while servers are on it."""
        ref = self._projects.ref(key.project_id)
        if ref is None:
            return True
        for subnet in self._named("subnets", ref, key.id):
            self._disconnect(subnet)
        for network in self._named("networks", ref, key.id):
            self._drop_ports(network["id"])
            self._client.delete("network", f"/networks/{network['id']}")
        self._release_rest(key.id)
        for group in self._named("security_groups", ref, key.id):
            self._client.delete("network", f"/security-groups/{group['id']}")
        return True

    def refs(self, network_id: UUID, ref: str) -> tuple[str, str]:
        """Neutron's ids of a network and of its group, for a server's port. Permanent when there is no such network."""
        subnets = self._named("subnets", ref, network_id)
        groups = self._named("security_groups", ref, network_id)
        if not subnets or not groups:
            raise Permanent("network_missing", f"no network {network_id} in this project")
        return str(subnets[0]["network_id"]), str(min(group["id"] for group in groups))

    def _take_prefix(self, spec: NetworkSpec, ref: str, wire: Json) -> Observed:
        key = Key(Kind.NETWORK, spec.id, spec.project_id)
        network = self._empty_network(spec, ref, wire)
        first = next(spec.prefix.subnets(new_prefix=_SUBNET_LENGTH))
        note = {"name": tagged_name(spec.id), "description": str(spec.prefix), "project_id": ref}
        modes = subnet_fields(spec.uplink, self._options)
        try:
            self._reserve_rest(spec, first)  # before the subnet: what has a subnet has its whole prefix
            subnet = self._subnet(network["id"], first, **note, **modes)
        except ProviderError as refusal:
            found = self.find(key)
            if found is not None:  # another create with this id was first
                if found.ref != network["id"]:
                    self._client.delete("network", f"/networks/{network['id']}")
                return found
            if isinstance(refusal, Permanent) or self._is_taken(spec.prefix, spec.id):
                self.delete(key)
                code = refusal.code if refusal.code == "quota_exceeded" else "prefix_taken"
                raise Permanent(code, refusal.detail) from refusal
            raise
        return next(iter(_observed([network], [subnet], {ref: spec.project_id})))

    def _empty_network(self, spec: NetworkSpec, ref: str, wire: Json) -> Json:
        """The network that an earlier create left without a subnet, or a new one; a stray on another wire goes."""
        strays = self._named("networks", ref, spec.id)
        for stray in strays:
            if not same_wire(stray, wire):
                self._client.delete("network", f"/networks/{stray['id']}")
        strays = [stray for stray in strays if same_wire(stray, wire)]
        if strays:
            return min(strays, key=lambda each: str(each["id"]))
        body = {"name": tagged_name(spec.id), "description": spec.name, "project_id": ref, **wire}
        try:
            made: Json = self._client.post("network", "/networks", {"network": body})["network"]
        except Permanent as refusal:
            if not wire or refusal.code != "conflict":
                raise
            # A tag is given once: to another create with this id, which has a network now, or to somebody else.
            strays = [stray for stray in self._named("networks", ref, spec.id) if same_wire(stray, wire)]
            if not strays:
                self.delete(Key(Kind.NETWORK, spec.id, spec.project_id))  # the group that was made for it
                raise Permanent("uplink_taken", refusal.detail) from refusal
            made = min(strays, key=lambda each: str(each["id"]))
        return made

    def _subnet(self, network: str, prefix: IPv6Network, **more: Any) -> Json:
        where = {"network_id": network, "ip_version": 6, "subnetpool_id": self._pool_ref(), "cidr": str(prefix)}
        subnet: Json = self._client.post("network", "/subnets", {"subnet": {**where, **more}})["subnet"]
        return subnet

    def _reserve_rest(self, spec: NetworkSpec, first: IPv6Network) -> None:
        """Of a prefix shorter than /64 the subnet uses the first; the rest is taken by a network that nobody uses."""
        if spec.prefix == first:
            return
        networks = self._client.pages("network", "/networks", "networks", {"name": _rest(spec.id)})
        if not networks:
            body = {"name": _rest(spec.id), "description": f"reserved with {first}", "admin_state_up": False}
            networks = [self._client.post("network", "/networks", {"network": body})["network"]]
        rest = networks[0]["id"]
        taken = {s["cidr"] for s in self._client.pages("network", "/subnets", "subnets", {"network_id": rest})}
        for part in spec.prefix.address_exclude(first):
            if str(part) not in taken:
                self._subnet(rest, part, name=_rest(spec.id), enable_dhcp=False, gateway_ip=None)

    def _drop_ports(self, network: str) -> None:
        """Ports of ours on which no server was booted; what uses a port keeps it, and with it the network."""
        for port in self._client.pages("network", "/ports", "ports", {"network_id": network}):
            if not port["device_id"] and id_in_name(port["name"]):
                self._client.delete("network", f"/ports/{port['id']}")

    def _release_rest(self, identity: UUID) -> None:
        for network in self._client.pages("network", "/networks", "networks", {"name": _rest(identity)}):
            self._client.delete("network", f"/networks/{network['id']}")

    def _is_taken(self, prefix: IPv6Network, identity: UUID) -> bool:
        """Whether somebody else holds a part of the prefix."""
        params = {"subnetpool_id": self._pool_ref(), "fields": ["cidr", "name"]}
        subnets = self._client.pages("network", "/subnets", "subnets", params)
        own = {tagged_name(identity), _rest(identity)}
        return any(IPv6Network(s["cidr"]).overlaps(prefix) for s in subnets if s["name"] not in own)

    def _group(self, spec: NetworkSpec, ref: str) -> None:
        """Closed inbound but for ICMPv6 (IPv6 does not work without it) and SSH from the zone; open outbound."""
        groups = self._named("security_groups", ref, spec.id)
        if groups:
            group = min(groups, key=lambda each: str(each["id"]))
        else:
            group = self._client.post("network", "/security-groups", {"security_group": {
                "name": tagged_name(spec.id), "description": spec.name, "project_id": ref,
            }})["security_group"]  # fmt: skip
        wanted: set[tuple[str, int | None, str | None]] = {("ipv6-icmp", None, None)}
        zone = self._options.zone_ssh_sources.get(spec.zone, self._options.ssh_sources)
        wanted |= {("tcp", 22, str(source)) for source in (*zone, spec.prefix)}
        have = {
            (rule["protocol"], rule["port_range_min"], rule["remote_ip_prefix"])
            for rule in group["security_group_rules"]
            if rule["direction"] == "ingress"
        }
        for protocol, port, source in sorted(wanted - have, key=str):
            rule = {
                "security_group_id": group["id"],
                "direction": "ingress",
                "ethertype": "IPv6",
                "protocol": protocol,
                "port_range_min": port,
                "port_range_max": port,
                "remote_ip_prefix": source,
            }
            self._once("/security-group-rules", {"security_group_rule": rule})

    def _connect(self, spec: NetworkSpec) -> None:
        """Give the subnet its gateway on the operator's router."""
        if self._options.router is None:
            return
        ref = self._projects.require(spec.project_id)
        for subnet in self._named("subnets", ref, spec.id):
            ports = self._router_ports(subnet)
            if not ports:
                self._route("add_router_interface", subnet)

    def _disconnect(self, subnet: Json) -> None:
        if self._options.router is not None and self._router_ports(subnet):
            self._route("remove_router_interface", subnet)

    def _router_ports(self, subnet: Json) -> Sequence[Json]:
        params = {"network_id": subnet["network_id"], "device_owner": "network:router_interface", "fields": "id"}
        return self._client.pages("network", "/ports", "ports", params)

    def _route(self, verb: str, subnet: Json) -> None:
        try:
            self._client.request(
                "network", "PUT", f"/routers/{self._router_ref()}/{verb}", body={"subnet_id": subnet["id"]}
            )
        except Permanent:
            # Somebody else connected or disconnected it meanwhile; anything else is an error.
            if bool(self._router_ports(subnet)) != (verb == "add_router_interface"):
                raise

    def _router_ref(self) -> str:
        if self._router is None:
            wanted = self._options.router
            routers = self._client.pages("network", "/routers", "routers", {"fields": ["id", "name"]})
            found = next((r["id"] for r in routers if wanted in {r["id"], r["name"]}), None)
            if found is None:
                raise ActionRequired("router_missing", f"no router {wanted}")
            self._router = str(found)
        return self._router

    def _pool_ref(self) -> str:
        if self._pool is None:
            name = self._options.subnet_pool
            self._pool = self._pool_named(name) or self._make_pool(name)
        return self._pool

    def _pool_named(self, name: str) -> str | None:
        pools = self._client.pages("network", "/subnetpools", "subnetpools", {"name": name})
        return min((str(pool["id"]) for pool in pools), default=None)

    def _make_pool(self, name: str) -> str:
        """In an address scope pools cannot overlap, so a second pool of the same name cannot come into being."""
        scopes = self._client.pages("network", "/address-scopes", "address_scopes", {"name": name})
        if not scopes:
            scope = self._client.post("network", "/address-scopes", {"address_scope": {"name": name, "ip_version": 6}})
            scopes = [scope["address_scope"]]
        body = {
            "name": name,
            "prefixes": [str(prefix) for prefix in self._options.subnet_pool_prefixes],
            "address_scope_id": min(str(scope["id"]) for scope in scopes),
            "default_prefixlen": _SUBNET_LENGTH,
            "min_prefixlen": _SHORTEST,
            "max_prefixlen": _SUBNET_LENGTH,
        }
        self._once("/subnetpools", {"subnetpool": body})
        made = self._pool_named(name)
        if made is None:
            raise ActionRequired("subnet_pool_missing", f"no subnet pool {name}, and none could be made")
        return made

    def _once(self, path: str, body: Json) -> None:
        """Make what may have been made meanwhile."""
        try:
            self._client.post("network", path, body)
        except Permanent as refusal:
            if refusal.code != "conflict":
                raise

    def _named(self, what: str, ref: str, identity: UUID) -> Sequence[Json]:
        params = {"project_id": ref, "name": tagged_name(identity)}
        return self._client.pages("network", f"/{what.replace('_', '-')}", what, params)


def _rest(identity: UUID) -> str:
    return f"{tagged_name(identity)}-rest"


def _observed(networks: Sequence[Json], subnets: Sequence[Json], of: dict[str, UUID]) -> Iterable[Observed]:
    """Networks that have a subnet; those of the same id that have none are named as their duplicates."""
    holders = {subnet["network_id"]: subnet for subnet in subnets}
    for network in networks:
        identity, subnet = id_in_name(network["name"]), holders.get(network["id"])
        if identity is None or subnet is None or network["project_id"] not in of:
            continue
        strays = tuple(n["id"] for n in networks if n["name"] == network["name"] and n["id"] not in holders)
        yield Observed(
            Key(Kind.NETWORK, identity, of[network["project_id"]]),
            network["id"],
            _STATUS.get(network["status"], Status.BUILDING),
            name=network.get("description") or "",
            prefix=_prefix(subnet),
            extra_refs=strays,
            uplink=of_network(network, subnet),
        )


def _prefix(subnet: Json) -> IPv6Network:
    """The whole prefix stands in the description; what is there without one was made by somebody else."""
    try:
        return IPv6Network(subnet.get("description") or subnet["cidr"])
    except ValueError:
        return IPv6Network(subnet["cidr"])
