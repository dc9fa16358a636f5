"""``guiyun demo``: one request carried down the whole road through the public API, each step checked.

Called by: ``make demo``. Must not: need anything but an installed checkout, or leave anything running.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from api.cli.demo_broker import (
    LABORATORY_CLOUD,
    laboratory_options,
    running_demonstration,
    temporary_broker,
)
from api.cli.demo_road import PEOPLE, Road, form
from api.cli.demo_story import Story
from api.cli.home import running
from api.cli.verb import DatabaseCall, database_verb
from broker.audit import seal
from broker.delivery import reconcile
from providers.errors import ProviderError
from quotas import service as quotas
from quotas.ipv6 import service as ipv6

app = typer.Typer()

IMAGE = "openeuler-22.03-x86_64"
"""The simulated clouds and the laboratory both have it."""


SWEEP_S = 180.0


class Cloud(StrEnum):
    """What serves the main cloud."""

    SIMULATED = "simulated"
    OPENSTACK = "openstack"


@app.command("demo")
@database_verb
def demo(
    call: DatabaseCall,
    *,
    cloud: Annotated[
        Cloud, typer.Option(help="主云由模拟平台或真实 OpenStack（make openstack）提供")
    ] = Cloud.SIMULATED,
) -> None:
    """让一份申请走完全程：申请、审批、评估、交付、计量、回收、出账、审计；任何一步不符即退出。"""
    story = Story(call.terminal, silent=call.as_json)
    with _broker(story, call.home, cloud) as home:
        core = DatabaseCall(as_json=call.as_json, home=home)
        laboratory = cloud is Cloud.OPENSTACK
        road = Road(
            story,
            running(home)["GUIYUN_URL"],
            LABORATORY_CLOUD if laboratory else "main",
            form(IMAGE),
        )
        try:
            walk(road, core, laboratory=laboratory)
        finally:
            road.close()
            core.close()
    answer = story.answer(cloud=cloud.value, number=road.request["number"])
    call.done(
        answer, f"\n演示完成：{road.request['number']} 走完全程，{len(story.steps)} 步全部符合，{answer['seconds']} 秒"
    )


@contextmanager
def _broker(story: Story, home: Path, cloud: Cloud) -> Iterator[Path]:
    """The home of the broker to use, and who it is."""
    if cloud is Cloud.SIMULATED and running_demonstration(home):
        story.say(f"使用正在运行的桂云 {running(home)['GUIYUN_URL']}", indent="")
        yield home
        return
    where = "，主云为 OpenStack 试验环境" if cloud is Cloud.OPENSTACK else ""
    story.say(f"另起一个临时的桂云{where}，结束后删除……", indent="")
    if cloud is Cloud.OPENSTACK:
        laboratory_options()
    with temporary_broker(cloud is Cloud.OPENSTACK) as made:
        story.say(f"已启动 {running(made)['GUIYUN_URL']}", indent="")
        yield made


def walk(road: Road, core: DatabaseCall, *, laboratory: bool) -> None:
    """The whole road, in order. Raises NotAsItShouldBe."""
    story = road.story
    with story.step("云平台就绪", who=PEOPLE["finance"]) as facts:
        if laboratory:
            road.until(lambda: swept(core, road.cloud), "没有清除上次演示的遗留", SWEEP_S)
            facts["swept"] = True
        road.until(lambda: _healthy(road), "主云没有报告正常")
        before = road.stock()
        story.say("主云运行正常")
    road.apply()
    road.approve()
    road.assess()
    road.deliver()
    road.take_over()
    road.meter()
    road.release(before)
    road.bill()
    road.read_audit()
    recount(road, core)


def swept(core: DatabaseCall, cloud: str) -> bool:
    """Whether nothing is left of a demonstration that broke off; what is deleted slowly takes several rounds."""
    try:
        return not reconcile.sweep(core.core.tools(), cloud)
    except ProviderError:  # a network goes only once its servers are gone
        return False


def _healthy(road: Road) -> bool:
    clouds = road.person("finance").get("/sub-clouds")
    return any(c["code"] == road.cloud and c["healthy"] for c in clouds)


def recount(road: Road, core: DatabaseCall) -> None:
    """On the database itself: the chain is whole, counters agree with rows, the cloud has nothing of ours left."""
    story = road.story
    with story.step("核对", who=PEOPLE["audit"], rule="Art. 16(3)") as facts:
        with core.core.sessions() as session:
            findings, head = list(seal.verify(session)), seal.head(session)
            differences = [*quotas.verify(session), *ipv6.verify(session)]
        story.check(not findings, f"审计链有 {len(findings)} 处不符")
        story.say(f"审计链完整：{head.seq} 条，末端 {head.hash.hex()[:16]}…")
        story.check(not differences, f"配额或地址有 {len(differences)} 处不一致")
        story.say("配额、容量与 IPv6 地址由明细重新计数，全部一致")
        ours = {resource["id"] for resource in road.resources()}
        drifts = [d for d in reconcile.reconcile(core.core.tools(), road.cloud) if str(d.key.id) in ours]
        story.check(not drifts, f"云平台上还有 {len(drifts)} 个对象")
        story.say("云平台上没有遗留")
        facts |= {"audit_seq": head.seq, "audit_hash": head.hash.hex()}
