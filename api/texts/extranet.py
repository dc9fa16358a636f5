"""What is wrong with a topology of the extranet, and what routers and probes say, words of its map.

Called by: ``api.texts``. Must not: hold anything but text.
"""

from __future__ import annotations

from collections.abc import Mapping

SENTENCES: Mapping[str, str] = {
    "extranet.malformed": "外网拓扑文件此处有误：{detail}。",
    "extranet.missing": "外网拓扑文件缺少此项。",
    "extranet.unknown_field": "外网拓扑文件中有不认识的字段。",
    "extranet.unknown_value": "此处的取值不在允许的范围内：{detail}。",
    "extranet.twice": "“{code}”重复出现。",
    "extranet.router_unknown": "没有这台路由器：{code}。",
    "extranet.vrf_unknown": "没有这个路由表：{code}。",
    "extranet.private_needs_unit": "专用网络区的路由表“{code}”应写明所属单位，其他区的不应写。",
    "extranet.zone_twice": "“{code}”与“{by}”属于同一网络区和单位，应合为一个。",
    "extranet.overlap": "网段 {code} 与 {by} 重叠。",
    "extranet.outside": "网段 {code} 超出了 {by} 的范围。",
    "extranet.no_room": "网段 {code} 不够划分。",
    "extranet.no_access": "路由器“{code}”没有接入任何云平台。",
    "extranet.no_session": "过滤规则没有对应的邻居：{code}。",
    "extranet.session_with_itself": "路由器“{code}”不能与自己建立邻居。",
    "extranet.two_uppers": "路由器“{code}”只能有一个上级。",
    "extranet.one_top": "应当恰有一台没有上级的路由器：{code}。",
    "extranet.not_connected": "路由器“{code}”没有通往自治区核心的路径。",
    "extranet.link_too_small": "互联网段 {code} 不应小于 /64。",
    "extranet.range": "VNI 或 VLAN 的起止次序有误：{code}。",
    "extranet.vnis_overlap": "VNI 或 VLAN 范围与“{code}”的重叠。",
    "extranet.tunnel_to_itself": "隧道的两端不能都是 {code}。",
    "extranet.one_cloud_a_router": "一台路由器只能接入一个云平台：{code}。",
    "extranet.zone_without_probe": "路由表“{code}”中没有探测点（probes: true），网段开通后无从核验。",
    "extranet.unit_unknown": "没有这个单位：{code}。",
    "extranet.cloud_unknown": "没有这个云平台：{code}。",
    "extranet.renumbered": "路由器“{code}”自身的地址会随之改变；请写明 number: {number}，或把新路由器写在最后。",
    "extranet.segment_lost": "已开通的网段 {code}（{unit}，{by}）在新拓扑中没有位置；请先收回该网段。",
    "extranet.tunnels_moved": "路由器“{router}”的隧道端点将由 {by} 改为 {code}，其上有已开通的网段；"
    "确需改接的，请加 --move-tunnels。",
    "extranet.one_attachment": "云平台“{code}”以 VXLAN（local、remote、vnis）或 VLAN（vlans）之一接入。",
    "extranet.held_back": "网段 {code} 被 {by} 的过滤规则挡住，不能通达整个网络区。",
    "extranet.cloud_not_attached": "云平台没有接入电子政务外网，网段无法开通。",
    "extranet.no_block": "外网拓扑没有为该单位在此平台的“{zone}”规划地址段。",
    "extranet.unit_not_attached": "外网拓扑中没有该单位在此云平台的网段。",
    "extranet.prefix_outside_plan": "网段 {prefix} 不在外网拓扑为该单位规划的范围内，请先核对地址规划与外网拓扑。",
    "extranet.prefix_of_another_unit": "网段 {prefix} 在外网拓扑中属于其他单位，请先核对地址规划与外网拓扑。",
    "extranet.prefix_reserved": "网段 {prefix} 在外网拓扑中保留给路由器，请先核对地址规划。",
    "extranet.prefix_length": "网段 {prefix} 的长度与外网拓扑不符，请先核对地址规划。",
    "extranet.no_topology": "还没有载入外网拓扑（guiyun extranet load）。",
    "extranet.no_network": "没有载入外网拓扑，或没有路由器的密钥（GUIYUN_EXTRANET_KEY_FILE）。",
    "extranet.no_router": "外网拓扑中没有这台路由器。",
    "extranet.differs": "外网有 {count} 处差异。",
    "services.malformed": "服务应写成 tcp/443 或 tcp/443@3fff:122::/32 的形式，同一端口的来源不重叠，"
    "来源不用内嵌 IPv4 的地址，最多 {most} 项。",
}

TROUBLES: Mapping[str, str] = {
    "extranet.unit_not_attached": "外网拓扑中没有该单位在此云平台的网段",
    "extranet.vnis_used_up": "接入路由器的 VNI 已用完",
    "extranet.router_unknown": "外网拓扑中没有这台路由器",
    "extranet.zone_unknown": "路由器上没有这个网络区",
    "extranet.prefix_malformed": "网段格式不正确",
    "extranet.prefix_not_ipv6": "不是 IPv6 网段",
    "extranet.prefix_length": "网段长度不是 /64",
    "extranet.prefix_host_bits": "网段含有主机位",
    "extranet.prefix_not_canonical": "网段写法不规范",
    "extranet.prefix_reserved": "网段已保留给路由器",
    "extranet.prefix_of_another_unit": "网段属于其他单位",
    "extranet.prefix_outside_plan": "网段不在规划之内",
    "extranet.vni_out_of_range": "VNI 不在接入范围内",
    "extranet.vni_in_use": "VNI 已被占用",
    "extranet.attachment_differs": "封装方式、隧道对端或地址分配方式与规划不符",
    "extranet.services_malformed": "开放的服务写法不正确",
    "extranet.id_malformed": "网段标识格式不正确",
    "extranet.vendor_filters_nothing": "该厂商路由器上不能限制访问，只可接入专用网络区的网段",
    "extranet.overlap_announced": "网段与已发布的其他路由重叠",
    "extranet.not_ours": "路由器上的配置不是本系统所建",
    "extranet.router_unreachable": "无法连接路由器",
    "extranet.router_timeout": "路由器没有按时完成",
    "extranet.interrupted": "执行中断，结果不明",
    "extranet.no_key": "工作进程没有可读的路由器密钥（GUIYUN_EXTRANET_KEY_FILE）",
    "extranet.check_failed": "核对中断，原因见工作进程日志",
    "extranet.cloud_not_attached": "云平台没有接入电子政务外网",
    "extranet.no_topology": "还没有载入外网拓扑",
    "extranet.router_busy": "路由器正在执行其他变更",
    "extranet.router_refused": "路由器拒绝了配置",
    "extranet.router_refuses_us": "路由器拒绝登录，或其主机密钥不符",
    "extranet.playbook_failed": "剧本执行失败",
    "extranet.unreachable": "网段在本区内不可达",
    "extranet.not_forwarding": "网关应答，但其路由器不转发报文，网段内的主机不可达",
    "extranet.leak": "网段在其他网络区可达，隔离失效",
    "extranet.still_there": "网段撤除后仍可达",
    "extranet.probe_blind": "探测点看不到网络，无法核验",
    "extranet.no_probe": "没有可用的探测点",
    "extranet.no_neighbour": "路由器上没有配置这个邻居",
}

STANDINGS: Mapping[str, str] = {
    "routed": "已开通",
    "differs": "与规划不符",
    "silent": "状态不明",
    "making": "开通中",
    "desk": "待人工处理",
    "leaving": "撤除中",
    "unrouted": "已交付，未接入外网",
    "withdrawn": "已撤除",
}
"""How it is with a segment, on the map."""

SESSIONS: Mapping[str, str] = {"up": "会话正常", "down": "会话中断", "lost": "会话不明", "unknown": "尚未核对"}
"""How it was with a pair of neighbours at the last audit, on the map."""

GAPS: Mapping[str, str] = {
    "missing": "路由器上缺少网段",
    "changed": "路由器上配置被改动",
    "extra": "路由器上有台账之外的网段",
    "foreign": "路由器上有规划之外的内容",
    "filter": "对邻居的前缀过滤与外网拓扑不符",
    "rogue": "邻居发布了不应发布的网段",
    "neighbour": "有外网拓扑之外的邻居",
    "session": "邻居会话未建立",
    "silent": "路由器没有答复",
}
"""How a router and the plan differ."""

ROUTER_LEVELS: Mapping[str, str] = {
    "region": "自治区核心",
    "city": "设区市",
    "county": "县（市、区）",
    "edge": "单位接入",
}
"""Where a router of the extranet stands."""

FACTS: Mapping[str, str] = {
    "link_gone": "接口不存在",
    "link": "接口与建立时不同{difference}",
    "address": "接口地址与规划不同{difference}",
    "advertisements": "路由通告的配置与建立时不同{difference}",
    "not_forwarding": "没有开启 IPv6 转发，主机不可达",
    "ends": "隧道接受报文的对端与规划不同{difference}",
    "services": "防火墙放行的服务与声明不同{difference}",
    "unguarded": "不在防火墙管辖的接口之列",
    "rules": "防火墙规则与规定不同{difference}",
    "unannounced": "没有向外发布",
    "interface": "不是本系统建立的接口",
    "unfinished": "建立到一半的接口",
    "opened": "没有对应接口的放行规则{difference}",
    "guarded": "防火墙管辖了不存在的接口",
    "announced": "发布了规划之外的网段",
    "route": "规划之外的路由（{how}）",
    "rule": "规划之外的策略路由",
    "bgp": "从别处引入路由的 BGP 配置",
    "table": "另有防火墙表",
    "on": "接口 {device} 上规划之外的地址",
    "peer": "自治系统 AS{asn}，名称“{name}”",
    "session": "状态：{state}",
    "from": "由 {name} 发布",
    "filter_in": "接收方向的前缀过滤与外网拓扑不同{difference}",
    "filter_out": "发送方向的前缀过滤与外网拓扑不同{difference}",
    "silent": "{trouble}",
    "unrepaired": "修复未成：{trouble}",
}
"""One thing that is otherwise on a router than it should be. ``{difference}``: what is missing, what is too much."""

MISSING, EXTRA, MORE = "缺少 {words}", "多出 {words}", "另有 {count} 处"

SESSION_STATES: Mapping[str, str] = {
    "Idle": "空闲",
    "Connect": "正在连接",
    "Active": "等待连接",
    "OpenSent": "已发出请求",
    "OpenConfirm": "等待确认",
    "Established": "已建立",
    "Clearing": "正在清除",
    "Deleted": "已删除",
    "not configured": "没有配置",
    "not active": "没有启用 IPv6",
}
"""A BGP session's state (RFC 4271, 8.2.2) as a router says it, and what we say of one that there is not."""
