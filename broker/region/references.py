"""Every code that a region file names must exist in it. Pure.

Called by: ``region.checks``. Must not: judge anything else.
"""

from __future__ import annotations

from collections.abc import Iterator

from broker.errors import Problem
from broker.region.schema import Region

Named = tuple[str, str, str | None]
"""(kind of thing, place in the file, code); an absent code names nothing."""


def unknown_names(region: Region) -> Iterator[Problem]:
    """A problem for each code that names nothing."""
    known: dict[str, set[str]] = {
        "unit": {unit.code for unit in region.units.more},
        "cloud": {cloud.code for cloud in region.sub_clouds},
        "image": {image.code for image in region.images},
        "zone": {zone.code for zone in region.zones},
        "person": {person.login for person in region.people},
        "offering": set(region.offerings),
        "system": {system.code for system in region.information_systems},
    }
    for naming in (_by_units, _by_clouds, _by_rules, _by_amounts, _by_people):
        for kind, place, code in naming(region):
            if code is not None and code not in known[kind]:
                yield Problem(f"region.unknown_{kind}", place, params={"code": code})


def _by_units(region: Region) -> Iterator[Named]:
    for unit in region.units.more:
        yield "unit", f"units.{unit.code}.parent", unit.parent
    for index, change in enumerate(region.units.changes):
        yield "unit", f"units.changes[{index}].unit", change.unit
        yield "unit", f"units.changes[{index}].parent", change.parent
        yield "unit", f"units.changes[{index}].into", change.into


def _by_clouds(region: Region) -> Iterator[Named]:
    for index, cloud in enumerate(region.sub_clouds):
        here = f"sub_clouds[{index}]"
        yield "unit", f"{here}.division", cloud.division
        yield "offering", f"{here}.offering", cloud.offering
        for image in cloud.images:
            yield "image", f"{here}.images", image
        for zone in cloud.zones:
            yield "zone", f"{here}.zones", zone
        for number, authority in enumerate(cloud.authorities):
            duty = f"{here}.authorities[{number}]"
            yield "unit", f"{duty}.decides", authority.decides
            yield "unit", f"{duty}.assesses", authority.assesses
            yield "unit", f"{duty}.delivers", authority.delivers


def _by_rules(region: Region) -> Iterator[Named]:
    for index, home in enumerate(region.home_clouds):
        yield "unit", f"home_clouds[{index}].unit", home.unit
        yield "cloud", f"home_clouds[{index}].cloud", home.cloud
    for index, payer in enumerate(region.payers):
        yield "unit", f"payers[{index}].unit", payer.unit
        yield "unit", f"payers[{index}].pays", payer.pays
        yield "cloud", f"payers[{index}].cloud", payer.cloud
    for index, office in enumerate(region.finance_offices):
        yield "unit", f"finance_offices[{index}].office", office.office
        yield "unit", f"finance_offices[{index}].payer", office.payer


def _by_amounts(region: Region) -> Iterator[Named]:
    for index, price in enumerate(region.prices):
        yield "cloud", f"prices[{index}].cloud", price.cloud
    for index, quota in enumerate(region.quotas):
        yield "unit", f"quotas[{index}].unit", quota.unit
        yield "cloud", f"quotas[{index}].cloud", quota.cloud
    for index, zone in enumerate(region.ipv6.zones):
        yield "zone", f"ipv6.zones[{index}].zone", zone.zone
    for index, private in enumerate(region.ipv6.private):
        yield "unit", f"ipv6.private[{index}].unit", private.unit


def _by_people(region: Region) -> Iterator[Named]:
    for index, person in enumerate(region.people):
        yield "unit", f"people[{index}].unit", person.unit
    for index, deputy in enumerate(region.deputies):
        yield "person", f"deputies[{index}].for", deputy.principal
        yield "person", f"deputies[{index}].by", deputy.deputy
    for index, system in enumerate(region.information_systems):
        yield "unit", f"information_systems[{index}].unit", system.unit
        yield "system", f"information_systems[{index}].replaceable_by", system.replaceable_by
