"""Placement: which sub-cloud takes an item, and for each of the others why not. Pure.

Called by: ``assessment.service``. Must not: import SQL, web, cloud or engine.

Named filters say yes or no with the article that decides (empty: the rule is ours); weights order those that pass. All
filters run for every candidate, so that the record says everything that is in the way and not only the first thing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from broker.assessment.values import Judgement, Verdict, Wish
from broker.catalog.values import Candidate, Offered
from broker.extranet.values import Attachable
from broker.inventory.rules import Amounts, amounts, total
from broker.request.values import Item, SegmentItem, ServerItem, VolumeItem, item_spec
from quotas.values import ResourceClass

_HOME_WEIGHT = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """What placement must know of the request besides its items."""

    unit_kind: str
    mlps_level: int
    target_id: UUID
    home_id: UUID | None
    home_article: str
    authorities: Mapping[str, UUID]
    attached: Mapping[str, Attachable] | None = None
    """By sub-cloud's code: what the extranet has for the unit there. None: no extranet."""


Left = Mapping[ResourceClass, int | None]
"""What a sub-cloud has left, by class; ``None`` is unbounded, absent is not offered."""


def judge(
    wish: Wish, wishes: Sequence[Wish], asked: Asked, candidates: Sequence[Candidate], left: Mapping[UUID, Left]
) -> list[Judgement]:
    """Every candidate's verdicts and weight for one item of a request, best first."""
    need = total(item_amounts(w.item) for w in wishes)
    own_zones = {w.item.zone.value for w in wishes if isinstance(w.item, SegmentItem)}
    main = next((c.id for c in candidates if c.tier == "main"), None)
    out = []
    for candidate in candidates:
        free = left.get(candidate.id, {})
        verdicts = (
            _home(candidate, asked, main, candidates),
            _accredited(candidate),
            _authority(candidate, asked),
            _mlps(candidate, asked),
            _zone(candidate, wish.item, own_zones),
            _offering(candidate, wish.item),
            _image(candidate, wish.item),
            _capacity(free, need),
            _health(candidate),
            *_extranet(candidate, wish.item, asked.attached),
        )
        weight = _weight(candidate, asked, free, need)
        out.append(Judgement(candidate.id, candidate.code, candidate.name, verdicts, weight))
    position = {c.id: c.position for c in candidates}
    return sorted(out, key=lambda j: (not j.passed, -j.weight, position[j.sub_cloud_id]))


def item_amounts(item: Item) -> Amounts:
    """What a whole item takes: all its pieces with their disks."""
    pieces = [amounts(item.kind.value, item_spec(item))]
    if isinstance(item, ServerItem):
        pieces += [amounts("volume", {"block_class": d.block_class, "size_gib": d.size_gib}) for d in item.data_disks]
    return {resource_class: amount * item.count for resource_class, amount in total(pieces).items()}


def _home(candidate: Candidate, asked: Asked, main: UUID | None, candidates: Sequence[Candidate]) -> Verdict:
    """A unit's own cloud; from an accredited industry cloud also the main one (ours, since no article says it)."""
    if candidate.id == asked.home_id:
        return Verdict("home", True, "home.own", asked.home_article)
    home = next((c for c in candidates if c.id == asked.home_id), None)
    if candidate.id == main and home is not None and home.tier == "industry":
        return Verdict("home", True, "home.main_instead_of_industry")
    if asked.unit_kind == "county":
        return Verdict("home", False, "home.county_uses_city_cloud", "Art. 16(2)")
    if candidate.tier == "city":
        return Verdict("home", False, "home.city_cloud_of_others", "Art. 16(2)")
    if candidate.tier == "industry":
        return Verdict("home", False, "home.industry_cloud_of_others", "Art. 2(2)")
    return Verdict("home", False, "home.has_its_own", "Art. 16(2)")


def _accredited(candidate: Candidate) -> Verdict:
    return Verdict(
        "accredited", candidate.accredited, "accredited.yes" if candidate.accredited else "accredited.no", "Art. 16(1)"
    )


def _authority(candidate: Candidate, asked: Asked) -> Verdict:
    """Whoever approved must be who decides for that cloud; else the request has to go to the other authority first."""
    same = all(candidate.authorities.get(duty) == unit for duty, unit in asked.authorities.items())
    return Verdict("authority", same, "authority.same" if same else "authority.other", "Art. 14")


def _mlps(candidate: Candidate, asked: Asked) -> Verdict:
    enough = candidate.mlps_level >= asked.mlps_level
    params = {"cloud": candidate.mlps_level, "system": asked.mlps_level}
    return Verdict("mlps", enough, "mlps.enough" if enough else "mlps.too_low", "Art. 18(1)", params)


def _zone(candidate: Candidate, item: Item, own_zones: set[str]) -> Verdict:
    if isinstance(item, VolumeItem):
        return Verdict("zone", True, "zone.not_needed")
    zone = item.zone.value
    if zone not in candidate.zones:
        return Verdict("zone", False, "zone.not_served", "Art. 2(3)", {"zone": zone})
    if isinstance(item, ServerItem) and zone not in own_zones | candidate.segment_zones:
        return Verdict("zone", False, "zone.no_segment_here", "", {"zone": zone})
    return Verdict("zone", True, "zone.served", "Art. 2(3)", {"zone": zone})


def _fits(offer: Offered, item: Item) -> bool:
    if isinstance(item, ServerItem):
        wanted = ((item.vcpu, offer.max_vcpu), (item.memory_gib, offer.max_memory_gib))
        disk = ((item.system_disk_gib, offer.max_disk_gib),)
        return offer.cpu_arch == item.cpu_arch and all(m is None or w <= m for w, m in (*wanted, *disk))
    if isinstance(item, VolumeItem):
        return offer.block_class == item.block_class and (
            offer.max_disk_gib is None or item.size_gib <= offer.max_disk_gib
        )
    return True


def _offering(candidate: Candidate, item: Item) -> Verdict:
    """The item itself, and each data disk of a server, which is a disk like any other."""
    if not any(o.kind == item.kind.value and _fits(o, item) for o in candidate.offers):
        return Verdict("offering", False, "offering.none", "", {"kind": item.kind.value})
    for disk in item.data_disks if isinstance(item, ServerItem) else ():
        offers = [o for o in candidate.offers if o.kind == "volume" and o.block_class == disk.block_class]
        if not any(o.max_disk_gib is None or disk.size_gib <= o.max_disk_gib for o in offers):
            most = max((o.max_disk_gib or 0 for o in offers), default=0)
            code = "offering.data_disk_too_large" if offers else "offering.no_data_disk"
            params = {"block_class": disk.block_class, "size": disk.size_gib, "most": most}
            return Verdict("offering", False, code, "", params)
    return Verdict("offering", True, "offering.fits", "", {"kind": item.kind.value})


def _image(candidate: Candidate, item: Item) -> Verdict:
    if not isinstance(item, ServerItem):
        return Verdict("image", True, "image.not_needed")
    there = item.image in candidate.images
    return Verdict("image", there, "image.there" if there else "image.missing", "", {"image": item.image})


def _capacity(free: Left, need: Amounts) -> Verdict:
    """All of the request's items together must fit: they are delivered together."""
    short = {
        resource_class.value: f"{amount} > {free.get(resource_class, 0)}"
        for resource_class, amount in sorted(need.items())
        if resource_class not in free or not _enough(free[resource_class], amount)
    }
    if short:
        return Verdict("capacity", False, "capacity.short", "", {"short": short})
    return Verdict("capacity", True, "capacity.enough")


def _enough(free: int | None, amount: int) -> bool:
    return free is None or amount <= free


def _health(candidate: Candidate) -> Verdict:
    if candidate.healthy is None:
        return Verdict("health", False, "health.unknown")
    params = {"detail": candidate.health_detail} if candidate.health_detail else {}
    return Verdict(
        "health", candidate.healthy, "health.good" if candidate.healthy else "health.bad", "Art. 18(2)", params
    )


def _extranet(candidate: Candidate, item: Item, attached: Mapping[str, Attachable] | None) -> tuple[Verdict, ...]:
    """A segment needs a router where the sub-cloud is attached by what it can do, and a block of the unit's there.

    A cloud that never said what it can do has not said that it is well either: ``health`` refuses it.
    """
    if attached is None or not isinstance(item, SegmentItem):
        return ()
    zone = item.zone.value
    if candidate.code not in attached:
        return (Verdict("extranet", False, "extranet.cloud_not_attached"),)
    there = attached[candidate.code]
    if candidate.uplinks is not None and there.encapsulation not in candidate.uplinks:
        params = {"encapsulation": there.encapsulation.upper()}
        return (Verdict("extranet", False, "extranet.uplink_unsupported", "", params),)
    if zone not in there.zones:
        return (Verdict("extranet", False, "extranet.no_block", "", {"zone": zone}),)
    return (Verdict("extranet", True, "extranet.attached", "", {"zone": zone}),)


def _weight(candidate: Candidate, asked: Asked, free: Left, need: Amounts) -> int:
    """The target first, then where the scarcest resource stays least scarce: 0..1000, whole numbers only."""
    weight = _HOME_WEIGHT if candidate.id == asked.target_id else 0
    shares = [
        (free[c] - amount) * (1000 - _HOME_WEIGHT) // free[c]  # type: ignore[operator]
        for c, amount in need.items()
        if free.get(c)
    ]
    return weight + max(0, min(shares, default=1000 - _HOME_WEIGHT))
