"""The extranet's map: empty without a topology; routers, zones, a segment through its states; for whom it is."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise, product
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import expect
from sqlalchemy import create_engine, text

from api.console.topology import draw, heard
from broker.delivery import cases
from broker.delivery.segments import ORDER, ExtranetMap, OpenGap, Segment, Standing, extranet_map, standing
from broker.delivery.values import Job
from broker.extranet import loading, looks, service
from broker.extranet.models import RouterLook
from broker.extranet.reading import read_topology
from broker.inventory.models import Resource
from broker.lifecycle import ResourceState
from broker.yaml_file import read_yaml
from providers.errors import Temporary
from providers.networking import RouterFacts
from tests.console.people import Console, Page
from tests.console.test_browser import DESK, PHONE, open_window
from tests.console.test_pages import blemishes
from tests.extranet import TOPOLOGY

__all__ = ["open_window"]

CLOUD = "jyt"
TOPOLOGY_READ = read_topology(TOPOLOGY)
_CLOSE = "UPDATE broker.desk_case SET action = 'retry', closed_at = now() WHERE resource_id = :r"


def loaded(console: Console) -> service.Loaded:
    """The laboratory's topology with the education department's cloud at its data centre, loaded if it is not yet."""
    document = dict(read_yaml(TOPOLOGY))
    document["access"][0]["sub_cloud"] = CLOUD
    with console.world.app.works.begin() as work:
        loading.load(work, document)
        work.session.flush()
        found = service.current(work.session)
    assert found is not None
    return found


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left(console: Console) -> Iterator[None]:
    """The console's world is many files': with a topology and no key for its routers nobody else's segments arrive."""
    yield
    owner = create_engine(console.server.database.owner_url)
    with owner.begin() as connection:
        connection.execute(text("TRUNCATE broker.extranet_topology CASCADE"))
    owner.dispose()


def segment_of(console: Console, request_id: UUID) -> Any:
    sql = "SELECT * FROM broker.resource WHERE request_id = :r AND kind = 'segment'"
    return console.world.rows(sql, r=request_id)[0]


def mark_of(page: Page, number: str) -> str:
    """The state in which the picture shows a segment."""
    links = [attrs.get("href", "") if tag == "a" else "" for tag, attrs in page.elements]
    at = next(n for n, link in enumerate(links) if link.endswith(f"#{number}"))
    return page.elements[at + 1][1]["class"].removeprefix("segment segment-")


def test_without_a_topology_the_page_says_how_to_load_one(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is loaded: the command, no picture. A topology is never taken back: the room is told of none."""
    monkeypatch.setattr(service, "current", lambda *_: None)
    page = console.person("apply.jyt").get("/extranet")
    assert "guiyun extranet load" in page.text
    assert "data-map" not in page.text
    assert "/extranet" in console.person("apply.jyt").get("/ipv6").links


def test_a_segment_is_on_the_map_in_every_state_and_in_the_table(
    console: Console, delivered: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Delivered before there was an extranet; being made; routed; on the desk; taken off its router."""
    loaded(console)
    segment = segment_of(console, delivered)
    applicant, works = console.person("apply.jyt"), console.world.app.works

    def see(state: str) -> Page:
        page = applicant.get("/extranet?router=dc")
        assert mark_of(page, segment.number) == state
        assert segment.number in page.ids
        assert blemishes(page) == []
        return page

    see("unrouted")
    with works.begin() as work:
        assert service.attach(work, CLOUD, [work.session.get_one(Resource, segment.id)]) == {}
    assert "3fff:122:" in see("making").text
    with works.begin() as work:
        service.verified(work, [segment.id])
    assert f"/extranet?router=dc#{segment.number}" in see("routed").links
    with works.begin() as work:
        (place,) = service.attachments(work.session, [segment.id])
        gaps = [["changed", place.vrf, str(place.prefix), str(segment.id)], ["foreign", place.vrf, "seg7", ""]]
        look = RouterLook(router="dc", looked_at=work.now, silent=False, down=[], gaps=gaps)
        unheard = RouterLook(router="dc", looked_at=work.now, silent=True, down=[], gaps=[])
    with monkeypatch.context() as patched:
        patched.setattr(looks, "last", lambda _: {"dc": look})
        differs = see("differs").text
        assert "路由器上配置被改动" in differs
        assert "seg7" not in differs
        assert "seg7" in console.person("admin").get("/extranet?router=dc").text
        patched.setattr(looks, "last", lambda _: {"dc": unheard})
        assert "状态不明" in see("silent").text
    job = Job(delivered, 1, delivered, CLOUD)
    with works.begin() as work:
        cases.put(work, job, "route_segments", "extranet.leak", segment.id)
    assert "待人工处理" in see("desk").text
    with works.begin() as work:
        work.session.execute(text(_CLOSE), {"r": segment.id})
        service.withdrawn(work, [segment.id])
    see("unrouted")


def test_only_ones_own_segments_and_tables_are_shown(console: Console, delivered: UUID) -> None:
    """A city's people see neither the department's segment nor its private table; the administrator sees all six."""
    loaded(console)
    number = segment_of(console, delivered).number
    stranger = console.person("apply.chongzuo").get("/extranet")
    assert number not in stranger.text
    assert "prv-" not in stranger.text
    assert "自治区核心" in stranger.text
    own = console.person("apply.jyt").get("/extranet").text
    assert "prv-jyt" in own
    assert "prv-slt" not in own
    everything = console.person("admin").get("/extranet").text
    assert number in everything
    assert all(f"prv-{name}" in everything for name in ("jyt", "lz", "gat", "slt"))
    assert "没有这台路由器" in console.person("admin").get("/extranet?router=nowhere", status=404).text
    console.person("finance").get("/extranet", status=403)
    with console.world.acting("admin") as work:
        found = extranet_map(work)
    assert found is not None
    assert len(found.vrfs) == 6


def test_the_map_says_what_the_last_audit_heard(console: Console) -> None:
    """Sessions that were up or down, of tables one may see, and a router that did not answer; before it: unknown."""
    loaded(console)
    assert mark_classes(console, "admin") == {"session-unknown"}
    core = {"sessions": {"p": {"name": "liuzhou", "state": "Active"}, "q": {"name": "nanning", "state": "Established"}}}
    heard = [RouterFacts("core", {"vrfs": {"prv-slt": core}}), RouterFacts("dc", error=Temporary("x"))]
    for _ in range(2):  # the next audit writes over it
        with console.world.app.works.begin() as work:
            looks.keep(work, heard)
    try:
        assert mark_classes(console, "admin") == {"session-up", "session-down", "session-lost", "session-unknown"}
        page = console.person("admin").get("/extranet")
        assert "会话中断：prv-slt" in page.text
        assert "上次核对时无应答" in page.text
        assert blemishes(page) == []
        assert mark_classes(console, "apply.jyt") == {"session-up", "session-lost", "session-unknown"}
    finally:
        with console.world.app.works.begin() as work:
            looks.keep(work, [RouterFacts(name, error=Temporary("x")) for name in ("core", "dc")])


@pytest.mark.parametrize(("silent", "near"), [("yufeng", "liuzhou"), ("liuzhou", "core")])
def test_the_sessions_of_a_router_that_does_not_answer_are_lost_with_it(silent: str, near: str) -> None:
    """One thing and not one for each table, as its neighbour hears them; but one of them down alone is a fault."""
    session = next(s for s in TOPOLOGY_READ.sessions if silent == s.lower)
    tables = {v.name for v in TOPOLOGY_READ.vrfs}

    def told(down: Collection[str], *unheard: str) -> tuple[str, list[str]]:
        last = {name: RouterLook(router=name, silent=name in unheard, down=[], gaps=[]) for name in (silent, near)}
        last[near].down = [[vrf, silent, "Active"] for vrf in down]
        return heard(ExtranetMap(TOPOLOGY_READ, TOPOLOGY_READ.vrfs, {}, {}, [], last), session, tables - {"prv-slt"})

    assert told(tables, silent) == ("lost", [])
    assert told([], silent, near) == ("lost", [])
    assert told(["shared"], silent) == ("down", ["shared"])
    assert told([], silent) == ("up", [])
    assert told(["internet", "prv-slt"]) == ("down", ["internet"])


def mark_classes(console: Console, who: str) -> set[str]:
    """How the lines between routers are drawn for somebody; the legend has one that is down and one that is lost."""
    elements = console.person(who).get("/extranet").elements
    classes = [attrs["class"] for tag, attrs in elements if tag == "path" and "session" in attrs.get("class", "")]
    for kind in ("down", "lost"):
        classes.remove(f"session session-{kind}")
    return {name.split()[1] for name in classes}


def test_every_state_of_a_resource_has_a_standing() -> None:
    """Whatever the rows say: what lies on a desk is on the desk, and only what was verified is called routed."""
    either = (False, True)
    for state, on_desk, verified, attached, withdrawn in product(ResourceState, either, either, either, either):
        how = standing(state, on_desk=on_desk, verified=verified, attached=attached, withdrawn=withdrawn)
        assert (how is Standing.DESK) == (on_desk or state is ResourceState.FAILED)
        if how is Standing.ROUTED:
            assert verified
            assert attached
            assert not withdrawn
            assert state in {ResourceState.ACTIVE, ResourceState.STOPPED}
        if how is Standing.WITHDRAWN:
            assert state in {ResourceState.UNDONE, ResourceState.RELEASED}


def test_marks_lie_in_their_routers_box_and_what_is_not_drawn_is_counted() -> None:
    """A router with more segments than fit: no two marks on one another, none outside, the rest as a number."""
    found = ExtranetMap(TOPOLOGY_READ, TOPOLOGY_READ.vrfs, {}, {}, [_segment(n) for n in range(400)])
    picture = draw(found)
    box = next(box for box in picture.boxes if box.router.name == "dc")
    marks = [mark for lane in box.lanes for mark in lane.marks]
    assert len({(mark.x, mark.y) for mark in marks}) == len(marks)
    assert all(box.x < mark.x and mark.x + picture.mark < box.x + picture.box_width for mark in marks)
    assert all(box.y + picture.head < mark.y and mark.y + picture.mark < box.y + box.height for mark in marks)
    assert len(marks) + sum(lane.more for lane in box.lanes) == 400
    assert max(box.y + box.height for box in picture.boxes) < picture.height
    boxes = sorted(picture.boxes, key=lambda box: (box.x, box.y))
    assert all(b.y >= a.y + a.height for a, b in pairwise(boxes) if a.x == b.x)
    assert len(picture.lines) == len(TOPOLOGY_READ.sessions)


def _segment(number: int) -> Segment:
    zone, state = ("shared", "private", "internet")[number % 3], ORDER[number % len(ORDER)]
    prefix = f"3fff:122:0:{number:x}::/64"
    return Segment(UUID(int=number), f"ZY-{number}", "net", "厅", zone, prefix, "dc", "shared", number + 1, state, None)


@pytest.mark.browser
def test_the_map_is_walked_by_keyboard_and_fits_a_phone(
    console: Console, delivered: UUID, open_window: object, screenshots: Any
) -> None:
    """From the core to the edge by arrow keys; Enter filters the table to the router."""
    loaded(console)
    opener: Any = open_window
    page = opener("admin", DESK).go("/extranet")
    page.screenshot(path=screenshots / "extranet-all.png", full_page=True)
    page.focus(".topology a[tabindex='0']")
    page.keyboard.press("ArrowRight")
    assert "南宁市" in page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#segments-title")).to_have_text("网段：政务云数据中心")
    expect(page.locator(f"[id='{segment_of(console, delivered).number}']")).to_be_visible()
    page.set_viewport_size({"width": PHONE["width"], "height": PHONE["height"]})
    page.screenshot(path=screenshots / "extranet-phone.png")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.mark.browser
def test_a_map_with_many_segments_is_drawn(
    console: Console, open_window: object, screenshots: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The picture of the README: a region's segments in all states, what needs a person first, sessions as heard."""
    loaded(console)
    monkeypatch.setattr("api.console.extranet.extranet_map", populated)
    opener: Any = open_window
    page = opener("admin", DESK).go("/extranet")
    drawn = sum(count for *_, count in REGION)
    assert page.locator(".topology a[aria-label^='网段']").count() >= drawn
    assert page.locator("th", has_text="VNI 或 VLAN").count() == 1
    page.screenshot(path=screenshots / "extranet.png")
    monkeypatch.setattr("api.console.extranet.extranet_map", troubled)
    page = opener("admin", DESK).go("/extranet")
    expect(page.locator(".session-lost")).to_have_count(2)  # of them one is the legend's
    expect(page.locator(".topology .session-down")).to_have_count(0)
    expect(page.locator("#gaps-title")).to_be_visible()
    page.screenshot(path=screenshots / "extranet-trouble.png")


REGION = (
    ("dc", "shared", "shared", "教育厅", "3fff:122", 14),
    ("dc", "shared", "shared", "公安厅", "3fff:126", 6),
    ("dc", "internet", "internet", "水利厅", "3fff:32f", 7),
    ("dc", "private", "prv-jyt", "教育厅", "3fff:222", 9),
    ("dc", "private", "prv-slt", "水利厅", "fd3f:ff00:1", 3),
    ("yufeng", "shared", "shared", "柳州市", "3fff:102", 8),
    ("yufeng", "private", "prv-lz", "柳州市", "3fff:202", 4),
)
"""Where a region's segments are: router, zone, table, unit, the beginning of their prefixes, how many."""
STATES = {5: Standing.MAKING, 21: Standing.DESK, 26: Standing.MAKING, 30: Standing.LEAVING, 44: Standing.MAKING}
"""The few that are not simply routed, by their place."""


def troubled(work: Any) -> ExtranetMap:
    """The same with the county's router down, which its city hears in each table, and a segment changed for good."""
    found = populated(work)
    silent = [replace(s, standing=Standing.SILENT) if s.router == "yufeng" else s for s in found.segments]
    changed = next(s for s in silent if s.standing is Standing.ROUTED)
    changed_too = replace(changed, standing=Standing.DIFFERS)
    segments = [changed_too if s is changed else s for s in silent]
    segments.sort(key=lambda s: (ORDER.index(s.standing), s.router, s.zone, s.vni or 0))
    last = {
        r.name: RouterLook(router=r.name, looked_at=work.now, silent=r.name == "yufeng", down=[], gaps=[])
        for r in found.topology.routers
    }
    last["liuzhou"].down = [[v.name, "yufeng", "Active"] for v in found.topology.vrfs]
    rows = [("changed", changed.prefix, changed_too), ("foreign", "3fff:12f:c0::/64", None)]
    last["dc"].gaps = [[kind, "shared", subject, ""] for kind, subject, _ in rows]
    gaps = [OpenGap("dc", "shared", *row) for row in rows]
    return replace(found, segments=segments, looks=last, gaps=gaps)


def populated(work: Any) -> ExtranetMap:
    """The map as it is, with a region's segments on it, and all routers heard but one session."""
    found = extranet_map(work)
    assert found is not None
    segments: list[Segment] = []
    for router, zone, vrf, unit, stem, count in REGION:
        for _ in range(count):
            n = len(segments)
            standing_ = STATES.get(n, Standing.ROUTED)
            at = work.now - timedelta(days=3 + n) if standing_ in {Standing.ROUTED, Standing.LEAVING} else None
            vni = (10100 if router == "dc" else 20100) + n
            prefix = f"{stem}:{':' if stem.startswith('fd') else '0:'}{n + 1:x}::/64".replace(":::", ":0:")
            segments.append(
                Segment(
                    UUID(int=n), f"ZY-2026-{n + 301:06d}", "net", unit, zone, prefix, router, vrf, vni, standing_, at
                )
            )
    segments.sort(key=lambda s: (ORDER.index(s.standing), s.router, s.zone, s.vni or 0))
    down = {"liuzhou": [["prv-lz", "core", "Active"]]}
    heard = {
        r.name: RouterLook(router=r.name, looked_at=work.now, silent=False, down=down.get(r.name, []), gaps=[])
        for r in found.topology.routers
    }
    clouds = {**found.clouds, CLOUD: "壮美广西·政务云", "city-450200": "柳州市云"}
    return replace(found, segments=segments, looks=heard, clouds=clouds)
