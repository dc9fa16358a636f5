"""Texts of the register of information systems: refusals, headings of its files, verdicts, endings.

Called by: ``api.texts``, the console, the command line, ``api.documents``. Must not: hold anything but text.
"""

from __future__ import annotations

from collections.abc import Mapping

SENTENCES: Mapping[str, str] = {
    "system.not_found": "没有这个信息系统，或者您无权查看。",
    "system.leaves_stock": (
        "该系统按存量登记；批准日期改为 {day} 及以后即为新增，应写明由哪些系统合并而来，"
        "或附新增理由报大数据发展局批准。"
    ),
    "system.total_only_falls": (
        "信息系统总量“只减不增”：{day}（含）以后批准的新系统，应写明由哪些系统合并而来，或附新增理由报大数据发展局批准。"
    ),
    "system.proposed": "该编号的新增申请正在等待大数据发展局批准。",
    "system.proposal_unknown": "没有这份新增申请。",
    "system.proposal_decided": "这份新增申请已经作出决定。",
    "system.ended": "该信息系统已经终止，不能再修改。",
    "system.unit_fixed": "所属单位不能在此修改；改由其他单位主管由大数据发展局办理划转，移交给外部单位请办理移交。",
    "system.same_unit": "该信息系统已经属于这个单位。",
    "system.no_room": "接收单位的配额不足以容纳该信息系统已有的资源，请先调整配额，再办理划转。",
    "system.in_flight": "该信息系统的资源尚有办理中的事项（{what}），请待其办结后再划转或合并。",
    "system.case_mixed": "回收事项 {case} 还包含其他信息系统的资源，请先办结或撤销该事项，再划转或合并。",
    "system.merge_elsewhere": "该系统占用资源，不能直接并入其他单位的系统；应先由大数据发展局划转，再由接收单位合并。",
    "system.left": "申请所列的信息系统已经划转、合并或终止，不再属于申请单位，请退回申请单位修改。",
    "system.code_fixed": "系统编号不能改变。",
    "system.code_form": "编号由字母、数字、点、横线、下划线组成，以字母或数字开头，至多 40 个字符。",
    "system.number": "应为不小于零的整数。",
    "system.owner_unknown": "没有这个账号，或不属于本单位及下属单位。",
    "system.replaces_itself": "可替代系统不能是本系统。",
    "system.replacement_unknown": "可替代系统“{code}”没有登记或已经终止。",
    "system.future": "日期不能晚于今天。",
    "system.reported_on": "填写了使用情况，应写明截止日期。",
    "system.after_report": "日期晚于使用情况的截止日期。",
    "system.merge_unknown": "要合并的系统“{code}”没有登记，或不属于本单位及下属单位。",
    "system.merge_ended": "要合并的系统“{code}”已经终止。",
    "system.merge_twice": "要合并的系统“{code}”重复出现，或就是本系统。",
    "system.merge_most": "一次至多合并 {most} 个系统。",
    "system.ending_unknown": "终止方式应为合并、关停或移交。",
    "system.handed_to": "请填写接收单位。",
    "import.not_found": "没有这份导入文件，或者不是您上传的。",
    "import.applied": "这份文件已经导入。",
    "import.changed": "台账在预检之后有变化，请重新预检后再导入。",
    "import.too_large": "文件超过 {most_mib} MiB 的上限。",
    "import.too_many_lines": "文件超过 {most} 行的上限。",
    "import.too_many_columns": "文件超过 {most} 列的上限。",
    "import.empty": "文件中没有内容。",
    "import.encoding": "CSV 文件应为 UTF-8 或 GB 18030 编码的文本。",
    "import.old_excel": "这是旧版 Excel（.xls）或加密的文件，请另存为不加密的 .xlsx。",
    "import.broken": "文件无法读取（{detail}）。应为 .xlsx 或 CSV。",
    "import.bomb": "文件解开后超过 {most_mib} MiB，不予处理。",
    "import.entities": "文件中含有 XML 实体声明，不予处理。",
    "import.unknown_column": "不认识的列“{column}”，请使用模板的列名。",
    "import.column_twice": "列“{column}”重复出现。",
    "import.missing_column": "缺少列“{column}”。",
    "import.formula": "单元格中是公式，请改为数值或文本。",
    "import.cell_error": "单元格的值是错误（如 #REF!）。",
    "import.cell_logical": "单元格的值是逻辑值，应为文本。",
    "import.cell_long": "单元格内容过长。",
    "import.cell_control": "单元格中含有控制字符。",
    "import.cell_beyond": "本行的内容超出了表头的列。",
    "import.code_twice": "编号“{code}”在文件中出现多次。",
    "file.form": "文件格式应为 xlsx 或 csv。",
}

HEADINGS: Mapping[str, str] = {
    "code": "系统编号",
    "unit": "所属单位代码",
    "name": "系统名称",
    "mlps_level": "等级保护级别",
    "function": "功能",
    "scope_of_use": "使用范围",
    "frequency_of_use": "使用频率",
    "approving_department": "审批部门",
    "approved_on": "审批时间",
    "funding_source": "经费来源",
    "owner": "责任人账号",
    "in_use_since": "投入使用时间",
    "monthly_users": "月活跃用户数",
    "last_business_on": "最近业务办理日期",
    "business_stopped_on": "所支撑业务停办日期",
    "last_maintained_on": "最近更新维护日期",
    "maintenance_until": "运维服务截止日期",
    "replaceable_by": "可替代系统编号",
    "reported_on": "使用情况截止日期",
    "merges": "合并的系统编号",
    "growth_reason": "新增理由",
}
"""A column of the register's files by its field, in order."""

SHOWN_ONLY: Mapping[str, str] = {
    "unit_name": "所属单位",
    "state": "状态",
    "registered_at": "登记时间",
    "ended_kind": "终止方式",
    "retired_at": "终止时间",
    "ended_reason": "终止原因",
}
"""Columns that an export has besides, for readers."""

COLUMNS: Mapping[str, str] = {
    **{name: name for name in (*HEADINGS, *SHOWN_ONLY)},
    **{heading: name for name, heading in (*HEADINGS.items(), *SHOWN_ONLY.items())},
    "资金来源": "funding_source",
}
"""What a column may be called -> its field."""

HINTS: Mapping[str, str] = {
    "code": "必填。全区唯一，例如 jyt-xjgl；已登记的编号表示修改。",
    "unit": "必填。单位代码，例如 jyt；已登记的系统不能改变。",
    "name": "必填。",
    "mlps_level": "必填。1 至 5，或一级至五级。",
    "function": "必填。",
    "scope_of_use": "必填。例如：全区中小学。",
    "frequency_of_use": "必填。例如：每日、每周、每月、每年。",
    "approving_department": "必填。",
    "approved_on": "日期。2019-09-11 以前批准的为存量系统。",
    "funding_source": "必填。",
    "owner": "本单位人员的登录账号。",
    "in_use_since": "日期。",
    "monthly_users": "整数。不清楚的留空，不要填 0。",
    "last_business_on": "日期。最近一次办理业务的日期。",
    "business_stopped_on": "日期。业务已停办的填写。",
    "last_maintained_on": "日期。最近一次更新或维护的日期。",
    "maintenance_until": "日期。运维合同截止。",
    "replaceable_by": "功能可由哪个系统替代，填其编号。",
    "reported_on": "日期。填写了使用情况的必填。",
    "merges": "新系统由哪些系统合并而来，填其编号，用逗号分开；导入后这些系统终止。",
    "growth_reason": "2019-09-11 以后批准、又没有合并其他系统的新系统必填；导入后报大数据发展局批准。",
}

VERDICTS: Mapping[str, str] = {
    "new": "新登记",
    "proposal": "报批新增",
    "change": "修改",
    "same": "无变化",
    "wrong": "有误",
}

ENDINGS: Mapping[str, str] = {"merged": "合并", "shut_down": "关停", "handed_over": "移交"}
STATES: Mapping[str, str] = {"in_use": "在用", "ended": "已终止"}
MOVES: Mapping[str, str] = {"move": "划转", "end": "合并"}
"""How a system came to another unit."""
SOURCES: Mapping[str, str] = {
    "form": "登记与修改",
    "import": "批量导入",
    "region": "区域文件",
    "proposal": "报批新增",
    "end": "终止",
    "move": "划转",
}
PROPOSALS: Mapping[str, str] = {"approved": "已批准", "refused": "未批准", "": "待批准"}
TEMPLATE_NAME = "信息系统台账模板"
EXPORT_NAME = "信息系统台账"
