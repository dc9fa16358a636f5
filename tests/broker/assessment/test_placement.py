"""Placement's filters, each with its article, over plain values."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID, uuid4

import pytest

from broker.assessment import rules
from broker.assessment.rules import Asked
from broker.assessment.values import Judgement, Wish
from broker.catalog.values import Candidate, Offered
from broker.request.values import Disk, Item, SegmentItem, ServerItem, VolumeItem, Zone
from quotas.values import ResourceClass

BUREAU, CENTER, CITY_BUREAU = uuid4(), uuid4(), uuid4()
OFFERS = (
    Offered("server", "x86_64", "", 64, 256, 2048),
    Offered("volume", "", "ssd", None, None, 4096),
    Offered("segment", "", "", None, None, None),
)
PLENTY = {
    ResourceClass.VCPU_X86_64: 1000,
    ResourceClass.MEMORY_GIB_X86_64: 4000,
    ResourceClass.BLOCK_GIB_SSD: 100_000,
    ResourceClass.IPV6_64: None,
}
SERVER = ServerItem("web", 2, 4, 8, 40, "debian-12", "x86_64", Zone.SHARED, (Disk(100, "ssd"),))
SEGMENT = SegmentItem("net", Zone.SHARED)


def cloud(code: str, tier: str, position: int, by: UUID = BUREAU) -> Candidate:
    return Candidate(
        id=uuid4(),
        code=code,
        name=code,
        tier=tier,
        position=position,
        mlps_level=3,
        zones=frozenset({"shared", "private"}),
        accredited=True,
        authorities={"decide": by, "assess": CENTER, "deliver": CENTER},
        offers=OFFERS,
        images=frozenset({"debian-12"}),
        healthy=True,
        health_detail="",
        segment_zones=frozenset(),
    )


MAIN, INDUSTRY, CITY = cloud("main", "main", 0), cloud("edu", "industry", 1), cloud("nanning", "city", 2)
CLOUDS = (MAIN, INDUSTRY, CITY)


def asked(kind: str, home: Candidate, target: Candidate | None = None, mlps: int = 2) -> Asked:
    target = target or home
    return Asked(kind, mlps, target.id, home.id, "Art. 16(2)", target.authorities)


def judge(asked_for: Asked, *items: Item, clouds: tuple[Candidate, ...] = CLOUDS, **short: int) -> list[Judgement]:
    wishes = [Wish(uuid4(), n, item) for n, item in enumerate(items)]
    left = {c.id: PLENTY | {ResourceClass(k): v for k, v in short.items()} for c in clouds}
    return rules.judge(wishes[0], wishes, asked_for, clouds, left)


def failed(judgements: list[Judgement], code: str) -> dict[str, str]:
    """Filter -> code of what did not pass, for one cloud."""
    found = next(j for j in judgements if j.code == code)
    return {v.filter: v.code for v in found.verdicts if not v.passed}


def test_a_county_deploys_on_its_citys_cloud() -> None:
    """Art. 16(2): counties and districts use the city's cloud, not the main one."""
    found = judge(asked("county", CITY), SERVER, SEGMENT)
    assert found[0].code == "nanning"
    assert found[0].passed
    assert failed(found, "main") == {"home": "home.county_uses_city_cloud"}
    verdict = next(v for v in found[1].verdicts if v.filter == "home")
    assert verdict.article == "Art. 16(2)"


def test_a_city_without_a_cloud_uses_the_main_one() -> None:
    """Art. 16(2): its home is the main cloud; other cities' clouds are not for it."""
    found = judge(asked("city", MAIN), SERVER, SEGMENT)
    assert found[0].code == "main"
    assert failed(found, "nanning") == {"home": "home.city_cloud_of_others"}


def test_a_department_with_an_industry_cloud_may_be_placed_on_the_main_one() -> None:
    """Ours: no article says it, so the verdict names none."""
    full = judge(asked("department", INDUSTRY), SERVER, SEGMENT)
    assert [j.code for j in full if j.passed] == ["edu", "main"]
    verdict = next(v for j in full if j.code == "main" for v in j.verdicts if v.filter == "home")
    assert verdict.article == ""


def test_a_cloud_with_another_authority_needs_another_approval() -> None:
    """Art. 14: nobody's approval is stretched to a cloud he does not answer for."""
    other = replace(MAIN, authorities={**MAIN.authorities, "decide": CITY_BUREAU})
    found = judge(asked("department", INDUSTRY), SERVER, SEGMENT, clouds=(other, INDUSTRY))
    assert failed(found, "main") == {"authority": "authority.other"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"accredited": False}, {"accredited": "accredited.no"}),
        ({"mlps_level": 1}, {"mlps": "mlps.too_low"}),
        ({"zones": frozenset({"private"})}, {"zone": "zone.not_served"}),
        ({"images": frozenset()}, {"image": "image.missing"}),
        ({"offers": OFFERS[1:]}, {"offering": "offering.none"}),
        ({"healthy": False}, {"health": "health.bad"}),
        ({"healthy": None}, {"health": "health.unknown"}),
    ],
)
def test_each_filter_says_no_for_its_own_reason(change: dict[str, object], expected: dict[str, str]) -> None:
    """All filters run for every candidate; each names what is in the way."""
    found = judge(asked("department", MAIN), SERVER, SEGMENT, clouds=(replace(MAIN, **change),))  # type: ignore[arg-type]
    assert failed(found, "main") == expected


def test_all_items_together_must_fit() -> None:
    """Two servers of 4 vCPU need 8; that 7 are left is said with both figures."""
    found = judge(asked("department", MAIN), SERVER, SEGMENT, clouds=(MAIN,), vcpu_x86_64=7)
    verdict = next(v for v in found[0].verdicts if v.filter == "capacity")
    assert not verdict.passed
    assert verdict.params["short"] == {"vcpu_x86_64": "8 > 7"}


def test_a_servers_disks_count_with_it() -> None:
    """System disk and data disk, each for every server: 2 x (40 + 100)."""
    assert rules.item_amounts(SERVER)[ResourceClass.BLOCK_GIB_SSD] == 280


@pytest.mark.parametrize(
    ("disk", "code"),
    [
        (Disk(4096, "ssd"), None),
        (Disk(4097, "ssd"), "offering.data_disk_too_large"),
        (Disk(1, "hdd"), "offering.no_data_disk"),
    ],
)
def test_a_data_disk_is_as_large_as_a_volume_may_be(disk: Disk, code: str | None) -> None:
    """Each of a server's data disks, the last too, against the offering of its class; both sizes are said."""
    server = replace(SERVER, count=1, data_disks=(Disk(100, "ssd"), disk))
    found = judge(asked("department", MAIN), server, SEGMENT, clouds=(MAIN,), block_gib_hdd=1000)
    assert failed(found, "main").get("offering") == code
    if code == "offering.data_disk_too_large":
        verdict = next(v for v in found[0].verdicts if v.filter == "offering")
        assert verdict.params == {"block_class": "ssd", "size": 4097, "most": 4096}


def test_a_server_needs_a_segment_of_its_zone_there() -> None:
    """Its own in the request, or one that the unit has in that cloud already."""
    assert failed(judge(asked("department", MAIN), SERVER, clouds=(MAIN,)), "main") == {"zone": "zone.no_segment_here"}
    with_one = replace(MAIN, segment_zones=frozenset({"shared"}))
    assert judge(asked("department", MAIN), SERVER, clouds=(with_one,))[0].passed


def test_a_volume_needs_neither_zone_nor_image() -> None:
    """And says so."""
    verdicts = {
        v.filter: v.code for v in judge(asked("department", MAIN), VolumeItem("data", 1, 100, "ssd"))[0].verdicts
    }
    assert verdicts["zone"] == "zone.not_needed"
    assert verdicts["image"] == "image.not_needed"


def test_the_target_comes_first_then_where_most_is_left() -> None:
    """Weights are whole numbers; the same input gives the same order."""
    found = judge(asked("department", INDUSTRY, target=MAIN), SERVER, SEGMENT)
    assert found[0].code == "main"
    assert all(isinstance(j.weight, int) and 0 <= j.weight <= 1000 for j in found)
    assert found == judge_again(found)


def judge_again(found: list[Judgement]) -> list[Judgement]:
    return sorted(found, key=lambda j: (not j.passed, -j.weight, CLOUDS_BY_CODE[j.code].position))


CLOUDS_BY_CODE = {c.code: c for c in CLOUDS}
