"""What each section of a region file wants in which table.

Called by: ``region.loader``. Must not: write (``region.rows`` does, once everything was looked at).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import Range

from broker.catalog.models import HomeCloud, Image, Offering, SubCloud, SubCloudAuthority, SubCloudOperator
from broker.inventory.models import InformationSystem, SystemRevision
from broker.inventory.register import to_json
from broker.lifecycle import Role
from broker.pricing.models import FinanceOffice, Payer, TariffPrice
from broker.region.dated import Wanted
from broker.region.rows import BEGINNING, Plain, Run, midnight
from broker.region.schema import SubCloudEntry
from broker.region.tree import division_of, standings
from broker.tenancy.models import Account, Deputy, Person, RoleGrant, Unit, UnitPeriod

SIMULATED = "simulated"


def units(run: Run) -> None:
    """Units, and where each stood in the tree."""
    entries = {unit.code: unit for unit in run.region.units.more}
    ids = run.plain(
        Unit,
        (
            Plain(
                {"code": unit.code},
                {"kind": unit.kind, "division_code": division_of(unit, entries)},
                {},
                f"units.{unit.code}",
            )
            for unit in entries.values()
        ),
    )
    run.ids["unit"] = unit_ids = {code: id_ for (code,), id_ in ids.items()}
    run.dated(
        UnitPeriod,
        ("unit_id",),
        (
            Wanted(
                (unit_ids[standing.unit],),
                midnight(standing.since),
                {
                    "parent_id": None if standing.parent is None else unit_ids[standing.parent],
                    "name": standing.name,
                    "ancestors": [unit_ids[code] for code in standing.ancestors],
                    "merged_into_id": unit_ids[standing.ancestors[-2]] if standing.merged else None,
                },
                f"units.{standing.unit}",
            )
            for standing in standings(run.region)
        ),
    )


def clouds(run: Run) -> None:
    """Sub-clouds with their authorities, offerings and images."""
    ids = run.plain(
        SubCloud,
        (
            Plain(
                {"code": cloud.code},
                {"tier": cloud.tier, "provider": cloud.provider, "division_code": cloud.division},
                {
                    "name": cloud.name,
                    "options": options_of(run, cloud),
                    "options_ref": cloud.options_ref,
                    "mlps_level": cloud.mlps_level,
                    "zones": list(cloud.zones),
                    "unified_management": cloud.unified_management,
                    "accredited_at": None if cloud.accredited_on is None else midnight(cloud.accredited_on),
                    "position": position,
                },
                f"sub_clouds[{position}]",
            )
            for position, cloud in enumerate(run.region.sub_clouds)
        ),
    )
    run.ids["cloud"] = {code: id_ for (code,), id_ in ids.items()}
    # A misspelt name, or a contract that the file learns of late, is put right; but for closed months (``closed``).
    run.dated(SubCloudOperator, ("sub_cloud_id",), _operators(run), open_past=True)
    run.dated(SubCloudAuthority, ("sub_cloud_id", "duty"), _authorities(run))
    run.plain(Offering, _offerings(run))
    run.plain(Image, _images(run))


def options_of(run: Run, cloud: SubCloudEntry) -> dict[str, str]:
    """The adapter's options that are no secret. A simulated cloud is as large as its capacity says."""
    if cloud.provider != SIMULATED:
        return dict(cloud.options)
    names = {image.code: image.provider_name or image.code for image in run.region.images}
    sizes: dict[str, str] = {"images": ",".join(names[code] for code in cloud.images)}
    for arch in ("x86_64", "aarch64"):
        compute = cloud.capacity.compute.get(arch)
        sizes[f"vcpu_{arch}"] = str(int(compute.cores * compute.vcpu_ratio) if compute else 0)
        sizes[f"cores_{arch}"] = str(compute.cores if compute else 0)
        sizes[f"memory_gib_{arch}"] = str(compute.memory_gib if compute else 0)
    for block_class in ("ssd", "hdd"):
        block = cloud.capacity.block.get(block_class)
        sizes[f"block_{block_class}_gib"] = str(block.gib if block else 0)
    return {**sizes, **cloud.options}


def _operators(run: Run) -> Iterator[Wanted]:
    for index, cloud in enumerate(run.region.sub_clouds):
        key, here = (run.ids["cloud"][cloud.code],), f"sub_clouds[{index}]"
        yield Wanted(key, BEGINNING, {"operator": cloud.operator}, f"{here}.operator")
        for number, change in enumerate(cloud.operator_changes):
            values = {"operator": change.operator}
            yield Wanted(key, midnight(change.since), values, f"{here}.operator_changes[{number}]")


def _authorities(run: Run) -> Iterator[Wanted]:
    unit, cloud_id = run.ids["unit"], run.ids["cloud"]
    for index, cloud in enumerate(run.region.sub_clouds):
        for number, authority in enumerate(cloud.authorities):
            duties = {"decide": authority.decides, "assess": authority.assesses, "deliver": authority.delivers}
            for duty, code in duties.items():
                yield Wanted(
                    (cloud_id[cloud.code], duty),
                    run.since(authority),
                    {"unit_id": unit[code]},
                    f"sub_clouds[{index}].authorities[{number}]",
                )


def _offerings(run: Run) -> Iterator[Plain]:
    def offer(cloud: SubCloudEntry, kind: str, cpu_arch: str = "", block_class: str = "", **most: int | None) -> Plain:
        key = {"sub_cloud_id": run.ids["cloud"][cloud.code], "kind": kind}
        sizes = {"max_vcpu": None, "max_memory_gib": None, "max_disk_gib": None}
        place = f"offerings.{cloud.offering}"
        return Plain({**key, "cpu_arch": cpu_arch, "block_class": block_class}, {}, {**sizes, **most}, place)

    for cloud in run.region.sub_clouds:
        offering = run.region.offerings[cloud.offering]
        for server in offering.servers:
            yield offer(
                cloud,
                "server",
                cpu_arch=server.cpu_arch,
                max_vcpu=server.max_vcpu,
                max_memory_gib=server.max_memory_gib,
                max_disk_gib=server.max_system_disk_gib,
            )
        for volume in offering.volumes:
            yield offer(cloud, "volume", block_class=volume.block_class, max_disk_gib=volume.max_gib)
        if offering.segments:
            yield offer(cloud, "segment")


def _images(run: Run) -> Iterator[Plain]:
    images = {image.code: image for image in run.region.images}
    for cloud in run.region.sub_clouds:
        for code in cloud.images:
            image = images[code]
            yield Plain(
                {"sub_cloud_id": run.ids["cloud"][cloud.code], "code": code},
                {"cpu_arch": image.cpu_arch},
                {"name": image.name, "provider_name": image.provider_name or code},
                f"images.{code}",
            )


def rules(run: Run) -> None:
    """Home clouds, payers, their finance offices and prices: dated rules."""
    unit, cloud = run.ids["unit"], run.ids["cloud"]
    run.dated(
        HomeCloud,
        ("unit_id",),
        (
            Wanted(
                (unit[rule.unit],),
                run.since(rule),
                {"sub_cloud_id": cloud[rule.cloud], "article": rule.article},
                f"home_clouds[{index}]",
            )
            for index, rule in enumerate(run.region.home_clouds)
        ),
    )
    run.dated(
        Payer,
        ("unit_id", "tier", "sub_cloud_id"),
        (
            Wanted(
                (unit[rule.unit], rule.tier, None if rule.cloud is None else cloud[rule.cloud]),
                run.since(rule),
                {"payer_unit_id": unit[rule.pays], "rule": rule.rule, "article": rule.article},
                f"payers[{index}]",
            )
            for index, rule in enumerate(run.region.payers)
        ),
    )
    run.dated(
        FinanceOffice,
        ("office_unit_id",),
        (
            Wanted(
                (unit[rule.office],), run.since(rule), {"payer_unit_id": unit[rule.payer]}, f"finance_offices[{index}]"
            )
            for index, rule in enumerate(run.region.finance_offices)
        ),
    )
    run.dated(
        TariffPrice,
        ("side", "meter", "sub_cloud_id", "operator", "unit_class", "term_months"),
        (
            Wanted(
                (
                    price.side,
                    price.meter,
                    None if price.cloud is None else cloud[price.cloud],
                    price.operator,
                    price.unit_class,
                    price.term_months,
                ),
                run.since(price),
                {
                    "price_cny": price.price_cny,
                    "per": price.per,
                    "discount": price.discount,
                    "free_quantity": price.free_quantity,
                    "charged_when_stopped": price.charged_when_stopped,
                    "version": price.version,
                    "source": price.source,
                },
                f"prices[{index}]",
            )
            for index, price in enumerate(run.region.prices)
        ),
    )


def systems(run: Run) -> None:
    """Information systems (Art. 26) with their revisions. How they are used is the register's from then on."""
    entries = {system.code: system for system in run.region.information_systems}
    ids = run.plain(
        InformationSystem,
        (
            Plain(
                {"code": system.code},
                {"unit_id": run.ids["unit"][system.unit]},
                system.model_dump(include=set(NAMED_IN_REGION)),
                f"information_systems[{index}]",
            )
            for index, system in enumerate(run.region.information_systems)
        ),
    )
    new = run.inserts[InformationSystem]
    for row in new:
        entry = entries[row["code"]]
        other = ids[(entry.replaceable_by,)] if entry.replaceable_by else None
        row.update(entry.model_dump(include=set(USED)))
        row.update(replaceable_by_id=other, registered_at=run.now, version=1)
    new.sort(key=lambda row: row["replaceable_by_id"] is not None)  # what is referred to comes first
    held = {row.id: row._asdict() for row in run.session.execute(select(*InformationSystem.__table__.columns))}
    for row in run.updates[InformationSystem]:
        row["version"] = held[row["id"]]["version"] + 1
    for row in [*new, *run.updates[InformationSystem]]:
        run.inserts[SystemRevision].append(
            {
                "system_id": row["id"],
                "version": row["version"],
                "at": run.now,
                "source": "region",
                "entry": to_json({**held.get(row["id"], {}), **row}),
            }
        )


NAMED_IN_REGION = (
    "name", "mlps_level", "function", "scope_of_use", "frequency_of_use", "approving_department", "approved_on",
    "funding_source",
)  # fmt: skip
USED = (
    "in_use_since", "monthly_users", "last_business_on", "business_stopped_on", "last_maintained_on",
    "maintenance_until", "reported_on",
)  # fmt: skip


def people(run: Run, password_hash: Callable[[], str | None]) -> None:
    """Accounts with their people, roles and deputies. A person who was blanked stays blank."""
    _accounts(run, password_hash)
    unit_since = midnight(run.region.valid_from)
    account = run.ids["account"]
    grants = {(row.account_id, row.role): row for row in run.session.execute(_CURRENT_GRANTS, {})}
    new = {row["id"] for row in run.inserts[Account]}
    for person in run.region.people:
        for role in person.roles:
            operator = person.operator if role is Role.CLOUD_OPERATOR else None
            held = grants.get((account[person.login], role.value))
            if held is None:
                since = unit_since if account[person.login] in new else run.now
                values = {"account_id": account[person.login], "role": role.value, "operator": operator}
                run.add(RoleGrant, values | {"during": Range(since, None)})
            elif operator != held.operator:  # it was renamed, or the file names it only now
                run.updates[RoleGrant].append({"id": held.id, "operator": operator})
    _deputies(run)


_CURRENT_GRANTS = select(RoleGrant.id, RoleGrant.account_id, RoleGrant.role, RoleGrant.operator)


def _accounts(run: Run, password_hash: Callable[[], str | None]) -> None:
    known = {
        row.login: row
        for row in run.session.execute(
            select(
                Account.id, Account.login, Account.unit_id, Account.person_id, Account.password_hash,
                Person.name, Person.title, Person.phone, Person.email, Person.blanked_at,
            ).outerjoin(Person, Person.id == Account.person_id)
        )
    }  # fmt: skip
    for index, entry in enumerate(run.region.people):
        unit_id = run.ids["unit"][entry.unit]
        personal = {"name": entry.name, "title": entry.title, "phone": entry.phone, "email": entry.email}
        row = known.get(entry.login)
        if row is None:
            person_id = run.add(Person, personal)
            values = {"unit_id": unit_id, "person_id": person_id, "password_hash": password_hash()}
            run.ids["account"][entry.login] = run.add(Account, {"login": entry.login, **values})
            continue
        run.ids["account"][entry.login] = row.id
        _edit_account(run, row, unit_id, personal, f"people[{index}]")
        if row.password_hash is None and password_hash() is not None:
            run.updates[Account].append({"id": row.id, "password_hash": password_hash()})


def _edit_account(run: Run, row: Any, unit_id: UUID, personal: dict[str, str], place: str) -> None:
    """Names and telephone numbers may be edited; who changes units gets a new account (decisions name the old one)."""
    if row.unit_id != unit_id:
        run.refuse("region.fixed", f"{place}.unit")
    if row.blanked_at is None and any(getattr(row, name) != value for name, value in personal.items()):
        run.updates[Person].append({"id": row.person_id, **personal})


def _deputies(run: Run) -> None:
    account = run.ids["account"]
    known = {
        (row.principal_id, row.deputy_id, row.role, row.during.lower): row
        for row in run.session.execute(select(*Deputy.__table__.columns))
        if not row.during.isempty
    }
    for index, entry in enumerate(run.region.deputies):
        since, until = midnight(entry.since), midnight(entry.until)
        key = (account[entry.principal], account[entry.deputy], entry.role.value, since)
        row = known.get(key)
        values = {"reason": entry.reason, "during": Range(since, until)}
        if row is None:
            named = {"principal_id": key[0], "deputy_id": key[1], "role": key[2]}
            run.add(Deputy, {**named, **values})
        elif row.during.upper != until and (row.during.upper is None or min(row.during.upper, until) < run.now):
            run.refuse("region.history", f"deputies[{index}].to")
        elif (row.reason, row.during.upper) != (entry.reason, until):
            run.updates[Deputy].append({"id": row.id, **values})
