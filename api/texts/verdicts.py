"""What placement's filters say of a sub-cloud, and what went wrong at a cloud or a step.

Called by: ``api.texts``, the pages of assessment and of the operator's desk. Must not: hold anything but text.
"""

from __future__ import annotations

from collections.abc import Mapping

VERDICTS: Mapping[str, str] = {
    "home.own": "是该单位的归属云平台。",
    "home.main_instead_of_industry": "行业云单位也可使用主云（自定规则）。",
    "home.county_uses_city_cloud": "县（市、区）应基于市云部署。",
    "home.city_cloud_of_others": "是其他市的市云。",
    "home.industry_cloud_of_others": "是其他部门的行业云。",
    "home.has_its_own": "该单位有自己的归属云平台。",
    "accredited.yes": "已通过子云认定。",
    "accredited.no": "尚未通过子云认定。",
    "authority.same": "审批、评估、交付单位与本申请一致。",
    "authority.other": "该平台由其他单位审批或交付，需另行申请。",
    "mlps.enough": "平台等级保护 {cloud} 级，满足系统 {system} 级的要求。",
    "mlps.too_low": "平台等级保护 {cloud} 级，低于系统要求的 {system} 级。",
    "zone.not_needed": "不涉及网络区域。",
    "zone.not_served": "平台没有“{zone}”。",
    "zone.no_segment_here": "该单位在此平台的“{zone}”没有网段，本申请也未申请。",
    "zone.served": "平台提供“{zone}”。",
    "offering.fits": "有符合规格的{kind}产品。",
    "offering.none": "没有符合规格的{kind}产品。",
    "image.not_needed": "不涉及镜像。",
    "image.there": "有镜像“{image}”。",
    "image.missing": "没有镜像“{image}”。",
    "capacity.short": "剩余容量不足。",
    "capacity.enough": "剩余容量充足。",
    "health.unknown": "近期没有取得运行状况。",
    "health.good": "运行正常。",
    "health.bad": "运行异常：{detail}。",
}

TROUBLES: Mapping[str, str] = {
    "busy": "云平台繁忙",
    "call_timeout": "调用云平台超时",
    "cloud.timeout": "云平台没有按时完成",
    "create.busy": "云平台正在创建，尚未完成",
    "unreachable": "无法连接云平台",
    "no_answer": "云平台没有答复",
    "quota_exceeded": "超出云平台上的项目配额",
    "no_capacity": "云平台资源不足",
    "credentials_refused": "云平台拒绝了登录凭据",
    "forbidden": "云平台不允许此操作",
    "image_unknown": "云平台上没有所需的镜像",
    "network_missing": "所在网络不存在",
    "project_missing": "云平台上没有该项目",
    "server_missing": "云服务器不存在",
    "volume_missing": "云硬盘不存在",
    "object.vanished": "资源在云平台上消失",
    "provider.vanished": "资源在云平台上消失",
    "object.untagged": "云平台上有同名但不属于桂云的资源",
    "not_ours": "云平台上的资源不属于桂云",
    "not_found": "云平台上找不到该资源",
    "provider.unknown": "没有安装这种云平台的适配器",
    "base_failed": "所依赖的资源创建失败",
    "step_failed": "执行步骤失败",
    "clouds_file.entry_missing": "云平台的连接参数没有配置",
    "clouds_file.missing": "云平台的连接参数文件没有配置",
}
