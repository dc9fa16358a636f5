"""What refers to what in a region: codes that exist, a tree that is one, rules that the regulation sets. Pure.

Called by: ``region.reading``. Must not: read files or the database. Reports every problem, never only the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta

from broker.errors import Problem
from broker.lifecycle import Role
from broker.region.plan import plan_problems
from broker.region.references import unknown_names
from broker.region.schema import Region, SubCloudEntry, UnitEntry

PARENT_KINDS: Mapping[str, frozenset[str | None]] = {
    "region": frozenset({None}),
    "department": frozenset({"region"}),
    "city": frozenset({"region"}),
    "county": frozenset({"city"}),
    "office": frozenset({"region", "department", "city", "county", "office"}),
}
METERS = ("vcpu_x86_64", "vcpu_aarch64", "memory_gib", "block_gib_ssd", "block_gib_hdd", "ipv6_segment")
"""What is metered and so needs a price that holds everywhere."""


def problems_of(region: Region) -> Iterator[Problem]:
    """Every contradiction in a region whose sections have the right shape."""
    for check in _CHECKS:
        yield from check(region)


def _units(region: Region) -> dict[str, UnitEntry]:
    return {unit.code: unit for unit in region.units.more}


def _clouds(region: Region) -> dict[str, SubCloudEntry]:
    return {cloud.code: cloud for cloud in region.sub_clouds}


def _twice(region: Region) -> Iterator[Problem]:
    """A code names one thing."""
    codes: dict[str, list[str]] = {
        "units": [unit.code for unit in region.units.more],
        "images": [image.code for image in region.images],
        "sub_clouds": [cloud.code for cloud in region.sub_clouds],
        "zones": [zone.code for zone in region.zones],
        "people": [person.login for person in region.people],
        "information_systems": [system.code for system in region.information_systems],
        "home_clouds": [f"{rule.unit} {region.since(rule)}" for rule in region.home_clouds],
        "payers": [f"{rule.unit} {rule.tier} {rule.cloud or ''} {region.since(rule)}" for rule in region.payers],
        "finance_offices": [f"{rule.office} {region.since(rule)}" for rule in region.finance_offices],
        "prices": [
            " ".join(
                str(word)
                for word in (
                    price.meter,
                    *(price.cloud or "", price.operator or "", price.unit_class or "", price.term_months or ""),
                    *(region.since(price), "" if price.side == "charge" else price.side),
                )
            )
            for price in region.prices
        ],
        "quotas": [f"{quota.unit} {quota.cloud or ''}" for quota in region.quotas],
        "sub_clouds.operator_changes": [
            f"{cloud.code} {change.since}" for cloud in region.sub_clouds for change in cloud.operator_changes
        ],
        "units.changes": [f"{change.unit} {change.since}" for change in region.units.changes],
    }
    for section, named in codes.items():
        for code, count in Counter(named).items():
            if count > 1:
                yield Problem("region.twice", section, params={"code": code.strip()})


def _tree(region: Region) -> Iterator[Problem]:
    """One root, no circles, and each kind below a kind that may have it: at the start and after every change."""
    units = _units(region)
    roots = [unit.code for unit in region.units.more if unit.kind == "region"]
    if len(roots) != 1:
        yield Problem("region.one_root", "units", params={"found": len(roots)})
    parents = {unit.code: unit.parent for unit in region.units.more}
    yield from _tree_at(units, parents, "units")
    merged: set[str] = set()
    for change in sorted(region.units.changes, key=lambda c: c.since):
        if change.since <= region.valid_from:
            yield Problem("region.too_early", f"units.changes.{change.unit}")
        if merged & {change.unit, change.parent, change.into} or (change.into and change.parent):
            yield Problem("region.unit_merged", f"units.changes.{change.unit}", params={"code": change.unit})
        if change.into is not None and change.unit in parents:
            merged.add(change.unit)
            parents[change.unit] = change.into
            if _in_circle(change.unit, parents):
                yield Problem("region.circle", f"units.changes.{change.unit}", params={"code": change.unit})
        elif change.parent is not None and change.unit in parents:
            parents[change.unit] = change.parent
            yield from _tree_at(units, {change.unit: change.parent}, f"units.changes.{change.unit}")
            if _in_circle(change.unit, parents):
                yield Problem("region.circle", f"units.changes.{change.unit}", params={"code": change.unit})


def _tree_at(units: Mapping[str, UnitEntry], parents: Mapping[str, str | None], place: str) -> Iterator[Problem]:
    for code, parent in parents.items():
        unit = units[code]
        if parent is not None and parent not in units:
            continue  # named already
        kind = units[parent].kind if parent is not None else None
        if kind not in PARENT_KINDS[unit.kind]:
            said = {"code": code, "kind": unit.kind, "parent_kind": kind or ""}
            yield Problem("region.wrong_parent", f"{place}.{code}", params=said)
        elif len(parents) == len(units) and _in_circle(code, parents):
            yield Problem("region.circle", f"{place}.{code}", params={"code": code})


def _in_circle(code: str, parents: Mapping[str, str | None]) -> bool:
    seen: set[str] = set()
    at: str | None = code
    while at is not None:
        if at in seen:
            return True
        seen.add(at)
        at = parents.get(at)
    return False


def _sub_clouds(region: Region) -> Iterator[Problem]:
    """1 + N + 14: one main cloud, at most one for a city; who decides does not deliver (Art. 17)."""
    units = _units(region)
    mains = [cloud.code for cloud in region.sub_clouds if cloud.tier == "main"]
    if len(mains) != 1:
        yield Problem("region.one_main_cloud", "sub_clouds", article="Art. 2(2)", params={"found": len(mains)})
    of_city = Counter(cloud.division for cloud in region.sub_clouds if cloud.tier == "city")
    for index, cloud in enumerate(region.sub_clouds):
        here = f"sub_clouds[{index}]"
        division = units.get(cloud.division or "")
        if cloud.tier == "city" and (division is None or division.kind != "city"):
            yield Problem("region.city_needed", f"{here}.division")
        if cloud.tier == "city" and of_city[cloud.division] > 1:
            yield Problem("region.two_clouds", f"{here}.division", params={"code": cloud.division or ""})
        yield from _authorities(region, cloud, here)
        yield from _capacity(region, cloud, here)


def _authorities(region: Region, cloud: SubCloudEntry, here: str) -> Iterator[Problem]:
    starts = [region.since(authority) for authority in cloud.authorities]
    if starts != sorted(set(starts)):
        yield Problem("region.order", f"{here}.authorities")
    for number, authority in enumerate(cloud.authorities):
        if authority.decides == authority.delivers:
            yield Problem("region.same_authority", f"{here}.authorities[{number}]", article="Art. 17")


def _capacity(region: Region, cloud: SubCloudEntry, here: str) -> Iterator[Problem]:
    """What is offered has a capacity, and an image has an architecture that the cloud has."""
    offering = region.offerings.get(cloud.offering)
    if offering is None:
        return
    for server in offering.servers:
        if server.cpu_arch not in cloud.capacity.compute:
            yield Problem("region.no_capacity", f"{here}.capacity.compute", params={"code": server.cpu_arch})
    for volume in offering.volumes:
        if volume.block_class not in cloud.capacity.block:
            yield Problem("region.no_capacity", f"{here}.capacity.block", params={"code": volume.block_class})
    arch_of = {image.code: image.cpu_arch for image in region.images}
    offered = {server.cpu_arch for server in offering.servers}
    for image in cloud.images:
        if image in arch_of and arch_of[image] not in offered:
            yield Problem("region.image_arch", f"{here}.images", params={"code": image})


def _homes(region: Region) -> Iterator[Problem]:
    """Every unit has a home; only an accredited cloud is one (Art. 16(1)); a city's cloud serves its own city."""
    units, clouds = _units(region), _clouds(region)
    roots = {unit.code for unit in region.units.more if unit.kind == "region"}
    if not any(rule.unit in roots and region.since(rule) == region.valid_from for rule in region.home_clouds):
        yield Problem("region.no_home", "home_clouds")
    for index, rule in enumerate(region.home_clouds):
        cloud, here = clouds.get(rule.cloud), f"home_clouds[{index}]"
        if cloud is None or rule.unit not in units:
            continue
        if cloud.accredited_on is None or cloud.accredited_on > region.since(rule):
            yield Problem("region.not_accredited", here, "Art. 16(1)", {"code": cloud.code})
        if cloud.tier == "city" and cloud.division not in _upwards(rule.unit, units):
            yield Problem("region.other_city", here, "Art. 16(2)", {"code": cloud.code})


def _upwards(code: str, units: Mapping[str, UnitEntry]) -> set[str]:
    seen: set[str] = set()
    at: str | None = code
    while at is not None and at in units and at not in seen:
        seen.add(at)
        at = units[at].parent
    return seen


def _payers(region: Region) -> Iterator[Problem]:
    """Every tier has a payer for everybody, and a city without a cloud pays for the main one itself (Art. 16(2))."""
    roots = {unit.code for unit in region.units.more if unit.kind == "region"}
    everywhere = [rule for rule in region.payers if rule.cloud is None]
    from_the_start = {(rule.unit, rule.tier) for rule in everywhere if region.since(rule) == region.valid_from}
    for root in roots:
        for tier in ("main", "industry", "city"):
            if (root, tier) not in from_the_start:
                yield Problem("region.no_payer", "payers", params={"code": tier})
    with_cloud = {cloud.division for cloud in region.sub_clouds if cloud.tier == "city"}
    paying = {rule.unit for rule in everywhere if rule.tier == "main" and rule.pays == rule.unit}
    for unit in region.units.more:
        if unit.kind == "city" and unit.code not in with_cloud | paying:
            yield Problem("region.city_must_pay", "payers", article="Art. 16(2)", params={"code": unit.code})


def _prices(region: Region) -> Iterator[Problem]:
    """Whatever is metered has a price; a price of an operator is one of a cloud's."""
    priced = {
        price.meter
        for price in region.prices
        if price.side == "charge"
        and not price.term_months
        and (price.cloud, price.operator, price.unit_class) == (None, None, None)
    }
    for meter in METERS:
        if meter not in priced:
            yield Problem("region.no_price", "prices", params={"code": meter})
    operators = _operators(region)
    for index, price in enumerate(region.prices):
        if price.operator is not None and price.operator not in operators:  # it would hold nowhere, in silence
            said = {"code": price.operator, "expected": ", ".join(sorted(operators))}
            yield Problem("region.unknown_value", f"prices[{index}].operator", params=said)


def _operators(region: Region) -> set[str]:
    """Who operates a cloud of the file at some time."""
    return {
        name
        for cloud in region.sub_clouds
        for name in (cloud.operator, *(change.operator for change in cloud.operator_changes))
    }


def _people(region: Region) -> Iterator[Problem]:
    """Who approves does not deliver (Art. 17); a deputy stands in for a role that its principal has.

    A cloud operator's people name the operator of a cloud of the file (Art. 15).
    """
    operators = _operators(region)
    roles = {person.login: frozenset(person.roles) for person in region.people}
    for index, person in enumerate(region.people):
        if roles[person.login] >= {Role.APPROVER, Role.OPERATOR}:
            yield Problem("region.duties_together", f"people[{index}].roles", article="Art. 17")
        if person.operator is not None and (
            Role.CLOUD_OPERATOR not in person.roles or person.operator not in operators
        ):
            said = {"code": person.operator, "expected": ", ".join(sorted(operators))}
            yield Problem("region.unknown_value", f"people[{index}].operator", params=said)
        if Role.SYSTEM in roles[person.login]:
            allowed = ", ".join(role.value for role in Role if role is not Role.SYSTEM)
            said = {"code": Role.SYSTEM.value, "expected": allowed}
            yield Problem("region.unknown_value", f"people[{index}].roles", params=said)
    for index, deputy in enumerate(region.deputies):
        here = f"deputies[{index}]"
        if deputy.principal == deputy.deputy:
            yield Problem("region.own_deputy", here)
        if deputy.role not in roles.get(deputy.principal, frozenset({deputy.role})):
            yield Problem("region.role_missing", f"{here}.role", params={"code": deputy.role.value})
        if deputy.until <= deputy.since:
            yield Problem("region.order", f"{here}.to")


def _dates(region: Region) -> Iterator[Problem]:
    """No rule is older than the region itself, and none lies absurdly far ahead."""
    last = region.valid_from + timedelta(days=365 * 100)
    dated: list[tuple[str, date]] = [
        *((f"home_clouds[{i}].from", region.since(rule)) for i, rule in enumerate(region.home_clouds)),
        *((f"payers[{i}].from", region.since(rule)) for i, rule in enumerate(region.payers)),
        *((f"finance_offices[{i}].from", region.since(rule)) for i, rule in enumerate(region.finance_offices)),
        *((f"prices[{i}].from", region.since(price)) for i, price in enumerate(region.prices)),
        *(
            (f"sub_clouds[{i}].operator_changes[{n}].from", change.since)
            for i, cloud in enumerate(region.sub_clouds)
            for n, change in enumerate(cloud.operator_changes)
        ),
        *(
            (f"sub_clouds[{i}].authorities[{n}].from", region.since(authority))
            for i, cloud in enumerate(region.sub_clouds)
            for n, authority in enumerate(cloud.authorities)
        ),
    ]
    for place, day in dated:
        if day < region.valid_from:
            yield Problem("region.too_early", place)
        if day > last:
            yield Problem("region.too_late", place)


_CHECKS: tuple[Callable[[Region], Iterator[Problem]], ...] = (
    _twice,
    unknown_names,
    _tree,
    _sub_clouds,
    _homes,
    _payers,
    _prices,
    _people,
    _dates,
    plan_problems,
)
