"""Sentences for refusals of the seven stages and of what they stand on (units, systems, clouds, quotas, prices).

Called by: ``api.texts``. Must not: hold anything but text.
"""

from __future__ import annotations

from collections.abc import Mapping

SENTENCES: Mapping[str, str] = {
    "state.refused": "当前状态为“{state}”，不能进行“{event}”。",
    "revision.stale": "申请内容已有新的版本，请查看后再作决定。",
    "revision.none": "该申请尚未提交过。",
    # Units, systems, sub-clouds.
    "unit.unknown": "没有这个单位，或者它不在您的单位范围内。",
    "system.unknown": "没有登记这个信息系统，请先登记再申请资源。",
    "system.of_another_unit": "该信息系统属于其他单位。",
    "system.code_taken": "该系统编号已被使用。",
    "system.not_yours": "只能登记本单位及下属单位的信息系统。",
    "mlps.range": "网络安全等级保护级别应为一至五级。",
    "sub_cloud.unknown": "没有这个云平台。",
    "cloud.unknown": "没有找到可用的云平台。",
    "cloud.without_authority": "该云平台尚未明确审批、评估和交付单位，暂不能受理。",
    "image.unknown": "没有这个操作系统镜像：{image}。",
    "image.arch": "镜像“{image}”适用于 {arch} 架构。",
    "segment.missing": "“{zone}”尚无网段，请在申请中同时申请该区域的网段。",
    "item.name_twice": "名称“{name}”在本申请中重复。",
    # Request.
    "request.not_found": "没有这份申请，或者您无权查看。",
    "request.classified": "涉密系统不得部署在政务外网和政务云上，请联系电子政务内网主管部门办理。",
    "request.dedicated_network": "原则上不再新建业务专网；确需新建的，应先取得登记在案的例外批准。",
    "attachment.unknown": "有附件不存在，或者不属于本单位。",
    "attachment.type": "附件只接受以下格式：{types}。",
    "attachment.size": "附件不能为空，且不超过 {most_mib} MiB。",
    "attachment.not_found": "没有这个附件，或者您无权查看。",
    # Assessment and what is scarce.
    "placement.none": "有申请项没有可用的云平台，请查看各候选平台未通过的原因。",
    "size.refused": "不能调整为这一规格。",
    "quota.exceeded": "配额或容量不足。",
    "quota.limit": "{class} 超出单位配额：需要 {asked}，限额 {limit}，已用 {used}。",
    "quota.capacity": "{class} 容量不足：需要 {asked}，总量 {limit}，已用 {used}。",
    "quota.not_offered": "该云平台不提供 {class}。",
    "quota.step": "{class} 应为 {limit} 的整数倍，现为 {asked}。",
    "prefix.pool_full": "“{zone}”的地址空间已分配完。",
    "prefix.no_pool": "单位在“{zone}”没有可用的地址段。",
    # Delivery.
    "delivery.not_found": "没有这次交付，或者您无权查看。",
    "case.not_found": "没有这个待办事项。",
    "case.closed": "该待办事项已经处理。",
    "case.on_its_way": "交付或释放正在执行，请等它停下后再处理。",
    "secret.none": "没有可以领取的登录密钥。",
    "secret.shown": "登录密钥只显示一次，已经领取过。",
    "secret.not_yours": "登录密钥只能由申请人领取。",
    "settings.secret_key_missing": "系统没有配置加密密钥，请联系管理员。",
    "settings.database_url_missing": "没有设置数据库地址（GUIYUN_DATABASE_URL）。",
    # Reclamation.
    "release.not_found": "没有这项释放申请，或者您无权查看。",
    "release.not_asked": "该释放申请当前为“{state}”，不能确认。",
    "release.unsettled": "部分资源的交付尚待人工处理，处理完成后才能申请释放。",
    "release.in_use": "有其他资源仍在使用：{resources}，请先释放它们。",
    # Chargeback.
    "statement.unknown": "没有这份账单，或者您无权查看。",
    "statement.month_not_begun": "{month} 尚未开始，不能出账。",
    "month.invalid": "月份格式应为“年-月”，例如 2026-03。",
    "charge.price_missing": "计量项“{meter}”在该月没有价格。",
    "charge.payer_missing": "计量项“{meter}”在该月没有付费主体。",
    "charge.limit": "计量项“{meter}”的金额超出上限。",
    "settlement.price_missing": "计量项“{meter}”在该月没有与运营方结算的价格。",
    "month.closed": "{month} 已经关账。",
    "month.not_over": "{month} 尚未结束，不能关账。",
    "month.not_closed": "{month} 没有关账。",
    "month.not_last": "只能重新打开最后关账的月份（{last}）。",
    "month.out_of_order": "应当先关 {expected} 的账。",
    "reopening.reason_missing": "请写明重新打开的理由。",
    "reopening.asked": "{month} 已有人申请重新打开，等待另一人同意。",
    "reopening.not_asked": "还没有人申请重新打开 {month}。",
    "reopening.same_person": "申请和同意重新打开的应当是两个人。",
    "reopening.person_needed": "重新打开账期应由具体人员办理，不能由系统办理。",
    "budget.amount": "预算应大于零。",
    # Inventory and prices.
    "resource.not_found": "没有这个资源，或者您无权查看。",
    "resource.state_refused": "资源当前为“{state}”，不能变为“{to}”。",
    "payer.missing": "该单位使用这类云平台的付费主体尚未确定。",
}
