"""Words of statements, overviews, settlements and disputes.

Called by: ``api.documents``, the console, the command line. Must not: hold anything but text.
"""

from __future__ import annotations

from collections.abc import Mapping

AXES: Mapping[str, str] = {
    "system": "按信息系统",
    "meter": "按资源类别",
    "cloud": "按云平台",
    "unit": "按使用单位",
    "rule": "按付费规则",
}

AXIS_HEADINGS: Mapping[str, str] = {
    "system": "信息系统",
    "meter": "资源类别",
    "cloud": "云平台",
    "unit": "使用单位",
    "rule": "付费规则（依据）",
}

PER: Mapping[str, str] = {"hour": "元/小时", "month": "元/月", "once": "元/次"}

NO_SYSTEM = "未登记信息系统"
ADJUSTMENT = "调整"
LATE = "{month} 用量更正"
ONCE = "一次性计费，{used}"
ROUNDING = "每行金额由“单价 × 数量 × 时间”一次舍入到分（四舍六入五成双），合计为各行之和。"
ISSUER = "开具单位：{name}。"
MORE_LINES = "本账单共 {lines} 行，此处只列前 {shown} 行；全部明细见 Excel 或 CSV。"

PART = "只列出本县（市、区）使用的部分；全部账单由付费的市财政查看。"

OWED = "应付"
THIS_MONTH = "本月"
LAST_MONTH = "上月"
UNIFIED = "纳入统一管理的行业云"
OUTSIDE = "未纳入统一管理的行业云"
MAIN = "主云"
SETTLED = "应结算"
BUDGET = "预算"
SPENT = "已用"
FORECAST = "全年预计"

PAYER_KINDS: Mapping[str, str] = {
    "city": "各市",
    "region": "自治区本级",
    "department": "自治区部门",
    "county": "县（市、区）",
    "office": "其他单位",
}

TABS: Mapping[str, str] = {
    "statements": "账单",
    "payers": "应付总览",
    "industry": "行业云",
    "budgets": "预算",
    "settlements": "运营方结算",
    "disputes": "异议",
    "adjustments": "调整",
    "months": "关账",
}
