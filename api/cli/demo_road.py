"""The road of the demonstration: one request from the form to the statement, each step by the person whose duty it is.

Called by: ``guiyun demo``. Must not: go past the public API, but for the recounts at the end, which audit would make on
the database itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from api import texts
from api.cli.access import enter
from api.cli.client import Api
from api.cli.demo_story import Story
from api.cli.display import ZONE, moment, yuan
from api.cli.refusal import Refusal
from api.cli.requests import quote_lines
from api.cli.show import placements
from api.cli.watching import watch
from api.texts import names
from api.texts.actions import AUDIT_ACTIONS

PATIENCE_S = 180.0
DELIVERY_S = 600.0
GROWTH_S = 120.0


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays whom: a city without a cloud of its own, which uses the main cloud and pays for it (Art. 16(2))."""

    applicant: str = "apply.chongzuo"
    approver: str = "approve.1"
    assessor: str = "assess.1"
    operator: str = "deliver.1"
    finance: str = "finance"
    audit: str = "audit"
    unit: str = "451400"
    system: str = "cz-kajy"


CAST = Cast()
PEOPLE = {
    "applicant": "申请人 罗思源（崇左市）",
    "approver": "审批人 李国栋（自治区大数据发展局）",
    "assessor": "评估人 周敏（自治区信息中心）",
    "operator": "交付人 卢海波（自治区信息中心）",
    "finance": "财政 陈慧（自治区财政厅）",
    "audit": "审计 杨正廉（自治区审计厅）",
}


def form(image: str) -> dict[str, Any]:
    """The form that travels: a segment, two servers with a data disk each, a large volume, for a year from today."""
    today = datetime.now(ZONE).date()
    return {
        "unit": CAST.unit,
        "system": CAST.system,
        "purpose": "口岸边民互市系统扩容，存储查验影像",
        "contact": {"name": "罗思源", "phone": "0771-7821001", "email": "luo@example.gov.cn"},
        "expected_users": 20000,
        "start_date": today.isoformat(),
        "end_date": (today + timedelta(days=365)).isoformat(),
        "funding_source": "市本级财政",
        "nature": "new",
        "classified": False,
        "document_number": f"崇数函〔{today.year}〕18号",
        "items": [
            {"kind": "segment", "name": "net", "zone": "shared"},
            {
                "kind": "server", "name": "web", "count": 2, "vcpu": 4, "memory_gib": 8, "image": image,
                "zone": "shared", "data_disks": [{"size_gib": 100}],
            },
            {"kind": "volume", "name": "archive", "size_gib": 10240},
        ],
    }  # fmt: skip


@dataclass
class Road:
    """One walk. ``cloud`` is the code of the sub-cloud that serves the unit."""

    story: Story
    url: str
    cloud: str
    form: dict[str, Any]
    cast: Cast = CAST
    request: dict[str, Any] = field(default_factory=dict)
    _people: dict[str, Api] = field(default_factory=dict)

    def person(self, duty: str) -> Api:
        """Somebody, signed in as himself."""
        if duty not in self._people:
            self._people[duty] = enter(self.url, login=getattr(self.cast, duty))
        return self._people[duty]

    def close(self) -> None:
        for api in self._people.values():
            api.close()

    @property
    def path(self) -> str:
        return f"/requests/{self.request['id']}"

    def until(self, ready: Callable[[], bool], what: str, deadline_s: float = PATIENCE_S) -> None:
        """Poll until it is so; a failure names ``what`` never came."""
        ends_at = time.monotonic() + deadline_s
        while not ready():
            self.story.check(time.monotonic() < ends_at, f"{deadline_s:.0f} 秒内{what}")
            time.sleep(0.3)

    def refusal(self, act: Callable[[], object]) -> Refusal:
        """The refusal that an act must meet."""
        try:
            act()
        except Refusal as refusal:
            return refusal
        self.story.check(fact=False, reason="应被拒绝，却被接受了")
        raise AssertionError("unreachable")

    def stock(self) -> dict[str, int]:
        """What is taken of the sub-cloud, by class."""
        clouds = self.person("finance").get("/sub-clouds")
        mine = next(c for c in clouds if c["code"] == self.cloud)
        return {s["resource_class"]: s["used"] for s in mine["stock"]}

    def apply(self) -> None:
        """Stage 1: a classified form is refused, a complete one gets a number and a quote."""
        story, api = self.story, self.person("applicant")
        with story.step("涉密申请", who=PEOPLE["applicant"], rule="Art. 2(3)"):
            refusal = self.refusal(lambda: api.post("/requests", {**self.form, "classified": True}))
            story.refused(refusal, "request.classified")
        with story.step("申请", who=PEOPLE["applicant"], rule="Art. 17(1)") as facts:
            checked = api.post("/requests/check", self.form)
            story.check(not checked["problems"], str(checked["problems"]))
            self.request = api.post("/requests", self.form)
            seen = api.get(self.path)
            story.check(seen["state"] == "submitted", f"状态为 {seen['state']}")
            story.check(seen["quote"]["total_fen"] == checked["quote"]["total_fen"] > 0, "报价与试算不符")
            story.say(f"编号 {seen['number']}，应于 {moment(seen['due_at'])} 前审批（1 个工作日）")
            story.say(*quote_lines(seen["quote"])[1:])
            facts |= {"number": seen["number"], "monthly_fen": seen["quote"]["total_fen"], "due_at": seen["due_at"]}

    def approve(self) -> None:
        """Stage 2: not by the applicant; by the deciding authority, on the revision that it saw."""
        story = self.story
        decision = {"decision": "approve", "revision": self.request["revision"]}
        with story.step("自己审批自己的申请", who=PEOPLE["applicant"]):
            mine = self.refusal(lambda: self.person("applicant").post(f"{self.path}/approval", decision))
            story.refused(mine, "role.missing")
        with story.step("受理审批", who=PEOPLE["approver"], rule="Art. 17(2)") as facts:
            made = self.person("approver").post(f"{self.path}/approval", decision)
            story.check(made["state"] == "approved", f"状态为 {made['state']}")
            last = self.person("applicant").get(f"{self.path}/approvals")[-1]
            story.check(last["article"] == "Art. 17(2)" and not last["late"], "审批记录与规则不符")
            story.say(f"批准，应于 {moment(made['due_at'])} 前评估（3 个工作日）")
            facts |= {"decision": last["decision"], "due_at": made["due_at"]}

    def assess(self) -> None:
        """Stage 3: the proposal with a reason for every candidate; confirming holds quota, capacity and prefixes."""
        story, api = self.story, self.person("assessor")
        before = self.stock()
        with story.step("评估", who=PEOPLE["assessor"], rule="Art. 17(3)") as facts:
            proposed = api.get(f"{self.path}/assessment")
            story.check(proposed["complete"], "有申请项没有可用的云平台")
            for placement in proposed["placements"]:
                chosen = [c["sub_cloud"] for c in placement["candidates"] if c["chosen"]]
                story.check(chosen == [self.cloud], f"{placement['spec']['name']} 布局在 {chosen}")
                story.check(all(c["verdicts"] for c in placement["candidates"]), "有候选云平台没有理由")
            story.say(*placements(proposed["placements"][:1], reasons=False))
            made = api.post(f"{self.path}/assessment", {"decision": "confirm", "revision": self.request["revision"]})
            story.check(made["state"] == "assessed", f"状态为 {made['state']}")
            done = api.get(f"{self.path}/assessment")
            story.check(self.stock() != before, "没有预留容量")
            monthly, until = yuan(done["monthly_fen"]), moment(done["hold_expires_at"])
            story.say(f"确认：全部布局在同一平台，每月 {monthly}；配额、容量与网段预留至 {until}")
            facts |= {"sub_cloud": self.cloud, "monthly_fen": done["monthly_fen"]}

    def deliver(self) -> None:
        """Stage 4: not by who decided; every step live; in the end a handover with addresses."""
        story, api = self.story, self.person("operator")
        with story.step("审批人下达交付", who=PEOPLE["approver"], rule="Art. 14"):
            story.refused(self.refusal(lambda: self.person("approver").post(f"{self.path}/delivery")), "role.missing")
        with story.step("交付", who=PEOPLE["operator"], rule="Art. 17(4)") as facts:
            api.post(f"{self.path}/delivery")
            with story.watching() as show:
                last = watch(api, self.request["id"], show, deadline_s=DELIVERY_S)
            story.check(last["state"] == "delivered", self._why_not(api, last))
            story.check(all(s["state"] == "done" for s in last["steps"]), "有步骤没有完成")
            facts["steps"] = [s["name"] for s in last["steps"]]

    def _why_not(self, api: Api, last: Mapping[str, Any]) -> str:
        troubles = [c["message"] for d in api.get(f"{self.path}/deliveries") for c in d["cases"]]
        return f"状态为“{names.REQUEST_STATES[last['state']]}”：{'；'.join(troubles) or '原因不明'}"

    def take_over(self) -> None:
        """What was handed over, where, and the key, which is shown once."""
        story, api = self.story, self.person("applicant")
        with story.step("移交", who=PEOPLE["applicant"], rule="Art. 17(4)") as facts:
            delivery = api.get(f"{self.path}/deliveries")[0]
            record = delivery["handovers"][0]["record"]
            servers = [r for r in record["resources"] if r["kind"] == "server"]
            story.check(len(servers) == 2 and all(r["addresses"] for r in servers), "服务器没有地址")
            for one in record["resources"]:
                where = one["prefix"] or " ".join(one["addresses"])
                story.say(f"{one['number']} {names.KINDS[one['kind']]} {one['name']} {where}".rstrip())
            key = api.post(f"/deliveries/{delivery['id']}/secret")["private_key"]
            story.check(key and "PRIVATE KEY" in key, "没有得到登录密钥")
            again = self.refusal(lambda: api.post(f"/deliveries/{delivery['id']}/secret"))
            story.check("secret.shown" in again.codes, "登录密钥不止显示一次")
            story.say("登录密钥已领取；再次领取被拒绝，系统中不再保存")
            facts |= {"resources": len(record["resources"]), "addresses": [a for r in servers for a in r["addresses"]]}

    def meter(self) -> None:
        """Stages 5 and 6: from the handover on it costs, every second."""
        story, api = self.story, self.person("applicant")
        with story.step("计量", who=PEOPLE["applicant"]) as facts:
            first = api.get(f"{self.path}/cost")
            story.check(first["missing"] == 0, "有用量缺少价格或付费单位")
            costs = [first]

            def grown() -> bool:
                costs.append(api.get(f"{self.path}/cost"))
                return bool(costs[-1]["total_fen"] > first["total_fen"])

            self.until(grown, "累计费用没有增加", GROWTH_S)
            later = costs[-1]
            story.say(f"累计费用 {yuan(first['total_fen'])} → {yuan(later['total_fen'])}（{moment(later['until'])}）")
            facts |= {"first_fen": first["total_fen"], "later_fen": later["total_fen"]}

    def release(self, before: Mapping[str, int]) -> None:
        """Stage 7: asked for by the unit, confirmed by the Center; quota and capacity are back where they were."""
        story = self.story
        with story.step("申请释放", who=PEOPLE["applicant"], rule="Art. 14"):
            releases = self.person("applicant").post(f"{self.path}/release", {"reason": "演示结束"})
            story.say("待交付单位确认")
        with story.step("确认释放并回收", who=PEOPLE["operator"], rule="Art. 14") as facts:
            api = self.person("operator")
            for release in releases:
                api.post(f"/releases/{release['id']}/confirmation")
            with story.watching() as show:
                mine = {release["id"] for release in releases}
                last = watch(api, self.request["id"], show, subjects=mine, deadline_s=DELIVERY_S)
            story.check(last["state"] == "released", f"状态为“{names.REQUEST_STATES[last['state']]}”")
            left = [r for r in self.resources() if r["state"] != "released"]
            story.check(not left, "还有资源没有收回")
            after = self.stock()
            story.check(after == dict(before), f"容量没有回到原处：{before} → {after}")
            story.say("资源全部收回，配额与容量回到原处")
            facts["capacity_back"] = True

    def resources(self) -> list[dict[str, Any]]:
        """What the request brought."""
        return self.person("applicant").every("/resources", most=100, request=self.request["id"])

    def bill(self) -> None:
        """The month's statement of the payer: the sum of its lines, and what the request has cost stands in it."""
        story, finance = self.story, self.person("finance")
        with story.step("出账", who=PEOPLE["finance"], rule="Art. 16(2)") as facts:
            cost = self.person("applicant").get(f"{self.path}/cost")
            month = datetime.now(ZONE).strftime("%Y-%m")
            issued = finance.post("/statements", {"month": month})
            ours = {r["number"] for r in self.resources()}
            statements = [finance.get(f"/statements/{one['id']}") for one in issued]
            mine = next((s for s in statements if ours & {line["resource_number"] for line in s["lines"]}), None)
            if mine is None:
                story.check(fact=False, reason="没有一份账单含有该申请的费用")
                return
            lines = [line for line in mine["lines"] if line["resource_number"] in ours]
            story.check(mine["total_fen"] == sum(line["amount_fen"] for line in mine["lines"]), "总额不等于各行之和")
            story.check({line["article"] for line in lines} == {"Art. 16(2)"}, "付费依据不是第十六条第（二）项")
            whole = moment(cost["until"])[:7] == month and moment(self.request["due_at"])[:7] >= month
            total = sum(line["amount_fen"] for line in lines)
            story.check(total == cost["total_fen"] or not whole, f"账单 {total} 分，累计费用 {cost['total_fen']} 分")
            story.say(f"{mine['payer_name']} {month} 账单第 {mine['version']} 版：{yuan(mine['total_fen'])}")
            story.say(f"其中本申请 {len(lines)} 行，{yuan(total)}，与累计费用一致")
            facts |= {"payer": mine["payer_name"], "total_fen": mine["total_fen"], "request_fen": total}

    def read_audit(self) -> None:
        """Each decision of the road is an event with its article, and sealed."""
        story, audit = self.story, self.person("audit")
        wanted = {"request.submitted", "request.approved", "request.assessed", "request.released"}
        with story.step("审计查阅", who=PEOPLE["audit"], rule="Art. 16(3)") as facts:
            found: list[dict[str, Any]] = []

            def sealed() -> bool:
                found[:] = audit.every("/audit/events", most=200, request=self.request["id"])
                return bool(found) and all(event["hash"] for event in found)

            self.until(sealed, "审计事件没有封存")
            missing = wanted - {event["action"] for event in found}
            story.check(not missing, f"审计缺少 {'、'.join(sorted(missing))}")
            for event in reversed(found):
                article = texts.article(event["article"])
                action = AUDIT_ACTIONS.get(event["action"], event["action"])
                story.say(f"{event['seq']} {action}{f'  {article}' if article else ''}")
            facts["events"] = len(found)
