"""Texts of notices, by their code.

Called by: ``api.texts``, the console's inbox. Must not: hold anything but text.
"""

from __future__ import annotations

from collections.abc import Mapping

from api.texts import dedicated, reclaim, zombies

NOTICES: Mapping[str, str] = {
    **reclaim.NOTICES,
    **zombies.NOTICES,
    **dedicated.NOTICES,
    "request.submitted": "申请 {number} 已提交，请在 1 个工作日内审批。",
    "approval.approve": "申请 {number} 已获批准，转入评估。",
    "approval.return": "申请 {number} 被退回，请补正后重新提交。",
    "approval.refuse": "申请 {number} 未获批准。",
    "assessment.return": "申请 {number} 在评估中被退回，请补正后重新提交。",
    "hold.expired": "申请 {number} 的资源预留已到期，请重新评估。",
    "delivery.waiting": "申请 {number} 已完成评估，请在 1 个工作日内交付。",
    "delivery.needs_operator": "申请 {number} 的交付需要人工处理。",
    "delivery.handed_over": "申请 {number} 的资源已交付使用。",
    "release.asked": "申请 {number} 的资源申请释放，请确认。",
    "release.needs_operator": "申请 {number} 的资源释放需要人工处理。",
    "unit.waits": "{unit}的隶属关系已经变更，但其资源、配额等尚未全部随之转移（{what}），系统将继续办理，请留意。",
    "system.passed_on": "信息系统“{name}”已由{old}转到{new}，其资源、配额和此后的费用归{new}。",
    "release.done": "申请 {number} 的资源已全部收回。",
    "extranet.missing": "路由器 {router}（{vrf}）上缺少已交付的网段 {subject}，已自动恢复或待核实。",
    "extranet.changed": "路由器 {router}（{vrf}）上网段 {subject} 的配置被改动（{detail}），已自动恢复或待核实。",
    "extranet.extra": "路由器 {router}（{vrf}）上有台账之外的本系统网段 {subject}，已撤除或待核实。",
    "extranet.foreign": "路由器 {router}（{vrf}）上有规划之外的内容：{subject}（{detail}），请核实。",
    "extranet.rogue": "路由器 {router}（{vrf}）拒绝了不应发布的网段 {subject}（{detail}），请核实。",
    "extranet.filter": "路由器 {router}（{vrf}）对邻居 {subject} 的前缀过滤与外网拓扑不符：{detail}，请核实。",
    "extranet.neighbour": "路由器 {router}（{vrf}）有外网拓扑之外的邻居 {subject}（{detail}），请核实。",
    "extranet.session": "路由器 {router}（{vrf}）与邻居 {subject} 的会话未建立（{detail}），请核实。",
    "extranet.silent": "路由器 {router} 没有答复（{detail}），请核实。",
    "extranet.missing_many": "路由器 {router}（{vrf}）上缺少 {count} 个已交付的网段（{subject} 等），"
    "已自动恢复或待核实。",
    "extranet.changed_many": "路由器 {router}（{vrf}）上 {count} 个网段的配置被改动（{subject} 等），"
    "已自动恢复或待核实。",
    "extranet.extra_many": "路由器 {router}（{vrf}）上有 {count} 个台账之外的本系统网段（{subject} 等），"
    "已撤除或待核实。",
    "extranet.foreign_many": "路由器 {router}（{vrf}）上有 {count} 处规划之外的内容（{subject} 等），请核实。",
    "extranet.rogue_many": "路由器 {router}（{vrf}）拒绝了邻居 {neighbour} 发布的 {count} 个网段（{subject} 等），"
    "请核实。",
    "extranet.filter_many": "路由器 {router}（{vrf}）对 {count} 个邻居的前缀过滤与外网拓扑不符（{subject} 等），"
    "请核实。",
    "extranet.neighbour_many": "路由器 {router}（{vrf}）有 {count} 个外网拓扑之外的邻居（{subject} 等），请核实。",
    "extranet.session_many": "路由器 {router}（{vrf}）有 {count} 个邻居会话未建立（{subject} 等），请核实。",
    "extranet.unchecked": "未能核对外网路由器：{trouble}，请核实。",
    "drift.orphan": "云平台 {sub_cloud} 上有不在台账中的资源（{kind} {id}），请核实。",
    "drift.lost": "台账中的资源在云平台 {sub_cloud} 上已不存在（{kind} {id}），请核实。",
    "drift.size": "云平台 {sub_cloud} 上的资源与台账规格不一致（{kind} {id}），请核实。",
    "drift.uplink": "云平台 {sub_cloud} 上的网段没有接在外网为它安排的 VNI 或 VLAN 上（{id}），请核实。",
    "drift.duplicate": "云平台 {sub_cloud} 上有重复创建的资源（{kind} {id}），请核实。",
    "quota.near": "{unit}的{class}配额已用 {used}（限额 {limit}），达到 {percent}%（自定规则）。",
    "quota.full": "{unit}的{class}配额已满：已用 {used}，限额 {limit}（自定规则）。",
    "quota_in_cloud.near": "{unit}在{cloud}的{class}配额已用 {used}（限额 {limit}），达到 {percent}%（自定规则）。",
    "quota_in_cloud.full": "{unit}在{cloud}的{class}配额已满：已用 {used}，限额 {limit}（自定规则）。",
    "quota.near_booked": "{unit}的{class}配额已用 {used}、为下级保留 {booked}（限额 {limit}），"
    "达到 {percent}%（自定规则）。",
    "quota.full_booked": "{unit}的{class}配额已满：已用 {used}，为下级保留 {booked}，限额 {limit}（自定规则）。",
    "quota_in_cloud.near_booked": "{unit}在{cloud}的{class}配额已用 {used}、为下级保留 {booked}（限额 {limit}），"
    "达到 {percent}%（自定规则）。",
    "quota_in_cloud.full_booked": "{unit}在{cloud}的{class}配额已满：已用 {used}，为下级保留 {booked}，"
    "限额 {limit}（自定规则）。",
    "quota.borrowing": "{unit}的{class}份额 {limit} 已用完（已用 {used}，其中借用 {borrowed}）；今后再用即为借用，"
    "出借方需要时应当归还（自定规则）。",
    "quota.borrowing_booked": "{unit}的{class}份额 {limit} 已用完（已用 {used}，为下级保留 {booked}，"
    "其中借用 {borrowed}）；今后再用即为借用，出借方需要时应当归还（自定规则）。",
    "quota_in_cloud.borrowing": "{unit}在{cloud}的{class}份额 {limit} 已用完（已用 {used}，其中借用 {borrowed}）；"
    "今后再用即为借用，出借方需要时应当归还（自定规则）。",
    "quota_in_cloud.borrowing_booked": "{unit}在{cloud}的{class}份额 {limit} 已用完（已用 {used}，为下级保留 {booked}，"
    "其中借用 {borrowed}）；今后再用即为借用，出借方需要时应当归还（自定规则）。",
    "quota.claimed": "{lender}需要使用自己的{class}份额 {wanted}，请{unit}归还借用的 {amount}"
    "（已用 {used}，份额 {limit}）；系统不会自行收回（自定规则）。",
    "quota_in_cloud.claimed": "{lender}需要使用自己在{cloud}的{class}份额 {wanted}，请{unit}归还借用的 {amount}"
    "（已用 {used}，份额 {limit}）；系统不会自行收回（自定规则）。",
    "capacity.near": "{cloud}的{class}已分配 {used}（可分配 {limit}），达到 {percent}%（自定规则）。",
    "capacity.full": "{cloud}的{class}已分配完：已分配 {used}，可分配 {limit}（自定规则）。",
    "capacity.differs": "{cloud}报告的{class}总量为 {reported}，与台账的 {ours} 不一致，请核实。",
    "capacity.missing": "{cloud}报告的{class}用量为 {reported}，少于台账中在用的 {ours}，请核实。",
    "clock.due_soon": "申请 {number} 的{stage}将于 {due_at} 到期。",
    "clock.late": "申请 {number} 的{stage}已超过时限（{due_at}）。",
    "calendar.unpublished": "{year} 年的放假安排尚未公布，已有期限取决于它，暂按推算日期；公布后请写入假日文件。",
    "calendar.disputed": "几个进程（后台或者网页服务）使用的放假安排不同，期限暂停重新计算，请统一假日文件后重新启动。",
    "adjustment.proposed": "有人提出调整资源 {resource} 的费用，请另一人确认。",
    "adjustment.confirmed": "自治区财政已确认调整资源 {resource} 的费用，差额计入下一个关账月份。",
    "dispute.raised": "对 {month} 账单中资源 {resource} 的费用有新的异议，请答复。",
    "dispute.accepted": "您对资源 {resource} 费用的异议已获接受，差额计入下一个关账月份。",
    "dispute.rejected": "您对资源 {resource} 费用的异议未获接受，请查看答复。",
    "budget.used": "{payer} {year} 年预算 {amount} 元，已关账费用 {spent} 元，已达预算的 {percent}%。",
    "assessment.waiting": "申请 {number} 已获批准，请在 3 个工作日内评估。",
}

SENDINGS: Mapping[str, str] = {
    "email": "邮件",
    "webhook": "群机器人",
    "unknown": "结果不明",
    "failed": "未能发出",
}
"""Channels and states of a notice's sending."""

SENDING_CODES: Mapping[str, str] = {
    "sending.too_old": "积压超过一天，未自动发送",
    "sending.lost": "交给服务器时程序中断，是否送达不明",
    "sending.no_address": "收件地址已不存在",
    "sending.bad_address": "收件人的电子邮箱写法不对，请改正后重发",
    "sending.spent": "多次在发送前中断，已停止自动重试",
    "sending.broken": "发送程序出错，原因见日志",
    "smtp.auth": "邮件服务器不接受账号或口令",
    "smtp.unreachable": "邮件服务器连接不上",
    "smtp.lost": "正文发出之前连接中断",
    "smtp.no_answer": "正文发出之后没有答复",
    "smtp": "邮件服务器答复 {detail}",
    "smtp.550": "邮件服务器拒收：没有这个信箱（550）",
    "smtp.552": "邮件服务器拒收：信箱已满（552）",
    "smtp.554": "邮件服务器拒收（554）",
    "webhook.unreachable": "群机器人地址连接不上",
    "webhook.no_answer": "消息发出之后没有答复",
    "webhook.answer": "群机器人的答复不能识别",
    "webhook": "群机器人答复 {detail}",
    "webhook.93000": "群机器人地址无效（93000）",
    "webhook.310000": "群机器人签名或关键词不符（310000）",
    "webhook.300005": "群机器人令牌无效（300005）",
    "webhook.45009": "群机器人调用过于频繁（45009）",
    "webhook.130101": "群机器人发送过于频繁（130101）",
}
"""Why a sending failed or is unclear. A server's own number comes after the point."""
