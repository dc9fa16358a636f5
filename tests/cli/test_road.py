"""The whole road typed at a terminal, as the different people would."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import select

from broker.inventory.models import Resource
from broker.reclamation import lost
from broker.request.models import ServiceRequest
from providers.contract import Kind
from providers.simulated.faults import Fault, Mode, inject
from tests.cli.typist import Typist, working
from tests.stories.world import World


def test_a_request_travels_from_form_to_release(typist: Typist, world: World) -> None:
    """Art. 17 and 14 at a terminal: each person one command, each answer one readable thing."""
    number = typist.applies()
    assert number in typist.does("list", number, as_="apply.jyt").out
    approved = typist.does("approve", number, as_="approve.jyt").out
    assert number in approved
    assert "待评估" in approved
    assert "版本" in approved
    proposal = typist.does("assess", number, as_="assess.jyt").out
    assert "教育云" in proposal
    assert "归属云平台" in proposal
    assert "可以确认" in proposal
    typist.does("assess", number, "--confirm", as_="assess.jyt")
    with working(world):
        watched = typist.does("deliver", number, "--watch", as_="deliver.jyt").out
    for step in ("锁定预留", "建立网络与网段", "创建云服务器", "挂载云硬盘", "移交使用"):
        assert f"✓ {step}" in watched
    assert f"{number} 已交付使用" in watched
    assert re.search(r"web-01 +云服务器 +3fff:", watched)
    assert "已申请释放" in typist.does("release", number, "--reason", "系统下线", as_="apply.jyt").out
    assert "系统下线" in typist.does("desk", as_="deliver.jyt").out
    with working(world):
        released = typist.does("release", number, "--confirm", "--watch", as_="deliver.jyt").out
    assert "✓ 删除资源" in released
    assert "移交使用" not in released
    assert "资源已全部收回" in released


def test_show_has_everything_that_is_known(typist: Typist, world: World) -> None:
    """One page: state, clocks, who decided when, why there and not elsewhere, resources, handover, cost."""
    number = typist.delivered(world)
    shown = typist.does("show", number, as_="apply.jyt").out
    for words in (
        f"申请 {number}  已交付", "学籍管理系统", "1 个工作日", "3 个工作日", "批准", "《实施细则》第十七条第（二）项",
        "确认评估", "移交使用", "web → 教育云", "不选：", "3fff:", "使用中",
        "申请人提供的 SSH 公钥", "申请释放",
    ):  # fmt: skip
        assert words in shown, words
    assert "None" not in shown
    assert "null" not in shown
    assert "{" not in shown
    reasons = typist.does("show", number, "--reasons", as_="apply.jyt").out
    assert reasons.count("  不选 ") + reasons.count("  可选 ") == 16 * 3
    data = typist.does("show", number, "--json", as_="apply.jyt").json
    assert data["state"] == "delivered"
    assert data["deliveries"][0]["handovers"]
    assert data["approvals"]
    assert data["assessment"]["placements"]


def test_what_is_returned_is_corrected_under_the_same_number(typist: Typist) -> None:
    """A return needs a reason; the clock stands still meanwhile; the corrected form keeps the number."""
    number = typist.applies()
    assert "reason.missing" in typist.refused("return", number, as_="approve.jyt")
    typist.does("return", number, "--reason", "请补充公文", as_="approve.jyt")
    shown = typist.does("show", number, as_="apply.jyt").out
    assert "已退回补正" in shown
    assert "停钟（待补正）" in shown
    assert "请补充公文" in shown
    again = typist.does("apply", "-f", typist.form(purpose="补充后的用途"), "--replace", number, as_="apply.jyt")
    assert f"{number} 待审批" in again.out
    typist.does("refuse", number, "--reason", "与已有系统重复", as_="approve.jyt")
    assert "不予批准" in typist.does("show", number, as_="apply.jyt").out


def test_a_decision_names_the_revision_that_was_seen(typist: Typist) -> None:
    """Who saw an older one is told so, and nothing is decided."""
    number = typist.applies()
    seen = typist.does("show", number, "--json", as_="approve.jyt").json["revision"]
    typist.does("return", number, "--reason", "请补充", as_="approve.jyt")
    typist.does("apply", "-f", typist.form(), "--replace", number, as_="apply.jyt")
    assert typist.refused("approve", number, "--revision", seen, as_="approve.jyt").startswith("revision.stale：")


def test_the_assessor_changes_a_size_and_sees_what_it_costs(typist: Typist) -> None:
    """By an item's name or number; without --confirm nothing is written."""
    number = typist.applies()
    typist.does("approve", number, as_="approve.jyt")
    before = typist.does("assess", number, "--json", as_="assess.jyt").json["monthly_fen"]
    tried = typist.does("assess", number, "--size", "web.vcpu=2", "--json", as_="assess.jyt").json
    assert tried["monthly_fen"] < before
    assert "placement.none" in typist.refused("assess", number, "--cloud", "backup=gat", "--confirm", as_="assess.jyt")
    typist.does("assess", number, "--size", "1.vcpu=2", "--confirm", as_="assess.jyt")
    shown = typist.does("assess", number, as_="assess.jyt").out
    assert "评估人调整" in shown
    assert "预留至" in shown


def test_drafts_and_withdrawals(typist: Typist) -> None:
    """A draft is no request yet; what was submitted can be taken back before delivery."""
    made = typist.does("apply", "-f", typist.form(), "--draft", "--json", as_="apply.jyt").json
    assert made["state"] == "draft"
    assert "已撤回" in typist.does("withdraw", made["number"], "--reason", "重复", as_="apply.jyt").out
    assert made["number"] in typist.does("list", "--state", "已撤回", "--limit", "100", as_="apply.jyt").out


def test_the_key_is_printed_alone_and_once(typist: Typist, world: World) -> None:
    """Standard output holds the key and nothing else, so that it can go into a file."""
    number = typist.delivered(world, ssh_public_key="")
    said = typist.does("secret", number, as_="apply.jyt")
    assert said.out.startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    assert said.out.endswith("-----END OPENSSH PRIVATE KEY-----\n")
    assert typist.refused("secret", number, as_="apply.jyt").startswith("secret.none：")


def test_what_failed_waits_on_the_desk(typist: Typist, world: World) -> None:
    """The watching ends with 1 and says where it hangs; an operator tries again by the request's number."""
    number = typist.to_order()
    inject(world.clouds_url, Fault("jyt", "create", Kind.SERVER, Mode.REFUSE, times=2))
    with working(world):
        said = typist.types("deliver", number, "--watch", as_="deliver.jyt")
    assert said.status == 1
    assert said.err.startswith("delivery.needs_operator：")
    assert "guiyun desk" in said.err
    assert "✗ 创建云服务器" in said.out
    desk = typist.does("desk", as_="deliver.jyt").out
    assert number in desk
    assert "创建云服务器" in desk
    assert "待人工处理" in typist.does("show", number, as_="apply.jyt").out
    assert typist.refused("give-up", number, as_="deliver.jyt").splitlines()[1].strip().startswith("reason.missing：")
    assert "已重试" in typist.does("retry", number, as_="deliver.jyt").out
    with working(world):
        typist.does("deliver", number, "--watch", as_="deliver.jyt")
    assert typist.refused("retry", number, as_="deliver.jyt").startswith("case.not_found：")


def test_what_a_cloud_has_lost_is_on_the_desk(typist: Typist, world: World) -> None:
    """Of whoever delivers for it, until its unit gives it back or a case holds it; others' desks are not theirs."""
    number = typist.delivered(world)
    with world.app.works.begin() as work:
        of = select(Resource).join(ServiceRequest, ServiceRequest.id == Resource.request_id)
        named = of.where(ServiceRequest.number == number, Resource.name == "web-01")
        server = work.session.scalars(named).one()
        lost.missed(work, [server.id])
    desk = typist.does("desk", as_="deliver.jyt").out
    assert "云平台上已不存在的资源" in desk
    assert re.search(rf"{server.number} +云服务器 +web-01 +自治区教育厅 +教育云 +\d{{4}}-", desk)

    def of_ours() -> list[Any]:  # tests that share the world may have lost others
        told = typist.does("desk", "--json", as_="deliver.jyt").json["lost"]
        return [one for one in told if one["number"] == server.number]

    (listed,) = of_ours()
    assert (listed["number"], listed["error_code"]) == (server.number, "resource.lost")
    assert server.number not in typist.does("desk", as_="deliver.1").out
    typist.does("reclaim", "open", server.number, "--reason", "云上已不存在", as_="deliver.jyt")
    assert of_ours() == []
