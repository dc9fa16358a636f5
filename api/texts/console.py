"""Texts of the console that code chooses: what has just been done, titles of desks, how late something is.

Called by: ``api.console``. Must not: hold anything but text. Words that stand still on a page stand in its template.
"""

from __future__ import annotations

from collections.abc import Mapping

CASE_MARKS: Mapping[str, str] = {"suspended": "已停用", "open": "已列入回收", "see": "见回收事项"}
"""What is said of a resource that an open reclaim case is about."""

DONE: Mapping[str, str] = {
    "reclaim": "已办理。",
    "policy_tried": "已试运行，未发起任何回收。",
    "policy_on": "已启用，检测到的资源将自动发起回收。",
    "policy_off": "已停用，不再发起新的回收；已发起的继续办理。",
    "reclaim_opened": "已发起回收，系统将告知使用单位。",
    "saved": "草稿已保存。",
    "submitted": "申请已提交，审批时限为 1 个工作日。",
    "withdrawn": "申请已撤回。",
    "approve": "已批准，申请转入评估。",
    "return": "已退回补正，申请人将收到通知。",
    "refuse": "已作出不予批准的决定，申请人将收到通知。",
    "assessed": "评估已确认，配额、容量与地址已预留，申请转入交付。",
    "sent_back": "已退回申请人补正。",
    "ordered": "已下达交付，进度将在本页实时显示。",
    "retry": "已安排重试。",
    "adopt": "已安排认领云平台上的现有资源。",
    "give_up": "已放弃该资源，其余部分继续办理。",
    "release_asked": "释放申请已提出，待交付单位确认。",
    "release_confirmed": "已确认释放，资源正在收回。",
    "capacity_accept": "已采用云平台报告的总量，并记入审计。",
    "capacity_leave": "已记录：保留台账的总量。",
    "limits_set": "限额已设置，并记入审计。",
    "node_given": "已单设节点，并记入审计；可为其设置限额。",
    "node_moved": "节点已移动，并记入审计。",
    "issued": "账单已生成。",
    "month_closed": "已关账，账单不再改变。",
    "reopening_asked": "已申请重新打开，由另一人同意后生效。",
    "month_reopened": "该月已重新打开，可以再次关账。",
    "beginning_asked": "已申请，由另一人同意后生效。",
    "beginning_agreed": "账目起始月份已设定。",
    "beginning_dropped": "该申请不再进行。",
    "budget_set": "预算已设定。",
    "step_set": "行业云上限已设定。",
    "adjustment_proposed": "调整已提出，由自治区财政的另一人确认。",
    "adjustment_confirmed": "调整已确认，差额将计入下一个关账月份的账单。",
    "adjustment_dropped": "该调整不再进行。",
    "disputed": "异议已提交，自治区财政将予以答复。",
    "dispute_accepted": "已接受异议，差额将计入下一个关账月份的账单。",
    "dispute_rejected": "已答复：不接受该异议。",
    "registered": "信息系统已登记。",
    "revised": "登记内容已修改，此前的内容留存。",
    "ended": "信息系统已终止，登记内容留存。",
    "moved": "信息系统已划转，其资源、配额和此后的费用归接收单位。",
    "proposed": "新增申请已报大数据发展局。",
    "proposal_approved": "已同意新增，信息系统已登记。",
    "proposal_refused": "已作出不同意新增的决定。",
    "imported": "文件已导入台账。",
    "usage_imported": "用量已导入，已关账月份的变动在下一次关账时列为调整。",
    "network_registered": "业务专网已登记，请在期限内报送迁移计划。",
    "network_done": "已办理。",
    "zombies_scanned": "检测完成，结果如下。",
    "zombie_confirmed": "已认定为僵尸系统，所占用的资源转入回收。",
    "zombie_not": "已认定不是僵尸系统，到期后再看。",
    "read": "已全部标为已读。",
    "signed_out": "您已安全退出。",
}
"""What the page says after an action, by the word in its address."""

DESKS: Mapping[str, str] = {
    "approval": "待审批",
    "assessment": "待评估",
    "delivery": "待交付",
    "carrying": "交付与回收中",
    "cases": "待人工处理",
    "releases": "待确认释放",
    "watched": "待关注的回收事项",
    "lost": "云平台上已不存在、待处理的资源",
    "calendar": "工作日历",
}

DUE: Mapping[str, str] = {
    "late": "已逾期 {span}",
    "soon": "剩余 {span}",
    "ahead": "剩余 {span}",
}

SPANS: Mapping[str, str] = {"days": "{n} 天", "hours": "{n} 小时", "minutes": "{n} 分钟", "seconds": "{n} 秒"}

STOPS: Mapping[str, str] = {
    "request": "申请",
    "approval": "受理审批",
    "assessment": "评估",
    "delivery": "交付",
    "use": "使用计量",
    "reclamation": "回收",
}
"""The stops of a request's road, as the page shows them."""

UNLIMITED = "不限"
FREE = "未分配"
NOBODY = "系统"
OURS = "自定规则"
NO_NAME = "—"

MENU: Mapping[str, str] = {
    "home": "工作台",
    "requests": "资源申请",
    "quota": "配额",
    "ipv6": "IPv6 规划",
    "region": "云平台",
    "idle": "闲置",
    "systems": "信息系统",
    "reclaim": "资源回收",
    "statements": "账单",
    "settlements": "结算",
    "usage": "用量",
    "audit": "审计",
}

PAYER_RULES: Mapping[str, str] = {
    "region_budget": "自治区本级承担",
    "unified_management": "纳入统一管理的行业云，由自治区统筹",
    "own_industry_cloud": "未纳入统一管理的行业云，由建设部门承担",
    "own_city_cloud": "本市市云，由本市承担",
    "city_beside_own_cloud": "本市另用主云，由本市承担",
    "city_without_cloud": "无市云的市使用主云，由本市承担",
}

PER: Mapping[str, str] = {"hour": "元/小时", "month": "元/月"}

ITEM = "申请项 {n}"
ROW = "第 {n} 行：{text}"
DATA_DISK = "数据盘 {n}"
SERVER = "{vcpu} 核 {memory} GiB，{disks}，{image}"

MARKS: Mapping[str, str] = {
    "submit": "提交申请",
    "resubmit": "补正后重新提交",
    "approve": "批准",
    "return": "退回补正",
    "refuse": "不予批准",
    "confirm": "确认评估",
    "deliver": "下达交付",
    "hand_over": "移交使用",
    "metering": "开始计量",
    "release": "申请释放",
    "confirm_release": "确认释放",
    "close": "收回完成",
}
"""What happened at a stop of the road."""

STOP_STATES: Mapping[str, str] = {
    "done": "已完成",
    "here": "办理中",
    "ahead": "未开始",
    "never": "未进行",
}
