"""Texts of dedicated networks (业务专网): refusals, steps, headings of its files, notices.

Called by: ``api.texts``, the console, the command line, ``api.documents``. Must not: hold anything but text.
"""

from __future__ import annotations

from collections.abc import Mapping

SENTENCES: Mapping[str, str] = {
    "network.not_found": "没有这个业务专网，或者您无权查看。",
    "network.not_yours": "业务专网由建设单位登记和办理。",
    "network.none_new": (
        "原则上不得新建业务专网：{day}（含）以后建成或者建成时间不明的，应先由大数据发展局登记例外批准。"
    ),
    "network.classified": "涉密业务专网的迁移计划报送广西电子政务内网建设和管理协调小组办公室，本系统不登记。",
    "network.code_taken": "这个编号已经登记。",
    "network.code_fixed": "专网编号不能改变。",
    "network.unit_fixed": "建设单位不能改变。",
    "network.of_another_unit": "这个编号属于其他单位的业务专网。",
    "network.closed": "该业务专网已经撤并改，不能再修改。",
    "network.person_unknown": "没有这个账号“{login}”，或不属于本单位及下属单位。",
    "network.system_unknown": "信息系统“{code}”没有登记，或已经终止。",
    "network.system_twice": "信息系统“{code}”重复出现。",
    "network.systems_fixed": "信息系统已经迁移，所承载的系统不能再改变。",
    "network.systems_most": "一个业务专网至多列 {most} 个信息系统。",
    "network.level": "覆盖层级应为自治区、市、县、乡、村之一。",
    "network.money": "年运行经费应为不小于零的金额（元），至多两位小数。",
    "network.links": "专线条数应为不小于零的整数。",
    "network.yes_or_no": "应填“是”或“否”。",
    "network.zone": "接入的网络区应为公用、专用或互联网接入区。",
    "network.date_range": "日期不能早于今天，也不能过远。",
    "network.date_order": "日期早于前一步的日期。",
    "network.done_order": "完成日期早于前一步的完成日期 {day}。",
    "network.step_done": "“{network_step}”已经完成，不能再次办理。",
    "network.step_order": "应先完成“{network_step}”。",
    "network.not_planned": "迁移计划还没有报送，这一步没有期限可调整。",
    "network.evidence": "请写明依据（文号、验收材料等）。",
    "network.outcome": "处置方式应为撤销、合并或改造。",
    "network.probing": "已报告联通，正由探测点核验，请等待结果。",
    "network.no_segment": "联通应落实到至少一个已交付的电子政务外网网段（{zone}）。",
    "network.segment_unknown": "没有网段“{segment}”，或不属于本单位。",
    "network.segment_not_delivered": "网段“{segment}”没有交付，或已经释放。",
    "network.segment_zone": "网段“{segment}”不在计划的网络区（{zone}）。",
    "network.segment_not_verified": "网段“{segment}”没有通过核验：尚未在本区可达、在其他区不可达，或正待人工处理。",
    "network.no_systems": "没有列出所承载的信息系统，无法核对是否已经迁移；确实没有的，请大数据发展局确认。",
    "network.system_planned": "计划已经报送，系统“{code}”不能自行移出清单；确有原因的，请大数据发展局裁定。",
    "network.system_not_listed": "清单中没有系统“{code}”。",
    "network.carries_systems": "清单中还有 {count} 个系统，请写明移出哪些。",
    "network.system_waiting": "信息系统“{name}”（{code}）还没有迁移：没有服务器在本专网的外网网段上，也没有终止。",
    "network.closing_proposed": "撤并改已经报请，等待大数据发展局确认。",
    "network.no_closing": "没有等待确认的撤并改。",
    "network.decision": "决定应为 confirmed（确认）或 declined（不同意）。",
    "network.stay_until": "保留期限应在明天以后、三年以内（自定规则）。",
}

TROUBLES: Mapping[str, str] = {
    "network.step_done": "这一步已经完成",
    "network.step_order": "应先完成前一步",
    "network.segment_unknown": "网段已不存在或不属于本单位",
    "network.segment_not_delivered": "网段没有交付，或已经释放",
    "network.segment_zone": "网段不在计划的网络区",
    "network.segment_not_verified": "网段正待人工处理",
}
"""Why a reported connection was refused after all, beside what probes say."""

STEPS: Mapping[str, str] = {
    "plan": "自查与迁移计划",
    "connect": "联通",
    "migrate": "迁移",
    "shut_down": "撤并改",
}
"""The steps of Art. 11."""
STATES: Mapping[str, str] = {
    "plan": "待报计划",
    "connect": "待联通",
    "migrate": "待迁移",
    "shut_down": "待撤并改",
    "closed": "已撤并改",
}
"""How far a network is: what comes next."""
LEVELS: Mapping[str, str] = {
    "region": "自治区级",
    "city": "市级",
    "county": "县级",
    "township": "乡级",
    "village": "村级",
}
OUTCOMES: Mapping[str, str] = {"removed": "撤销", "merged": "合并", "converted": "改造"}
CLOSING: Mapping[str, str] = {"": "待确认", "confirmed": "已确认", "declined": "不同意"}
LIFTED: Mapping[str, str] = {"done": "已完成", "dated": "期限已调整", "stays": "已批准保留"}
SOURCES: Mapping[str, str] = {"form": "登记与修改", "import": "批量导入", "move": "随单位合并转入"}
VERDICTS: Mapping[str, str] = {"new": "新登记", "change": "修改", "same": "无变化", "wrong": "有误"}
FUNDS_RULE = (
    "未按计划整合迁移的，财政部门不再拨付机房、网络、信息系统硬件等建设运维经费，在单位其他经费中也不得列支相关费用。"
)
"""What Art. 10 says of it."""

HEADINGS: Mapping[str, str] = {
    "code": "专网编号",
    "unit": "建设单位代码",
    "name": "专网名称",
    "purpose": "用途",
    "level": "覆盖层级",
    "coverage": "覆盖范围",
    "classified": "是否涉密",
    "built_on": "建成时间",
    "grounds": "建设依据",
    "links": "专线条数",
    "carrier": "线路运营商",
    "funding_source": "经费来源",
    "yearly_cost_fen": "年运行经费（元）",
    "responsible": "责任人账号",
    "systems": "承载的信息系统编号",
}
"""A column of the list's files by its field, in order."""

SHOWN_ONLY: Mapping[str, str] = {
    "unit_name": "建设单位",
    "state": "进度",
    "due_on": "下一步期限",
    "stopped": "经费停拨",
}
"""Columns that an export has besides, for readers."""

COLUMNS: Mapping[str, str] = {
    **{name: name for name in (*HEADINGS, *SHOWN_ONLY)},
    **{heading: name for name, heading in (*HEADINGS.items(), *SHOWN_ONLY.items())},
}
"""What a column may be called -> its field."""

HINTS: Mapping[str, str] = {
    "code": "必填。全区唯一，例如 jyt-zw；已登记的编号表示修改。",
    "unit": "必填。单位代码，例如 jyt；已登记的专网不能改变。",
    "name": "必填。",
    "purpose": "必填。监测、公共服务、社会管理等。",
    "level": "必填。自治区、市、县、乡、村。",
    "coverage": "必填。例如：14 个市、111 个县（市、区）。",
    "classified": "必填。涉密专网不在此登记。",
    "built_on": "日期。2019-09-11（含）以后建成或不明的，应先有例外批准。",
    "grounds": "必填。批准建设的文件及文号。",
    "links": "必填。整数。",
    "carrier": "必填。",
    "funding_source": "必填。",
    "yearly_cost_fen": "必填。元，至多两位小数。",
    "responsible": "必填。本单位人员的登录账号。",
    "systems": "信息系统台账中的编号，用逗号分开。",
}
TEMPLATE_NAME = "业务专网台账模板"
EXPORT_NAME = "业务专网台账"

FIELDS: Mapping[str, str] = {
    **HEADINGS,
    "scope": "迁移范围",
    "content": "迁移内容",
    "zone": "接入的网络区",
    "leader": "责任领导账号",
    "office": "责任处室",
    "liaison": "联络员账号",
    "document_number": "文号",
    "due_on": "完成期限",
    "done_on": "完成日期",
    "evidence": "依据",
    "segments": "网段编号",
    "outcome": "处置方式",
    "until": "保留至",
    "reason": "理由",
    "answer": "意见",
    **{f"dates.{step}.due_on": f"{name}的期限" for step, name in STEPS.items()},
    **{f"dates.{step}.owner": f"{name}的责任人账号" for step, name in STEPS.items()},
}
"""What forms call their fields."""

NOTICES: Mapping[str, str] = {
    "network.planned": "业务专网“{network}”已报送迁移计划。",
    "network.late": (
        "业务专网“{network}”的“{network_step}”期限为 {day}，现已逾期；至 {report_at} 仍未完成的，报告财政部门。"
    ),
    "network.funds_stopped": "业务专网“{network}”的“{network_step}”逾期未完成，已报告财政部门，相关经费停拨。",
    "network.funds_stop": (
        "业务专网“{network}”未按计划整合迁移（“{network_step}”期限为 {day}），按《实施细则》第十条停拨其建设运维经费。"
    ),
    "network.funds_lifted": "业务专网“{network}”已不再逾期，经费停拨解除。",
    "network.funds_lift": "业务专网“{network}”已不再逾期，可以恢复拨付其经费。",
    "network.redated": "业务专网“{network}”的“{network_step}”期限调整为 {day}。",
    "network.connected": "业务专网“{network}”已联通：探测点当日核验通过。",
    "network.not_connected": "业务专网“{network}”报告的联通没有通过当日核验：{trouble}。请处理后重新报告。",
    "network.segments_silent": "业务专网“{network}”报告联通的网段没有通过当日核验：{trouble}，请核实。",
    "network.handed_on": "业务专网“{network}”的“{network_step}”改由您负责，期限为 {day}。",
    "network.handed_over": "业务专网“{network}”的“{network_step}”改由他人负责。",
    "network.ruled": "经大数据发展局裁定，{systems} 移出业务专网“{network}”的系统清单。",
    "network.ruled_none": "经大数据发展局确认，业务专网“{network}”不承载信息系统。",
    "network.stays": "业务专网“{network}”经批准保留至 {day}。",
    "network.closing_proposed": "业务专网“{network}”报请撤并改，请确认。",
    "network.closing_confirmed": "业务专网“{network}”的撤并改已确认。",
    "network.closing_declined": "业务专网“{network}”的撤并改没有得到同意，请查看意见。",
}
