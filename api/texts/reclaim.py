"""Texts of reclaiming: refusals, notices, names of states, causes, acts, and of what a case waits for.

Called by: ``api.texts``, the console, the command line. Must not: hold anything but text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.reclamation.rules import GRACE

STATES: Mapping[str, str] = {
    "found": "待告知",
    "noticed": "异议期内",
    "objected": "异议待答复",
    "measuring": "复核使用情况",
    "suspending": "停用中",
    "suspended": "已停用",
    "contested": "停用后异议待答复",
    "proposed": "待确认释放",
    "resuming": "恢复中",
    "releasing": "释放中",
    "dropped": "已撤销",
    "exempted": "异议成立",
    "renewed": "已续期",
    "given_back": "单位自行释放",
    "released": "已收回",
}

_AFTER_ITS_WINDOW = frozenset({"unmeasured", "today", "share_unit", "share_cloud"})


def standing(state: str, waits_for: str | None) -> str:
    """Where a case stands; one whose window is over and that cannot go on yet is not within it any more."""
    return "期满待停用" if state == "noticed" and waits_for in _AFTER_ITS_WINDOW else STATES[state]


CAUSES: Mapping[str, str] = {
    "idle": "长期闲置",
    "zombie": "僵尸信息系统",
    "term": "期限届满",
    "person": "人工发起",
}

EVENTS: Mapping[str, str] = {
    "open": "发起",
    "notify": "告知使用单位",
    "object": "提出异议",
    "accept": "接受异议",
    "renew": "同意续期",
    "refuse": "不接受异议",
    "extend": "延长异议期",
    "withdraw": "撤销事项",
    "fall_due": "异议期满",
    "wait": "暂缓停用",
    "find_in_use": "发现仍在使用",
    "find_running": "发现已在云平台上启动",
    "admit": "复核通过，开始停用",
    "stop": "已停用",
    "resume": "恢复使用",
    "start": "已恢复",
    "propose": "提请释放",
    "decline": "不同意释放",
    "confirm": "确认释放",
    "give_back": "单位自行释放",
    "release": "已收回",
    "follow": "随资源转至新单位",
    "split": "部分资源另案办理",
    "miss": "云上未找到，停止计量",
    "lose": "云上已不存在，不能恢复",
    "turn_up": "云上重新找到",
    "retry": "重试",
    "waive": "核实未使用",
    "stall": "转人工处理",
    "renewal": "申请续期",
}


def happened(event: str, *, by_machine: bool, renewal: bool) -> str:
    """One thing that happened to a case. ``renewal``: what was raised asked for a longer term.

    The machine repeats what a person had answered when it has carried it out: then it says just that.
    """
    if by_machine and event in {"accept", "renew"}:
        return EVENTS["start"]
    return EVENTS["renewal" if renewal and event == "object" else event] if event in EVENTS else event


def answered(decision: str, *, renewal: bool) -> str:
    """What was answered to an objection, or to who asked for a longer term."""
    if renewal and decision in {"accept", "refuse"}:
        return EVENTS["renew"] if decision == "accept" else "不同意续期"
    return EVENTS[decision]


GROUNDS: Mapping[str, str] = {
    "idle": "{kind}：自 {first_day} 起连续 {days} 天（监测至 {last_day}）。",
    "policy": "符合检测规则“{title}”：连续 {days} 天以上。",
    "money": "在用期间每月费用 {yuan} 元。",
    "term": "申请 {request} 的使用期限至 {day}。",
    "zombie": "大数据发展局认定为僵尸信息系统；认定时得分 {score}（满分 100），特征：{signs}。",
}
"""Why a case was opened, in sentences."""
NO_SIGN = "均未得分或不掌握"

WAITS: Mapping[str, str] = {
    "calendar": "期限内的放假安排尚未公布",
    "unmeasured": "告知以来的监测数据不足（须有八成的天数，含昨天）",
    "share_unit": "本单位同时停用的资源已达上限",
    "share_cloud": "该云平台同时停用的资源已达上限",
    "in_use": "资源重新在用",
    "today": "今天的使用高于规则，待全天数据核对",
    "nobody": "使用单位及其上级单位没有可告知的人员",
}

WATCHED: Mapping[str, str] = {
    "unheard": "使用单位已撤销，告知无人接收",
    "started": "云服务器被另行启动，已重新告知",
    "calendar": "期限内的放假安排尚未公布，不按暂定日期停用",
    "nobody": "使用单位及其上级单位没有申请人和云长账号，尚未告知",
    "used": "停用期间资源重新在用，请核实后恢复使用",
    "lost": "云上未找到部分资源，已停止计量，请核实后提请释放或者恢复使用",
    "answer_late": "异议或者续期申请逾期未答复",
    "propose_late": "保留期满，逾期未提请释放",
    "confirm_late": "释放已提请，逾期未确认",
}

STEPS: Mapping[str, str] = {
    "measure_again": "复核使用情况",
    "stop_servers": "停止云服务器",
    "keep_snapshots": "保留快照",
    "start_servers": "启动云服务器",
    "attach_disks": "重新挂载云硬盘（云服务器已启动，数据仍在，可在云平台上挂载后重试）",
    "drop_snapshots": "清除快照",
    "look_before_deleting": "删除前核对",
    "case_delete": "删除资源",
    "delete": "删除资源",
}

SENTENCES: Mapping[str, str] = {
    "reclaim.state": "该事项现为“{case_state}”，不能“{case_event}”。",
    "reclaim.not_found": "没有这个回收事项，或者您无权查看。",
    "reclaim.resource_unknown": "没有这些资源：{resources}。",
    "reclaim.case_open": "该资源已列入回收事项 {case}。",
    "reclaim.release_open": "使用单位正在释放该资源，不必再发起回收。",
    "reclaim.protected": "{resource} 在检测规则的豁免之列（{reason}），不能发起回收；确需回收的，先从豁免中移出。",
    "reclaim.exempt": "该资源的异议已获接受，{until} 之前不再列入回收。",
    "reclaim.mixed": "一个回收事项只能包含同一单位在同一云平台上的资源。",
    "reclaim.not_live": "以下资源不在使用中，不能列入回收：{resources}。",
    "reclaim.not_whole": "快照与地址不单独回收，请在云平台上清理。",
    "reclaim.finding_stale": "该检测结果所依据的规则已经修改，或者资源已恢复使用，请以最近一次检测为准。",
    "reclaim.heard": "就这一次闲置已办理过回收事项并已撤销，不再自动列入。",
    "reclaim.until_missing": "接受异议应写明至哪一天不再列入回收。",
    "reclaim.until_range": "应晚于今天，且不超过 {years} 年（自定规则）。",
    "reclaim.workdays_range": "延长应为 {least} 至 {most} 个工作日（自定规则）。",
    "reclaim.not_objected": "该事项没有待答复的异议。",
    "reclaim.on_its_way": "系统正在停用，完成后即可恢复。",
    "reclaim.stopping": "系统正在停用，完成后即可提出异议。",
    "reclaim.kept": "停用的资源保留至 {until}，期满后才能提请释放。",
    "reclaim.no_trouble": "该事项没有需要重试的步骤。",
    "reclaim.no_term": "该事项不是期限届满，不能续期。",
    "policy.exempted": "属于检测规则的豁免，不收回。",
    "reclaim.dry_run_stale": "规则内容已有变化，请重新试运行后再启用。",
    "reclaim.dry_run_old": "试运行已超过 {days} 天，请重新试运行后再启用（自定规则）。",
    "reclaim.already_on": "该规则已启用。",
    "reclaim.not_on": "该规则没有启用。",
    "policy.not_found": "检测规则中没有这一项。",
    "reclaim.measured": "该事项没有在等待监测数据。",
}

NOTICES: Mapping[str, str] = {
    "reclaim.noticed_idle": "回收事项 {number}：你单位有资源{things}长期闲置，"
    "如有异议请于 {due_at} 前提出，逾期将停用。",
    "reclaim.noticed_zombie": "回收事项 {number}：你单位有信息系统拟清理{things}，"
    "如有异议请于 {due_at} 前提出，逾期停用。",
    "reclaim.noticed_term": "回收事项 {number}：你单位有资源{things}期限届满，请于 {due_at} 前申请续期，逾期将停用。",
    "reclaim.noticed_person": "回收事项 {number}：你单位有资源{things}拟收回，"
    "如有异议请于 {due_at} 前提出，逾期将停用。",
    "reclaim.term_ends": "回收事项 {number}：资源的使用期限还有 {days} 天届满，需要继续使用请申请续期。",
    "reclaim.renewal_asked": "回收事项 {number} 申请续期，请于 {due_at} 前答复。",
    "reclaim.objected": "回收事项 {number} 有新的异议，请于 {due_at} 前答复。",
    "reclaim.answered_accept": "回收事项 {number} 的异议已获接受。",
    "reclaim.answered_refuse": "回收事项 {number} 的异议未获接受，期限至 {due_at}，请查看答复。",
    "reclaim.answered_extend": "回收事项 {number} 的期限已延长，请查看答复。",
    "reclaim.renewal_accept": "回收事项 {number} 的续期申请已获同意，资源{things}可使用至 {last_day}（含）。",
    "reclaim.renewal_refuse": "回收事项 {number} 的续期申请未获同意，期限至 {due_at}，请查看答复。",
    "reclaim.renewal_extend": "回收事项 {number} 的期限已延长，请查看答复。",
    "reclaim.dropped": "回收事项 {number} 已撤销，资源{things}继续使用。",
    "reclaim.in_use": "回收事项 {number} 的资源{things}在告知后恢复使用，事项终止。",
    "reclaim.suspended": "回收事项 {number} 的资源{things}已停用，保留至 {due_at}；需要继续使用请尽快提出异议。",
    "reclaim.passed_on": "回收事项 {number} 的资源已划转至你单位，事项随之转来，如有异议请尽快提出。",
    "reclaim.resumed": "回收事项 {number} 的资源{things}已恢复使用。",
    "reclaim.proposed": "回收事项 {number} 已提请释放，请另一人确认。",
    "reclaim.running_again": "回收事项 {number} 的资源 {resources} 重新在用，已停止释放，请核实。",
    "reclaim.released": "回收事项 {number} 的资源{things}已收回，配额与网段已归还。",
    "reclaim.needs_operator": "回收事项 {number} 需要人工处理。",
    "reclaim.started": "回收事项 {number} 的云服务器已被另行启动，停用撤销，请核实。",
    "reclaim.heard_again": "回收事项 {number} 的资源已恢复运行，重新告知：如有异议请于 {due_at} 前提出，逾期将停用。",
    "reclaim.answer_due": "回收事项 {number} 的异议或者续期申请应于 {due_at} 前答复，请尽快办理。",
    "reclaim.propose_due": "回收事项 {number} 的保留期已于 {due_at} 届满，请提请释放或者恢复使用。",
    "reclaim.confirm_due": "回收事项 {number} 已于 {due_at} 提请释放，请另一人确认或者退回。",
    "reclaim.calendar_missing": "回收事项 {number} 的异议期所跨的放假安排尚未公布，暂不停用；公布后按新期限办理。",
    "reclaim.split": "回收事项 {number} 的资源超过同时停用的上限，分批停用，其余转入 {other} 依次办理。",
    "reclaim.lost": "回收事项 {number} 的资源 {resources} 在云平台上已不存在，停止计量，请核实。",
    "reclaim.turned_up": "回收事项 {number} 的资源 {resources} 在云平台上重新找到，自发现之时起恢复计量，"
    "此前提请的释放作废，请核实。",
    "reclaim.back": "回收事项 {number} 的资源 {resource} 在云平台上重新找到，而该事项的释放尚未完成；"
    "请重试：删除前会再次核对，找到的予以保留。",
    "reclaim.nobody_to_tell": "回收事项 {number} 的使用单位及其上级单位没有可告知的人员，请开通账号或者撤销事项。",
    "reclaim.unheard": "回收事项 {number} 的使用单位已撤销，告知无人接收，请确定承接单位或者撤销事项。",
    "resource.lost": "资源 {resource} 在云平台上已不存在，自 {seen_at} 发现之时起停止计量；"
    "请核实，并交还或者发起回收。",
    "resource.turned_up": "资源 {resource} 在云平台上重新找到，自 {seen_at} 发现之时起恢复计量，"
    "中断期间不计费，请核实。",
    "resource.many_missing": "云平台 {sub_cloud} 一次有 {count} 项资源找不到，可能是云平台列表异常，暂未据此停止计量；"
    "核实确实不存在后，执行 guiyun reconcile {sub_cloud} --lost（自定规则）。",
    "resource.started_outside": "已停用的云服务器 {resource} 被另行启动，自 {seen_at} 发现之时起恢复全额计费。",
}


NOT_OPENED: Mapping[str, str] = {
    "reclaim.case_open": "已列入其他回收事项。",
    "reclaim.protected": "在检测规则的豁免之列，或者一并回收的云硬盘在豁免之列。",
    "reclaim.exempt": "异议已获接受，期满之前不再列入回收。",
    "reclaim.not_live": "已不在使用中。",
    "reclaim.resource_unknown": "台账中已没有该资源。",
}


def not_opened(code: str) -> str:
    """Why a dry run would open no case, of all that it is said of: a count names no single resource or case."""
    return NOT_OPENED.get(code) or SENTENCES.get(code, code)


def share_title(row: Mapping[str, Any]) -> str:
    """A share under the pointer."""
    what = "云平台" if row["scope"] == "cloud" else "单位及下级"
    return (
        f"{row['unit']}（{what}）：在用 {row['live']} 项，至多同时停用 {row['allowed']} 项（{row['percent']}%），"
        f"已停用 {row['held']} 项，会列入 {row['would']} 项，其中第一批停用 {row['at_once']} 项"
    )


def grace_words(grace: Mapping[int, int]) -> str:
    """How long an owner may object, by MLPS level: levels with as many working days together."""
    levels: dict[int, list[int]] = {}
    for level, days in sorted({**GRACE, **grace}.items()):
        levels.setdefault(days, []).append(level)
    return "，".join(f"等保{'、'.join(map(str, of))}级 {days} 个工作日" for days, of in levels.items())
