"""Dedicated networks where somebody's word decides: the probes', the Bureau's, a city's finance (Art. 10-12)."""

from __future__ import annotations

from datetime import timedelta

from tests.console import billing
from tests.stories.dedicated_office import (
    API,
    BUREAU,
    FINANCE,
    UNIT,
    Office,
    done,
    network,
    office,
    plan,
    see,
    segment,
    unsee,
)

__all__ = ["office", "segment"]


def test_a_reported_connection_counts_when_the_probes_see_it_on_the_day(office: Office, segment: str) -> None:
    """Art. 11(2): the segment is real and answers now; what the probes see decides, not what they saw at delivery."""
    made = office.done(UNIT, API, network("probe-1"))
    path = f"{API}/{made['id']}"
    office.done(UNIT, f"{path}/plan", plan(office))
    see(office, segment, verified=True)
    reported = office.done(UNIT, f"{path}/connection", done(office, segment))
    assert (reported["next"], reported["probes"][0]["code"], reported["segments"]) == ("connect", None, [])
    assert office.refused(UNIT, f"{path}/connection", done(office, segment)) == {"network.probing"}
    office.wire.asked.clear()
    assert office.probe("extranet.leak") == 1
    ((playbook, routers, variables),) = office.wire.asked
    (target,) = variables["extranet_targets"]
    assert (playbook, routers, target["vrf"]) == ("verify-segment", ["core", "liuzhou", "dc", "yufeng"], "shared")
    refused = office.read(UNIT, path)
    assert (refused["next"], refused["probes"][0]["code"]) == ("connect", "extranet.leak")
    assert refused["probes"][0]["message"] == "网段在其他网络区可达，隔离失效"
    assert office.notices(UNIT, made["id"])[-1] == "network.not_connected"
    assert "network.segments_silent" in office.notices("deliver.jyt", made["id"])
    office.done(UNIT, f"{path}/connection", done(office, segment))
    assert office.probe("extranet.router_unreachable", times=4) == 0
    assert office.read(UNIT, path)["probes"][0]["code"] is None
    assert office.probe() == 1
    connected = office.read(UNIT, path)
    assert (connected["next"], connected["steps"][1]["done_by"], connected["probes"][0]["code"]) == (
        "migrate",
        UNIT,
        "",
    )
    assert office.notices(UNIT, made["id"])[-1] == "network.connected"
    assert office.probe() == 0
    unsee(office)


def test_what_changed_before_the_probes_answered_is_not_connected(office: Office, segment: str) -> None:
    """Off its router meanwhile: nobody can see it; routers that stay silent end the report, which can be made again."""
    made = office.done(UNIT, API, network("probe-2"))
    path = f"{API}/{made['id']}"
    office.done(UNIT, f"{path}/plan", plan(office))
    for code, times in (("extranet.router_unreachable", 5), ("", 5)):
        see(office, segment, verified=True)
        office.done(UNIT, f"{path}/connection", done(office, segment))
        if not code:
            unsee(office)
        assert office.probe(code, times=times) == 1
        assert office.read(UNIT, path)["probes"][0]["code"] == (code or "extranet.no_probe")
        assert office.read(UNIT, path)["next"] == "connect"
        unsee(office)


def test_a_step_goes_to_another_owner(office: Office) -> None:
    """With another day or the same, to people of the network's tree only; both are told, the new one when late."""
    world, began = office.world, office.world.clock.now
    made = office.done(UNIT, API, network("owner-1"))
    path = f"{API}/{made['id']}"
    office.done(UNIT, f"{path}/plan", plan(office))
    order = {"step": "connect", "due_on": office.day(30), "reason": "人员调整", "owner": "lead.jyt"}
    assert office.refused(BUREAU, f"{path}/dates", order | {"owner": "apply.rst"}) == {"network.person_unknown"}
    assert office.refused(BUREAU, f"{path}/dates", order | {"owner": "nobody"}) == {"network.person_unknown"}
    moved = office.done(BUREAU, f"{path}/dates", order)
    assert [(d["owner"], d["due_on"]) for d in moved["steps"][1]["dates"]] == [
        ("lead.jyt", office.day(30)), (UNIT, office.day(30)),
    ]  # fmt: skip
    assert office.notices("lead.jyt", made["id"]) == ["network.handed_on"]
    assert office.notices(UNIT, made["id"]) == ["network.handed_over"]
    world.clock.now = began + timedelta(days=31)
    office.pass_by()
    assert office.notices("lead.jyt", made["id"])[-1] == "network.late"
    assert office.notices(UNIT, made["id"]) == ["network.handed_over"]
    assert office.refused(BUREAU, f"{path}/dates", order | {"due_on": office.day(-1), "owner": ""}) == {
        "network.date_range",
    }  # fmt: skip
    office.done(BUREAU, f"{path}/dates", order | {"due_on": office.day(-1), "owner": UNIT})
    assert office.read(UNIT, path)["late"]
    world.clock.now = began


def test_a_citys_finance_sees_its_own_stops_and_the_regions_sees_all(office: Office) -> None:
    """Art. 10, 16: of a late network in Liuzhou its own finance is told, Nanning's is not; each sees its own list."""
    world, began = office.world, office.world.clock.now
    for login, code in (("finance.liuzhou", "450200"), ("finance.nanning", "450100")):
        with world.app.works.begin() as work:
            billing._finance(work.session, login, "周文", code)
    city = network("city-1", unit="450200", name="视频专网", responsible="chief.liuzhou", systems=[])
    made = office.done("apply.liuzhou", API, city)
    other = office.done(UNIT, API, network("city-2"))
    world.clock.now = began + timedelta(days=60)  # nobody reported a plan
    office.pass_by()
    world.clock.now += timedelta(days=15)
    office.pass_by()
    seen = {who: {s["network"] for s in office.read(who, "/api/v1/funds-stops")}
            for who in (FINANCE, "finance.liuzhou", "finance.nanning")}  # fmt: skip
    assert {made["id"], other["id"]} <= seen[FINANCE]
    assert made["id"] in seen["finance.liuzhou"]
    assert other["id"] not in seen["finance.liuzhou"]
    assert seen["finance.nanning"] == set()
    assert office.notices("finance.liuzhou", made["id"]) == ["network.funds_stop"]
    assert office.notices(FINANCE, made["id"]) == ["network.funds_stop"]
    assert office.notices("finance.nanning", made["id"]) == []
    assert office.notices("finance.liuzhou", other["id"]) == []
    assert office.ask("finance.nanning", "GET", f"{API}/{made['id']}").status_code == 404
    assert office.read("finance.liuzhou", f"{API}/{made['id']}")["stop"]["stopped_at"] is not None
    world.clock.now = began


def test_a_stop_follows_the_step_that_is_late(office: Office, segment: str) -> None:
    """Connected at last, with the migration late by then: its owner is told, and funds that stood still stay so."""
    world, began = office.world, office.world.clock.now
    made = office.done(UNIT, API, network("follow-1"))
    path, key = f"{API}/{made['id']}", made["id"]
    days = {"connect": (30, UNIT), "migrate": (30, "lead.jyt"), "shut_down": (90, UNIT)}
    dates = {name: {"due_on": office.day(n), "owner": owner} for name, (n, owner) in days.items()}
    office.done(UNIT, f"{path}/plan", plan(office, dates=dates))
    for forward in (45, 12):
        world.clock.forward(days=forward)
        office.pass_by()
    assert [s["step"] for s in office.read(FINANCE, "/api/v1/funds-stops") if s["network"] == key] == ["connect"]
    see(office, segment, verified=True)
    office.connect(path, segment)
    assert [s["step"] for s in office.read(FINANCE, "/api/v1/funds-stops") if s["network"] == key] == ["migrate"]
    assert office.notices("lead.jyt", key)[-2:] == ["network.late", "network.funds_stopped"]
    assert office.notices(FINANCE, key) == ["network.funds_stop", "network.funds_stop"]
    assert [s["lifted_why"] for s in office.read(UNIT, path)["stops"]] == [None, "done"]
    office.done(UNIT, f"{path}/migration", done(office))
    assert office.notices(FINANCE, key)[-1] == "network.funds_lift"
    unsee(office)
    world.clock.now = began


def test_what_the_plan_names_leaves_the_list_by_the_bureaus_word(office: Office, segment: str) -> None:
    """Art. 11(3): a unit cannot drop the system that has not moved, nor shut down a network that lists none."""
    made = office.done(UNIT, API, network("ruled-1", systems=["jyt-xjgl", "jyt-yqrb"]))
    path = f"{API}/{made['id']}"
    word = {"drop": ["jyt-yqrb"], "reason": "清单填报有误，该系统从未使用本专网"}
    assert office.refused(BUREAU, f"{path}/rulings", word) == {"network.not_planned"}
    office.done(UNIT, f"{path}/plan", plan(office))
    see(office, segment, verified=True)
    office.connect(path, segment)
    assert office.refused(UNIT, f"{path}/migration", done(office)) == {"network.system_waiting"}
    fewer = office.ask(UNIT, "PUT", path, network("ruled-1", systems=["jyt-xjgl"]))
    assert {e["code"] for e in fewer.json()["errors"]} == {"network.system_planned"}
    assert office.ask(UNIT, "POST", f"{path}/rulings", word).status_code == 403
    wrong = {"drop": ["no-such"], "reason": " "}
    assert office.refused(BUREAU, f"{path}/rulings", wrong) == {"reason.missing", "network.system_not_listed"}
    assert office.refused(BUREAU, f"{path}/rulings", word | {"drop": []}) == {"network.carries_systems"}
    ruled = office.done(BUREAU, f"{path}/rulings", word)
    assert [(r["dropped"], r["ruled_by"]) for r in ruled["rulings"]] == [(["jyt-yqrb"], BUREAU)]
    assert office.done(UNIT, f"{path}/migration", done(office))["next"] == "shut_down"

    bare = office.done(UNIT, API, network("ruled-2", systems=[]))
    path = f"{API}/{bare['id']}"
    office.done(UNIT, f"{path}/plan", plan(office))
    office.connect(path, segment)
    assert office.refused(UNIT, f"{path}/migration", done(office)) == {"network.no_systems"}
    office.done(BUREAU, f"{path}/rulings", {"drop": [], "reason": "只用于视频会议"})
    assert office.done(UNIT, f"{path}/migration", done(office))["next"] == "shut_down"
    assert "network.ruled_none" in office.notices(UNIT, bare["id"])
    unsee(office)
