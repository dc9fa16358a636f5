"""Texts of zombie systems: the five signs, their evidence in words, levels, decisions.

Called by: ``api.texts``, the console, the command line. Must not: hold anything but text and how a figure is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SENTENCES: Mapping[str, str] = {
    "zombie.not_scanned": "这个信息系统还没有检测过。",
    "zombie.seen_older": "所见之后又有新的检测结果，请刷新后再决定。",
    "zombie.confirmed": "这个信息系统已经认定为僵尸系统。",
    "zombie.decision": "决定应为 confirmed（认定）或 not_zombie（不是）。",
    "zombie.look_again": "请写明何时再看：明天以后、一年以内。",
    "zombie.rules": "检测规则有误：{detail}。",
}

SIGNS: Mapping[str, str] = {
    "out_of_step": "与业务脱节",
    "replaceable": "可被替代",
    "idle": "资源长期空闲",
    "unmaintained": "停止更新服务",
    "rare": "范围小、频率低",
}
"""The five signs of Art. 2(5)."""

EVIDENCE: Mapping[str, str] = {
    "ended": "台账登记系统已经终止，但仍占用资源",
    "business_stopped": "所支撑的业务已于 {day} 停办",
    "last_business": "最近一次办理业务在 {day}，距今 {days} 天",
    "request_since": "最近一次申请资源在 {day}，距今 {days} 天，晚于上报的最近业务日期",
    "replacement_named": "台账登记可由“{name}”替代",
    "function_alike": "功能描述与“{name}”（{code}）相近，重合 {percent}%，需人工核对",
    "servers_idle": "{servers} 台服务器中 {idle} 台空闲或关机，至少 {days} 天；未测 {unmeasured} 台",
    "contract_ended": "运维服务已于 {day} 到期，距今 {days} 天",
    "contract_runs": "运维服务到 {day} 为止",
    "last_maintained": "最近一次更新维护在 {day}，距今 {days} 天",
    "users": "月活跃用户 {users} 人",
    "scope": "使用范围：{text}",
    "frequency": "使用频率：{text}",
}
UNKNOWN: Mapping[str, str] = {
    "out_of_step": "不掌握：台账没有最近业务日期",
    "replaceable": "不掌握：台账没有登记可替代的系统，也没有功能相近的系统",
    "idle": "不掌握：没有服务器，或没有监测数据",
    "unmaintained": "不掌握：台账没有运维情况",
    "rare": "不掌握：台账没有用户数，使用频率无法识别",
}
SOURCES: Mapping[str, str] = {"register": "台账", "requests": "资源申请", "utilisation": "监测数据与资源台账"}
LEVELS: Mapping[str, str] = {"likely": "高度疑似", "suspected": "疑似", "none": "未见迹象"}
DECISIONS: Mapping[str, str] = {"confirmed": "认定为僵尸系统", "not_zombie": "不是僵尸系统"}
CAUTIONS: Mapping[str, str] = {
    "seasonal": "季节性使用：应在业务季节内复核。",
    "mlps": "等级保护三级以上：回收前的异议期更长，请核对业务影响。",
    "unmeasured": "部分服务器没有监测数据：未测的按不空闲计。",
}


NOTICES: Mapping[str, str] = {
    "zombie.proposed": "夜间检测新发现疑似僵尸信息系统 {count} 个：{systems}，请查看依据并认定。",
}

TOO_LITTLE = "依据不足"
ENOUGH = 3
"""Of fewer signs known nobody can say that there are none."""


def level(found: str, known: int) -> str:
    """What the score says; a low one of which too little is known says that."""
    return TOO_LITTLE if found == "none" and known < ENOUGH else LEVELS[found]


def evidence(given: Mapping[str, Any]) -> str:
    """One piece of evidence in words."""
    code, params = str(given["code"]), dict(given["params"])
    return EVIDENCE.get(code, code).format_map(params)


def score(hundredths: int) -> str:
    """Of 100, two decimals: ``72.50``."""
    return f"{hundredths // 100}.{hundredths % 100:02d}"
