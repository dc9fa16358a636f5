"""Words of usage that comes by file: records, items charged once, terms.

Called by: ``api.texts``, the API, the console, the command line. Must not: hold anything but text.
"""

from __future__ import annotations

from collections.abc import Mapping

KINDS: Mapping[str, str] = {"records": "用量记录", "items": "一次性计费项", "terms": "承诺期限"}

HEADINGS: Mapping[str, str] = {
    "resource": "资源编号",
    "meter": "计量项",
    "quantity": "数量",
    "start_at": "开始时间",
    "end_at": "结束时间",
    "state": "状态",
    "at": "时间",
    "note": "说明",
    "term_months": "承诺月数",
}

COLUMNS: Mapping[str, str] = {**{name: name for name in HEADINGS}, **{text: name for name, text in HEADINGS.items()}}
"""What a column may be called in a file -> field."""

VERDICTS: Mapping[str, str] = {"new": "新增", "change": "修改", "same": "无变化", "wrong": "有误"}

SENTENCES: Mapping[str, str] = {
    "import.parquet": "不能读取该 Parquet 文件：文件已损坏，或不是 Parquet 格式。",
    "import.parquet_type": "列“{column}”的类型不是文本、整数、小数或时间。",
    "usage.cell_missing": "此项必填。",
    "usage.quantity": "数量应为 0 至 1000000000000 的整数；0 表示更正为没有用量。",
    "usage.months": "承诺月数应为 1 至 1200 的整数。",
    "usage.time": "时间应带时区并为整秒，例如 2026-10-01T00:00:00+08:00。",
    "usage.end_before_start": "结束时间应晚于开始时间。",
    "usage.state": "状态应为 active（运行）或 stopped（关机）。",
    "usage.meter_unknown": "价目中没有计量项“{meter}”。",
    "usage.meter_of_size": "计量项“{meter}”由资源本身的规格计量，不能另行导入。",
    "usage.meter_once": "该计量项按次计费，请作为一次性计费项导入。",
    "usage.meter_by_time": "该计量项按时长计费，请作为用量记录导入。",
    "usage.resource_unknown": "没有这个资源，或其所在云平台不由本单位交付。",
    "usage.never_in_use": "该资源尚未交付使用。",
    "usage.before_use": "早于该资源开始使用的时间（{since}）。",
    "usage.after_use": "晚于该资源停止使用的时间（{until}）；已停止使用的资源应写明结束时间。",
    "usage.future": "时间晚于现在，用量只能事后记录。",
    "usage.line_twice": "与第 {line} 行重复：同一资源、计量项和开始时间只能有一行。",
    "usage.overlap_line": "与第 {line} 行的时段重叠。",
    "usage.overlap": "与已有记录的时段重叠（{start_at} 至 {end_at}）；如需更正，请按该记录的开始时间导入。",
    "usage.kind": "没有这类用量文件。",
}
