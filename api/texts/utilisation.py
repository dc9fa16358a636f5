"""Sentences for utilisation and detection: what is wrong with samples and policies, and why a resource counts as idle.

Called by: ``api.texts``, the command line. Must not: hold anything but text and how a figure is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from broker.utilisation.values import METRICS, AnyOf, Condition, Daily, Exemption, Figures, Policy, When

if TYPE_CHECKING:  # texts are part of every verb: none should load the database's layer for them
    from broker.utilisation.board import Warmth
    from broker.utilisation.findings import Evidence, Finding
    from broker.utilisation.pictures import DayFigures
    from broker.utilisation.sizing import Proposal

SENTENCES: Mapping[str, str] = {
    "metrics.missing": "没有这个文件或文件夹。",
    "metrics.format": "监测数据应为 CSV、CSV.gz 或 Parquet 文件。",
    "metrics.no_files": "文件夹中没有监测数据文件。",
    "metrics.empty": "监测数据文件是空的。",
    "metrics.broken": "监测数据文件无法读取：{detail}。",
    "metrics.not_utf8": "监测数据文件不是有效的 UTF-8 文本。",
    "metrics.column_missing": "监测数据缺少列“{column}”。",
    "metrics.column_twice": "监测数据的列“{column}”重复出现。",
    "metrics.column_type": "监测数据的列“{column}”类型不正确（{type}）。",
    "metrics.nothing_read": "监测数据中没有一行可以读取。",
    "metrics.rows_left": "略去了 {count} 行。",
    "store.scheme": "监测数据只能存放在文件夹（file:///…）或对象存储（s3://桶/目录）中，不支持“{scheme}”。",
    "store.bucket": "对象存储的位置应写作 s3://桶/目录；凭据另在设置中写明，不写在地址里。",
    "store.endpoint": "没有写明对象存储的服务地址，或地址不以 http:// 或 https:// 开头。",
    "store.credentials": "没有写明对象存储的访问密钥。",
    "store.ca": "对象存储的证书颁发机构文件无法读取。",
    "store.no_conditions": "该对象存储不支持按条件写入（If-Match），多处同时写入会丢失数据，不能使用。",
    "store.unreachable": "无法连接存放监测数据的对象存储，请稍后再试。",
    "store.refused": "存放监测数据的对象存储拒绝了访问，请检查密钥与权限。",
    "finding.not_found": "没有这条闲置检测结果。",
    "utilisation.not_collected": "有 {count} 个云平台没有采到监测数据。",
    "detection.broken": "检测中途出错，一小时后自动重做；原因见日志。",
    "store.busy": "另一项导入正在进行，请稍后再试。",
    "telemetry.shape": "采集设置的结构不正确，应为 collectors 下的列表。",
    "telemetry.sub_cloud": "没有写明云平台，或云平台“{value}”重复出现。",
    "telemetry.unknown_field": "没有这个字段“{key}”，请检查拼写。",
    "telemetry.url": "Prometheus 的地址应以 http:// 或 https:// 开头。",
    "telemetry.label": "没有写明以哪个标签标识资源，或标签名不正确。",
    "telemetry.step": "取样间隔应为 15 至 3600 秒的整数。",
    "telemetry.queries": "没有写明查询语句。",
    "telemetry.figure": "没有这项指标：{value}；可用：{choices}。",
    "telemetry.query": "查询语句是空的。",
    "telemetry.token": "令牌不能写在文件中，应写 env:环境变量名。",
    "telemetry.token_missing": "没有设置环境变量 {name}。",
    "timezone.unknown": "没有这个时区：{name}。",
    "policy.none": "文件中没有检测规则。",
    "policy.shape": "此处的结构不正确。",
    "policy.unknown_field": "没有这个字段“{key}”，请检查拼写。",
    "policy.missing": "缺少“{key}”。",
    "policy.no_days": "没有写明连续多少天（days）。",
    "policy.no_condition": "没有写明条件。",
    "policy.no_limit": "条件没有界限，应写明 below 或 above。",
    "policy.limit": "界限应为 0 至 10 亿的数值：{value}。",
    "policy.too_deep": "条件嵌套超过 {most} 层。",
    "policy.unknown_metric": "没有这个指标：{value}；可用：{choices}。",
    "policy.unknown_kind": "“{value}”类资源没有监测数据；可用：{choices}。",
    "policy.contradiction": "条件自相矛盾，永远不会成立：{metric}（{daily}）。",
    "policy.rivals": "检测规则“{one}”与“{other}”的条件相同，天数、缺测、豁免或宽限却不同，两条都会适用，请确认。",
    "policy.basis": "依据应为 ours（自定规则）或条款，如 Art. 28：{value}。",
    "policy.seen_and_measured": "写了 seen（逐日查看）的检测规则不看监测数据，不能再写 {key}。",
    "policy.choice": "不认识的取值“{value}”；可用：{choices}。",
    "policy.range": "应为 {least} 至 {most} 的整数。",
    "policy.name": "名称应由字母、数字、点、横线组成。",
    "policy.name_twice": "名称“{value}”重复出现。",
    "policy.names": "应为名称的列表。",
    "policy.text": "应为 200 字以内的文本。",
    "policy.months": "月份应为 1 至 12 的列表。",
    "policy.grace": "宽限应按等保级别（1 至 5）写明工作日数（0 至 250）。",
    "policy.exempts_nothing": "豁免没有写明对哪些资源、系统、单位、等保级别、新交付资源或者月份适用。",
    "policy.unknown_exemption": "没有这项豁免：{value}。",
    "policy.exemption_cycle": "豁免“{name}”经引用又包含了自己。",
}

SOURCES: Mapping[str, str] = {
    "prometheus": "Prometheus",
    "openstack": "OpenStack 诊断计数",
    "simulated": "模拟云",
}
"""Where a sub-cloud's samples come from."""

REASONS: Mapping[str, str] = {
    "sample.broken": "列数或格式不正确",
    "sample.resource_missing": "没有资源标识",
    "sample.hour": "时间格式不正确，应如 2013-06-30T22Z",
    "sample.number": "数值不正确",
    "sample.negative": "数值为负",
    "sample.too_large": "数值过大，不可能是实测值",
    "sample.future": "时间晚于现在",
    "sample.too_old": "早于保存期限",
    "sample.duplicate": "与另一行完全相同",
    "sample.unknown_server": "台账中没有这台云服务器",
}
"""Why a row of samples was left out: part of a line that also has its code, how many and where."""

_NAMES: Mapping[str, str] = {
    "vcpu": "开机核数",
    "mem_gib": "配置内存",
    "cpu_avg_pct": "CPU 平均利用率",
    "cpu_max_pct": "CPU 峰值利用率",
    "mem_used_gib": "已用内存",
    "disk_kbps": "磁盘读写",
    "net_kbps": "网络流量",
    "n_samples": "采样数",
    "n_off": "关机采样数",
}
_DAILY: Mapping[Daily, str] = {
    Daily.MEAN: "日均",
    Daily.MAX: "日最高",
    Daily.MIN: "日最低",
    Daily.SUM: "日合计",
    Daily.P95: "日 95 分位",
}


_SEEN: Mapping[str, str] = {
    "seen.stopped": "主机已关机，仍在计费",
    "seen.unattached": "硬盘未挂载到任何主机",
    "seen.empty": "网段中没有任何主机",
    "seen.unbound": "地址 {address} 没有被任何主机使用",
    "seen.unused": "快照 {name} 没有被使用过",
}

FINDINGS: Mapping[str, str] = {
    "idle": "长期闲置",
    "off": "关机仍计费",
    "unattached_volume": "云硬盘未挂载",
    "empty_segment": "网段无主机",
    "unbound_address": "地址无主机",
    "unused_snapshot": "快照未使用",
}
"""In what way something is idle."""

CLEARED: Mapping[str, str] = {
    "in_use": "已恢复使用",
    "not_measured": "没有监测数据，无法判断",
    "exempted": "已列入豁免",
    "suspended": "已由回收事项停用",
    "gone": "资源已回收",
    "policy_gone": "检测规则已停用或修改",
}
"""Why a finding ended."""


def finding_words(found: Finding) -> str:
    """A finding in one line: in what way, since when, for how long."""
    return f"{FINDINGS[found.kind.value]}：自 {found.first_day} 起 {found.days} 天"


def evidence_words(found: Iterable[Evidence]) -> str:
    """Why a finding is one, in words; also those kept from earlier scans."""
    return "；".join(_kept(each) for each in found)


def _kept(each: Evidence) -> str:
    if each.code != "measured":
        return _SEEN.get(each.code, each.code).format(**each.params)
    p = each.params
    below, above = (None if p.get(name) is None else Decimal(str(p[name])) for name in ("below", "above"))
    leaf = Condition(p["metric"], Daily(p["daily"]), below, above)
    return _one(Figures(leaf, p["least"], p["greatest"], p["mean"]))


_NOT_USED: Mapping[str, str] = {
    "stopped": "主机已关机，仍在计费",
    "unattached": "云硬盘未挂载到任何主机",
    "empty": "网段中没有任何主机",
    "unbound": "地址没有被任何主机使用",
    "unused": "快照没有被使用过",
}


def condition(policy: Policy) -> str:
    """What a policy asks of every day, in words."""
    return _NOT_USED[policy.seen] if policy.seen else _when(policy.when)


def _when(when: When) -> str:
    if isinstance(when, Condition):
        unit = _unit(when.metric)
        return f"{_NAMES[when.metric]}{_DAILY[when.daily]}{_limits(when, unit)}"
    parts = [f"（{_when(part)}）" if not isinstance(part, Condition) else _when(part) for part in when.parts]
    return ("，或 " if isinstance(when, AnyOf) else "，且 ").join(parts)


def exemption(found: Exemption, unknown: frozenset[str] = frozenset()) -> str:
    """Whom a policy leaves alone, and why, in words; which of their names nobody has."""
    named = (("资源", found.resources), ("信息系统", found.systems), ("单位", found.units))
    parts = [f"{what} {len(which)} 个" for what, which in named if which]
    parts += [f"交付未满 {found.newer_than_days} 天"] if found.newer_than_days else []
    parts += [f"等保{found.mlps_level_from}级以上"] if found.mlps_level_from else []
    parts += [f"{'、'.join(map(str, sorted(found.months)))} 月"] if found.months else []
    missing = sorted(unknown & (found.resources | found.systems | found.units))
    parts += [f"台账中没有 {'、'.join(missing)}，请核对"] if missing else []
    return f"{found.reason}（{'，'.join(parts) or '没有列名'}）"


def evidence(figures: Iterable[Figures]) -> str:
    """Why the days of a run match, in words: each condition, and what was measured."""
    return "；".join(_one(each) for each in figures)


def _one(figures: Figures) -> str:
    leaf = figures.condition
    unit = _unit(leaf.metric)
    what = f"{_NAMES[leaf.metric]}{_DAILY[leaf.daily]}{_limits(leaf, unit)}"
    if leaf.daily is Daily.P95:
        side = f"低于 {leaf.below:f}" if leaf.below is not None else f"不高于 {leaf.above:f}"
        share = f"{figures.least:.0%}" + (f" 至 {figures.greatest:.0%}" if figures.greatest > figures.least else "")
        return f"{what}：每天 {share} 的样本{side}{unit}"
    if figures.least == figures.greatest:
        return f"{what}：实测 {_number(figures.least)}{unit}"
    least, greatest, mean = map(_number, (figures.least, figures.greatest, figures.mean))
    return f"{what}：实测 {least} 至 {greatest}{unit}，平均 {mean}{unit}"


def _unit(metric: str) -> str:
    """As it stands behind a number."""
    unit = METRICS[metric].unit
    return unit if unit in {"", "%"} else f" {unit}"


def _limits(leaf: Condition, unit: str) -> str:
    below = f"低于 {leaf.below:f}{unit}" if leaf.below is not None else ""
    above = f"高于 {leaf.above:f}{unit}" if leaf.above is not None else ""
    return f"{above}且{below}" if above and below else above or below


def _number(value: float) -> str:
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return text if value == 0 or text.strip("0.") else "不足 0.01"


NOT_MEASURED = "—"
RISKS: Mapping[str, str] = {
    "low": "低：测得的最高负荷在新规格下也够用",
    "peaks": "中：最忙时曾用到 {peak_vcpu} 核，超过新规格，届时会变慢",
    "peaks_unknown": "CPU 峰值的监测数据不足，最忙时的需要不明",
    "memory_peaks": "中：内存最多曾用到 {peak_memory} GiB，新规格届时余量不足两成",
    "memory_unknown": "内存的监测数据不足，未建议缩减",
}


def day_title(day: date, found: DayFigures | None) -> str:
    """A day under the pointer."""
    if found is None:
        return f"{day}：没有监测数据"
    if found.off:
        return f"{day}：关机"
    parts = [
        f"CPU 平均 {_pct(found.cpu_avg_pct)}、最高 {_pct(found.cpu_max_pct)}",
        f"内存 {_pct(found.memory_pct)}",
        f"网络 {'—' if found.net_kbps is None else _number(found.net_kbps) + ' KB/s'}",
    ]
    return f"{day}：{'；'.join(parts)}"


def heat_title(found: Warmth, cloud: str) -> str:
    """A cell of the heat map under the pointer."""
    sizes = f"{found.servers} 台云服务器，{found.vcpu:.0f} 核"
    return f"{found.unit_name} · {cloud}：CPU {_pct(found.cpu_pct)}，内存 {_pct(found.memory_pct)}（{sizes}）"


def _pct(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{_number(value)}%"


def risk_words(made: Proposal) -> str:
    """What may go wrong at a smaller size."""
    peak = made.vcpu * (made.needs.cpu_peak or 0) / 100
    most = {"peak_vcpu": _number(peak), "peak_memory": _number(made.needs.memory_peak_gib or 0)}
    return "；".join(RISKS[risk.value].format(**most) for risk in made.risks)


def size_words(made: Proposal) -> str:
    """From what size to what size."""
    return f"{made.vcpu} 核 {made.memory_gib} GiB → {made.to_vcpu} 核 {made.to_memory_gib} GiB"


def needs_words(made: Proposal) -> str:
    """What the smaller size rests on."""
    n = made.needs
    memory = "" if n.memory_p95_gib is None else f"，内存 {_number(n.memory_p95_gib)} GiB"
    if n.memory_peak_gib is not None:
        memory += f"（最多 {_number(n.memory_peak_gib)} GiB）"
    return (
        f"95% 的小时内 CPU 平均不超过 {_pct(n.cpu_avg_p95)}、最高不超过 {_pct(n.cpu_max_p95)}{memory}（{n.hours} 小时）"
    )
