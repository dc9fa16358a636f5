"""Chinese names of our words: states, events, roles, stages, kinds, zones, tiers, steps, articles.

Called by: ``api.texts``, the console. Must not: hold anything but text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from api.texts import dedicated, extranet, reclaim
from api.texts.register import HEADINGS

ROLES: Mapping[str, str] = {
    "applicant": "申请人",
    "unit_leader": "单位负责人",
    "approver": "审批人",
    "assessor": "评估人",
    "operator": "交付人",
    "finance": "财政",
    "audit": "审计",
    "cloud_operator": "云平台运营方",
    "cloud_chief": "云长",
    "administrator": "系统管理员",
    "system": "系统",
}

REQUEST_STATES: Mapping[str, str] = {
    "draft": "草稿",
    "submitted": "待审批",
    "returned": "已退回补正",
    "withdrawn": "已撤回",
    "refused": "不予批准",
    "approved": "待评估",
    "assessed": "待交付",
    "delivering": "交付中",
    "needs_operator": "待人工处理",
    "delivered": "已交付",
    "partly_delivered": "部分交付",
    "undelivered": "未能交付",
    "releasing": "回收中",
    "released": "已回收",
}

EVENTS: Mapping[str, str] = {
    "save": "保存",
    "submit": "提交",
    "withdraw": "撤回",
    "approve": "批准",
    "return": "退回补正",
    "refuse": "不予批准",
    "confirm": "确认评估",
    "send_back": "评估退回",
    "expire": "预留到期",
    "deliver": "下达交付",
    "stall": "转人工处理",
    "resume": "继续交付",
    "hand_over": "交付使用",
    "hand_over_part": "部分交付使用",
    "undo": "撤销交付",
    "release": "申请释放",
    "close": "办结",
}

ITEM_STATES: Mapping[str, str] = {
    "requested": "已申请",
    "held": "已预留",
    "delivering": "交付中",
    "delivered": "已交付",
    "partly_delivered": "部分交付",
    "undelivered": "未能交付",
    "released": "已回收",
    "cancelled": "已取消",
}

RESOURCE_STATES: Mapping[str, str] = {
    "planned": "已计划",
    "building": "创建中",
    "ready": "已就绪",
    "active": "使用中",
    "stopped": "已停用",
    "failed": "创建失败",
    "undone": "已撤销",
    "releasing": "释放中",
    "released": "已释放",
}

DELIVERY_STATES: Mapping[str, str] = {
    "queued": "等待执行",
    "running": "执行中",
    "needs_operator": "待人工处理",
    "delivered": "已交付",
    "partly_delivered": "部分交付",
    "undone": "已撤销",
    "expired": "预留已到期",
    "asked": "已申请",
    "released": "已释放",
    "declined": "不同意释放",
}
"""Of deliveries and of releases."""

STAGES: Mapping[str, str] = {
    "request": "申请",
    "approval": "审批",
    "assessment": "评估",
    "delivery": "交付",
    "metering": "计量",
    "chargeback": "分摊",
    "reclamation": "回收",
}

KINDS: Mapping[str, str] = {"server": "云服务器", "volume": "云硬盘", "segment": "IPv6 网段"}

ZONES: Mapping[str, str] = {"shared": "公用网络区", "private": "专用网络区", "internet": "互联网接入区"}

IMPORT_OUTCOMES: Mapping[str, str] = {
    "ok": "可以写入",
    "same": "已经存在",
    "overlaps": "与已有的重叠",
    "duplicate": "与前面的行重复",
    "outside": "不在任何地址块之内",
    "outside_parent": "不在上级地址块之内",
    "hands_out_nothing": "所在的地址块不直接分配网段",
    "wrong_zone": "与区域不符",
    "ambiguous": "多个路由域都有，请写明 routing_domain",
    "unknown_domain": "没有这个路由域",
    "has_another": "使用者已有另一个网段",
    "not_ipv6": "不是 IPv6 网段",
    "host_bits": "没有对齐",
    "too_long": "前缀过长，应不大于 64",
    "too_short": "前缀过短",
    "bad_kind": "kind 应为 block、pool 或 prefix",
    "bad_state": "state 应为 held、active、quarantined 或 reserved",
    "bad_until": "until 应为带时区的时间；静置必须写明",
    "bad_text": "含有不能保存的字符",
    "bad_label": "label 过长，或者保留没有写原因",
    "bad_id": "id 应为 UUID",
    "id_taken": "id 已被使用",
    "different": "该编号的地址块已存在且不同",
    "busy": "此处正在分配，请重试",
}

LEVELS: Mapping[str, str] = {
    "province": "自治区",
    "city": "设区市",
    "county": "县（市、区）",
    "department": "部门",
    "unit": "单位",
}
"""Levels of the IPv6 plan."""

PREFIX_STATES: Mapping[str, str] = {
    "held": "已预留",
    "active": "使用中",
    "quarantined": "静置",
    "reserved": "保留",
    "freed": "空闲",
    "spent": "空闲",
}

PREFIX_GONE: Mapping[str, str] = {
    "quarantined": "已经收回，正在静置",
    "freed": "已经收回",
    "spent": "已经收回",
    "overdue": "暂留已经到期",
    "reserved": "是保留的范围，请用 guiyun ipv6 lift 解除",
    "unknown": "没有分配过",
}
"""Why there is no prefix to work on."""

DIFFERENCES: Mapping[str, str] = {
    "node_limit": "限额的已用",
    "node_limit.booked": "限额中为下级保留的",
    "node_limit.ceiling": "已用与保留超过限额，而下级有保留的份额",
    "inventory": "云平台容量的已用",
    "hold_line.amount": "预留的数量与成立时不符",
    "hold_line.posted": "预留中已转为使用的",
    "hold_line.voided": "预留中已作废的",
    "hold_line.released": "预留中已释放的",
    "hold_line.without_hold": "明细没有预留",
    "hold_line.without_class": "明细的种类不存在",
    "hold_line.without_stock": "明细所在的云平台不提供该种类",
    "hold.owner": "预留的归属与成立时不符",
    "hold.expires_at": "预留的到期时间与成立时不符",
    "hold.node": "预留计数的节点与记载不符",
    "hold.asked_node": "预留最初的节点与记载不符",
    "hold.pinned": "预留能否到期与记载不符",
    "hold.without_lines": "预留没有明细",
    "hold.without_node": "预留的节点不存在",
    "hold.state": "预留的状态与明细不符",
    "node.path": "节点在配额树中的路径",
    "unguarded": "数据库的约束",
    "overlap": "网段重叠",
    "outside_pool": "网段越出地址块",
    "misplaced": "网段的位置与前缀不符",
    "owner_twice": "同一使用者有两个网段",
    "pool_outside_parent": "地址块越出上级",
    "pool_overlap": "地址块重叠",
    "space_shared": "两个区域占用同一段地址",
    "cursor": "分配的游标有误",
}
"""What a recount of quotas or of the IPv6 plan finds."""

TIERS: Mapping[str, str] = {"main": "主云", "industry": "行业云", "city": "市云"}

METERS: Mapping[str, str] = {
    "vcpu_x86_64": "处理器（x86-64，核）",
    "vcpu_aarch64": "处理器（ARM64，核）",
    "memory_gib": "内存（GiB）",
    "block_gib_ssd": "高性能存储（GiB）",
    "block_gib_hdd": "容量型存储（GiB）",
    "ipv6_segment": "IPv6 网段（个）",
    "object_gib": "对象存储（GiB）",
    "public_ip": "公网地址（个）",
    "gpu": "图形处理器（块）",
}

CLASSES: Mapping[str, str] = {
    **METERS,
    "vcpu": "处理器（核）",
    "memory_gib_x86_64": "内存（x86-64，GiB）",
    "memory_gib_aarch64": "内存（ARM64，GiB）",
    "ipv6_64": "IPv6 网段（/64）",
}
"""What can be scarce."""

UNLIMITED = "不限"

DECISIONS: Mapping[str, str] = {
    "approve": "批准",
    "return": "退回补正",
    "refuse": "不予批准",
    "confirm": "确认",
    "retry": "重试",
    "adopt": "认领",
    "give_up": "放弃",
}

STANDINGS: Mapping[str, str] = {"interim": "试算账单", "closed": "已关账", "reopened": "已重开"}
"""Whether a statement is owed."""

ADJUSTMENT_STATES: Mapping[str, str] = {"proposed": "待确认", "confirmed": "已确认", "dropped": "不调整"}

DISPUTE_STATES: Mapping[str, str] = {"raised": "待答复", "accepted": "已接受", "rejected": "未接受"}

NATURES: Mapping[str, str] = {"new": "新建", "migration": "迁移上云"}

STEP_STATES: Mapping[str, str] = {"running": "进行中", "done": "完成", "failed": "失败", "undone": "已撤销"}

STEPS: Mapping[str, str] = {
    "pin_hold": "锁定预留",
    "create_project": "建立项目",
    "create_segments": "建立网络与网段",
    "route_segments": "开通网段路由",
    "verify_segments": "核验可达与隔离",
    "create_volumes": "创建云硬盘",
    "create_servers": "创建云服务器",
    "attach_volumes": "挂载云硬盘",
    "configure_guests": "配置操作系统",
    "hand_over": "移交使用",
    "undo_failed": "撤除失败的资源",
    "undo": "撤销交付",
    "deliver": "交付",
    "last_reading": "末次计量",
    "delete": "删除资源",
    "give_back": "归还配额与地址",
}

FILTERS: Mapping[str, str] = {
    "home": "归属云平台",
    "accredited": "子云认定",
    "authority": "审批与交付单位",
    "mlps": "等级保护",
    "zone": "网络区域",
    "offering": "产品规格",
    "image": "操作系统镜像",
    "capacity": "容量",
    "health": "运行状况",
    "extranet": "电子政务外网接入",
}

FIELDS: Mapping[str, str] = {
    "unit": "用户单位",
    "system": "信息系统",
    "purpose": "用途",
    "contact": "联系人",
    "contact.name": "联系人姓名",
    "contact.phone": "联系电话",
    "contact.email": "电子邮箱",
    "expected_users": "预计用户数",
    "start_date": "开始日期",
    "end_date": "结束日期",
    "funding_source": "资金来源",
    "nature": "建设性质",
    "classified": "是否涉密",
    "dedicated_network": "是否需要业务专网",
    "document_number": "公文文号",
    "allow_partial": "是否接受部分交付",
    "ssh_public_key": "SSH 公钥",
    "target_cloud": "目标云平台",
    "attachments": "附件",
    "items": "申请项",
    "name": "名称",
    "count": "数量",
    "uplink": "接入外网",
    "vcpu": "处理器核数",
    "memory_gib": "内存（GiB）",
    "system_disk_gib": "系统盘（GiB）",
    "system_disk_class": "系统盘类型",
    "data_disks": "数据盘",
    "size_gib": "容量（GiB）",
    "services": "对外开放的服务",
    "block_class": "存储类型",
    "image": "操作系统镜像",
    "cpu_arch": "处理器架构",
    "zone": "网络区域",
    "reason": "理由",
    "amount_fen": "调整金额",
    "month": "月份",
    "form": "文件格式",
}

JSON_TYPES: Mapping[str, str] = {
    "json.text": "文字",
    "json.whole": "整数",
    "json.boolean": "是或否",
    "json.object": "一组字段",
    "json.list": "列表",
    "json.date": "日期（如 2026-03-01）",
    "json.instant": "带时区的时刻（如 2026-03-01T09:00:00+08:00）",
    "json.number": "数值",
    "json.other": "接口说明中规定的类型",
}

BLOCK_CLASSES: Mapping[str, str] = {"ssd": "高性能（SSD）", "hdd": "容量型（HDD）"}

BY_PARAM: Mapping[str, Mapping[str, str]] = {
    "role": ROLES,
    "state": {**RESOURCE_STATES, **ITEM_STATES, **DELIVERY_STATES, **REQUEST_STATES},
    "to": RESOURCE_STATES,
    "event": EVENTS,
    "zone": ZONES,
    "tier": TIERS,
    "kind": KINDS,
    "stage": STAGES,
    "meter": METERS,
    "class": CLASSES,
    "block_class": BLOCK_CLASSES,
    "case_state": reclaim.STATES,
    "case_event": reclaim.EVENTS,
    "expected": JSON_TYPES,
    "network_step": dedicated.STEPS,
    "trouble": {**extranet.TROUBLES, **dedicated.TROUBLES},
    "column": HEADINGS,
}
"""Which table names the value of a sentence's blank, by the blank's name."""

_DIGITS = "零一二三四五六七八九"
_ARTICLE = re.compile(r"Art\. (\d+)(?:\((\d+)\))?")


def _numeral(number: int) -> str:
    """1 to 99 in Chinese numerals."""
    tens, ones = divmod(number, 10)
    head = "" if tens == 0 else "十" if tens == 1 else f"{_DIGITS[tens]}十"
    return head + (_DIGITS[ones] if ones or not tens else "")


def article(reference: str) -> str:
    """``Art. 17(2)`` -> ``《实施细则》第十七条第（二）项``; what is not an article is returned as it is."""
    found = _ARTICLE.fullmatch(reference)
    if found is None:
        return reference
    clause = f"第（{_numeral(int(found[2]))}）项" if found[2] else ""
    return f"《实施细则》第{_numeral(int(found[1]))}条{clause}"
