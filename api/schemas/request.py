"""Requests, their forms, items, clocks and attachments, as they go over HTTP.

Called by: ``api.routes.requests``. Must not: check a form (``broker.request.form`` does, and says all that is wrong at
once); ``FORM`` only describes it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Body

from api.schemas.base import Reason, Schema, View
from api.schemas.scarcity import AskedFor

_NAME = {"type": "string", "pattern": "^[a-z][a-z0-9-]{0,30}$"}
_CLASS = {"enum": ["ssd", "hdd"], "default": "ssd"}
_ZONE = {"enum": ["shared", "private", "internet"]}


def _whole(most: int, **more: Any) -> dict[str, Any]:
    return {"type": "integer", "minimum": 1, "maximum": most, **more}


def _text(most: int, least: int = 1, **more: Any) -> dict[str, Any]:
    return {"type": "string", "minLength": least, "maxLength": most, **more}


_SERVER = {
    "type": "object",
    "title": "云服务器",
    "required": ["kind", "name", "vcpu", "memory_gib", "image"],
    "properties": {
        "kind": {"const": "server"},
        "name": _NAME,
        "count": _whole(200, default=1),
        "vcpu": _whole(256),
        "memory_gib": _whole(4096),
        "system_disk_gib": _whole(2048, default=40),
        "system_disk_class": _CLASS,
        "image": _text(100),
        "cpu_arch": {"enum": ["x86_64", "aarch64"], "default": "x86_64"},
        "zone": {**_ZONE, "default": "shared"},
        "data_disks": {
            "type": "array",
            "maxItems": 8,
            "items": {
                "type": "object",
                "required": ["size_gib"],
                "properties": {"size_gib": _whole(32768), "block_class": _CLASS},
            },
        },
    },
}
_VOLUME = {
    "type": "object",
    "title": "云硬盘",
    "required": ["kind", "name", "size_gib"],
    "properties": {
        "kind": {"const": "volume"},
        "name": _NAME,
        "count": _whole(200, default=1),
        "size_gib": _whole(32768),
        "block_class": _CLASS,
    },
}
_SEGMENT = {
    "type": "object",
    "title": "IPv6 网段",
    "required": ["kind", "name", "zone"],
    "properties": {
        "kind": {"const": "segment"},
        "name": _NAME,
        "zone": _ZONE,
        "count": _whole(16, default=1),
        "services": {
            "type": "array",
            "maxItems": 32,
            "uniqueItems": True,
            "items": {"type": "string", "pattern": "^(tcp|udp)/[1-9][0-9]{0,4}(@[0-9a-f:]{2,39}/[0-9]{1,3})?$"},
            "description": "公用网络区、互联网接入区内其他单位可以访问的服务，如 tcp/443；"
            "只对某一网段开放的写作 tcp/443@3fff:122::/32。未列出的一律不可访问。",
        },
    },
}
FORM: dict[str, Any] = {
    "type": "object",
    "title": "资源申请表",
    "required": [
        "unit", "system", "purpose", "contact", "expected_users", "start_date", "end_date", "funding_source", "nature",
        "classified", "document_number", "items",
    ],
    "properties": {
        "unit": _text(40, description="单位代码"),
        "system": _text(40, description="信息系统编号"),
        "purpose": _text(2000, 4),
        "contact": {
            "type": "object",
            "required": ["name", "phone"],
            "properties": {"name": _text(40), "phone": _text(21), "email": _text(255)},
        },
        "expected_users": _whole(100_000_000),
        "start_date": {"type": "string", "format": "date"},
        "end_date": {"type": "string", "format": "date"},
        "funding_source": _text(200),
        "nature": {"enum": ["new", "migration"]},
        "classified": {"type": "boolean", "description": "涉密系统不予受理"},
        "dedicated_network": {"type": "boolean", "default": False},
        "document_number": _text(60, description="公文文号"),
        "allow_partial": {"type": "boolean", "default": False},
        "ssh_public_key": {"type": "string", "maxLength": 1500},
        "target_cloud": {"type": "string", "maxLength": 40, "description": "云平台代码；空为归属云平台"},
        "attachments": {"type": "array", "maxItems": 20, "items": {"type": "string", "format": "uuid"}},
        "items": {"type": "array", "minItems": 1, "maxItems": 50, "items": {"oneOf": [_SERVER, _VOLUME, _SEGMENT]}},
    },
}  # fmt: skip
"""What the description says of a form. A draft may hold any part of it."""

Form = Annotated[dict[str, Any], Body(json_schema_extra=FORM)]
"""A form as it came."""


class Withdrawal(Schema):
    """Why the unit takes its request back."""

    reason: Reason = ""


class RequestHead(View):
    """A request in a list."""

    id: UUID
    number: str
    state: str
    version: int
    purpose: str
    unit_id: UUID
    unit_name: str | None
    system_name: str | None
    target_cloud_name: str | None
    due_at: datetime | None
    created_at: datetime
    submitted_at: datetime | None
    closed_at: datetime | None


class RequestPage(View):
    """A page of requests; ``next`` is the address of the next page."""

    data: list[RequestHead]
    next: str | None


class RequestItem(View):
    """One line of a request and how far it is."""

    id: UUID
    ordinal: int
    kind: str
    count: int
    spec: dict[str, Any]
    state: str


class Contact(View):
    """Whom to ask about a request."""

    name: str
    phone: str
    email: str


class StageClock(View):
    """How long a stage may take and has taken; ``provisional`` while a year's holidays are not published."""

    stage: str
    round: int
    unit_id: UUID
    workdays: int
    received_at: datetime
    due_at: datetime
    provisional: bool
    finished_at: datetime | None
    stands_still: bool


class Attachment(View):
    """A document of a request."""

    id: UUID
    document_number: str
    file_name: str
    media_type: str
    size_bytes: int
    sm3: str
    created_at: datetime


class ServiceRequest(View):
    """A request as it stands. ``revision`` is what a decision must name; ``actions`` is what the caller may do now."""

    id: UUID
    number: str
    state: str
    version: int
    unit_id: UUID
    applicant_id: UUID
    revision: UUID | None
    purpose: str
    form: dict[str, Any] | None
    contact: Contact | None
    quote: dict[str, Any] | None
    digest: str | None
    items: list[RequestItem]
    attachments: list[Attachment]
    clocks: list[StageClock]
    actions: list[str]
    deciding_unit_id: UUID | None
    assessing_unit_id: UUID | None
    delivering_unit_id: UUID | None
    due_at: datetime | None
    created_at: datetime
    submitted_at: datetime | None
    closed_at: datetime | None
    renewed_until: datetime | None
    """The instant at which its renewed term ends; none: the form's ``end_date`` stands."""


class RequestState(View):
    """Where a request is after something was done to it."""

    id: UUID
    number: str
    state: str
    version: int
    revision: UUID | None
    due_at: datetime | None


class Finding(View):
    """One problem of a form that was only checked."""

    code: str
    field: str
    message: str
    article: str


class Check(View):
    """What a form would be worth if it were submitted now."""

    problems: list[Finding]
    quote: dict[str, Any] | None
    quota: AskedFor | None
