"""Sentences for what can be wrong with any request: signing in, permissions, JSON, fields, versions, the system itself.

Called by: ``api.texts``. Must not: hold anything but text.
"""

from __future__ import annotations

from collections.abc import Mapping

SENTENCES: Mapping[str, str] = {
    # Signing in and who may do what.
    "sign_in.refused": "用户名或密码不正确。",
    "sign_in.too_many": "登录尝试过于频繁，请在 {retry_after_s} 秒后再试。",
    "session.missing": "请先登录。",
    "session.invalid": "登录已失效，请重新登录。",
    "token.invalid": "访问令牌无效、已过期或已被撤销。",
    "token.unknown": "没有这个访问令牌。",
    "person.not_found": "没有这个人员。",
    "csrf.missing": "页面已失效，请刷新后重试（缺少防跨站令牌）。",
    "csrf.cross_site": "拒绝来自其他网站的提交。",
    "role.missing": "您的角色不能进行此项操作。",
    "duty.missing": "此项操作由承担该职责的单位中具有“{role}”角色的人员办理，您没有这一职责。",
    "duty.separated": "申请、审批与交付应由不同人员办理，您已参与前一环节，不能办理此项操作。",
    "rate.too_many": "请求过于频繁，请稍后再试。",
    # HTTP.
    "http.bad_request": "请求格式有误，无法处理。",
    "http.not_found": "没有这个地址。",
    "http.method_not_allowed": "该地址不支持这种操作方式。",
    "http.media_type": "不支持的内容类型。",
    "body.too_large": "提交的内容超过 {most_mib} MiB 的上限。",
    "url.text": "地址中含有不能处理的字符。",
    # JSON.
    "json.encoding": "内容不是有效的 UTF-8 文本（第 {at} 字节）。",
    "json.broken": "内容不是有效的 JSON（第 {line} 行第 {column} 列）。",
    "json.duplicate_key": "JSON 对象中字段“{key}”重复出现。",
    "json.too_deep": "JSON 嵌套超过 {most} 层。",
    "json.number": "JSON 中含有无法表示的数值。",
    "json.text": "文本中含有不能保存的字符（空字符或残缺的字符）。",
    # Fields of a form.
    "form.invalid": "共有 {count} 处需要修改。",
    "field.missing": "此项必填。",
    "field.unknown": "没有这个字段，请检查拼写。",
    "field.type": "此项的类型不正确，应为 {expected}。",
    "field.range": "数值应在 {least} 至 {most} 之间。",
    "field.length": "长度应在 {least} 至 {most} 个字符之间。",
    "field.count": "数量应在 {least} 至 {most} 之间。",
    "field.characters": "此项含有不允许的控制字符。",
    "field.format": "此项格式不正确。",
    "field.choice": "只能填写以下之一：{choices}。",
    "field.date": "日期格式应为“年-月-日”，例如 2026-03-01。",
    "field.invalid": "此项填写不正确。",
    "reason.missing": "请填写理由。",
    "date.past": "日期不能早于今天。",
    "date.order": "结束日期应晚于开始日期。",
    "date.too_far": "期限不能超过 {years} 年，到期可申请续期。",
    "value.unstorable": "内容中含有无法保存的数值或文字。",
    # Versions, repetition, pages.
    "version.stale": "内容已被他人更新，请刷新后重试。",
    "version.missing": "请先读取最新内容，并在 If-Match 中注明版本。",
    "row.conflict": "与同时进行的另一项操作冲突，请刷新后重试。",
    "idempotency.key": "Idempotency-Key 应为不超过 {most} 个可见字符。",
    "idempotency.reused": "同一 Idempotency-Key 已用于另一项内容不同的提交。",
    "cursor.invalid": "翻页位置无效，请从第一页重新开始。",
    "events.too_many": "同时打开的实时进度过多，请关闭部分页面后重试。",
    # Sending notices.
    "sending.not_found": "没有这条发送记录。",
    "sending.decided": "该通知不需要处理，或已处理。",
    "webhooks.unreadable": "群机器人配置文件无法读取。",
    "webhooks.name_twice": "群机器人名称重复。",
    "webhooks.environment_missing": "所引用的环境变量没有设置。",
    # The system itself.
    "database.busy": "系统繁忙，请稍后重试。",
    "database.unavailable": "数据库暂不可用，请稍后重试。",
    "internal.error": "系统出现内部错误，已记录。请凭请求编号联系管理员。",
}
