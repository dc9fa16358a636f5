"""Stage 1's use-cases: check, save a draft, submit (again), withdraw.

Called by: the API. Must not: decide anything about a request, or commit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import CTE, Update, update

from broker.db.base import new_id
from broker.errors import Invalid, NotFound, Problem
from broker.lifecycle import ItemState, RequestEvent, RequestState, Role, after
from broker.notify import service as notify
from broker.pricing import service as pricing
from broker.pricing.values import Quote
from broker.request import clocks, facts, form, repository, rules
from broker.request.clocks import Stage
from broker.request.models import (
    Attachment,
    NetworkException,
    RequestItem,
    RequestRevision,
    ServiceRequest,
)
from broker.request.values import Contact, RequestForm, item_spec, to_json
from broker.tenancy.models import Person
from broker.tenancy.work import Work

_EMPTY_PURPOSE = "(未填写)"


@dataclass(frozen=True, slots=True)
class Checked:
    """What a form would be worth if it were submitted now: its problems, and the quote when there are prices."""

    problems: tuple[Problem, ...]
    quote: Quote | None


def check(work: Work, raw: Mapping[str, Any]) -> Checked:
    """Look at a form while it is being filled in. Changes nothing."""
    parsed, problems = form.read(raw)
    found = facts.look_up(work, parsed)
    problems += [p for p in rules.check(parsed, found) if p.field not in {q.field for q in problems}]
    cloud = found.cloud.id if found.cloud else None
    quote = None
    if parsed.items:
        quote = pricing.quote_for(work.session, rules.quantities(parsed), cloud, work.now)
    return Checked(tuple(problems), quote)


def save_draft(
    work: Work, raw: Mapping[str, Any], *, request_id: UUID | None = None, version: int | None = None
) -> ServiceRequest:
    """Keep a form that is not finished, as it is. The contact goes to ``person``, not into the draft.

    Raises Invalid ``unit.unknown`` (a draft belongs to a unit of the actor's tree from the start), Conflict, Stale.
    """
    parsed, _ = form.read(raw)
    found = facts.look_up(work, parsed)
    if found.unit_id is None:
        raise Invalid([Problem("unit.unknown", "unit")])
    if request_id is None:
        request = _new(work, parsed, found)
        work.session.add(request)
    else:
        request = repository.load(work.session, work.actor, request_id, lock=True, version=version)
        request.version += 1
    request.state = after(RequestState(request.state), RequestEvent.SAVE, work.actor.roles).value
    request.draft = {k: v for k, v in raw.items() if k != "contact"}
    request.purpose = parsed.purpose[:2000] or _EMPTY_PURPOSE
    request.contact_id = _contact(work, parsed.contact, request.contact_id)
    work.session.flush()
    work.record("request.saved", "request", request.id, request_id=request.id)
    return request


def submit(
    work: Work, raw: Mapping[str, Any], *, request_id: UUID | None = None, version: int | None = None
) -> ServiceRequest:
    """Submit a form: a new request, a draft, or one that was returned. Makes an immutable revision and its items.

    Raises Invalid with every problem at once and then changes nothing; Conflict ``state.refused``; Stale.
    """
    parsed, problems = form.read(raw)
    found = facts.look_up(work, parsed)
    problems += [p for p in rules.check(parsed, found) if p.field not in {q.field for q in problems}]
    if request_id is None:
        request = _new(work, parsed, found)
    else:
        request = repository.load(work.session, work.actor, request_id, lock=True, version=version)
    came_from = RequestState(request.state)
    state = after(came_from, RequestEvent.SUBMIT, work.actor.roles)
    if problems or found.cloud is None or found.unit_id is None:
        raise Invalid(problems)
    request.state = state.value
    request.version = (request.version or 0) + 1
    _address(request, parsed, found)
    request.contact_id = _contact(work, parsed.contact, request.contact_id)
    request.submitted_at, request.draft = work.now, None
    ordinal = _next_ordinal(work, request)
    request.revision_id = new_id()
    request.due_at = work.calendar.deadline(work.now, clocks.WORKDAYS[Stage.APPROVAL]).at
    work.session.add(request)
    work.session.flush()
    revision = _revise(work, request, parsed, found, ordinal=ordinal)
    _start_clock(work, request, came_from)
    work.record(
        "request.submitted",
        "request",
        request.id,
        request_id=request.id,
        article="Art. 17(1)",
        data={"revision": str(revision.id), "digest": revision.digest, "quote_fen": revision.quote_fen},
    )
    audience = (request.deciding_unit_id, Role.APPROVER)
    notify.tell_role(work, audience, "request.submitted", ("request", request.id), number=request.number)
    return request


def withdraw(work: Work, request_id: UUID, *, reason: str, version: int | None = None) -> ServiceRequest:
    """The applicant takes the request back, up to the moment delivery starts.

    What was held for it is let go by ``assessment.letting_go.withdraw``, which calls this in the same transaction.

    Raises Conflict ``state.refused``, Stale.
    """
    request = repository.load(work.session, work.actor, request_id, lock=True, version=version)
    request.state = after(RequestState(request.state), RequestEvent.WITHDRAW, work.actor.roles).value
    request.version += 1
    request.closed_at = work.now
    clocks.abandon(work, request)
    set_items(work, request, ItemState.CANCELLED)
    work.record("request.withdrawn", "request", request.id, request_id=request.id, data={"reason_length": len(reason)})
    return request


def set_items(work: Work, request: ServiceRequest, state: ItemState) -> None:
    """Bring all items of the revision in force to ``state``."""
    work.session.execute(_items_at(request, state))


def items_at(request: ServiceRequest, state: ItemState) -> CTE:
    """The same, to be added to the statement that ends a stage's clock."""
    return _items_at(request, state).cte("items")


def _items_at(request: ServiceRequest, state: ItemState) -> Update:
    return update(RequestItem).where(RequestItem.revision_id == request.revision_id).values(state=state.value)


def attach(
    work: Work, *, unit_id: UUID, document_number: str, file_name: str, media_type: str, content: bytes, url: str
) -> Attachment:
    """Record a document whose bytes were stored at ``url``. Raises Invalid for a type or size that is not accepted."""
    problems = []
    if media_type not in ACCEPTED_TYPES:
        problems.append(
            Problem("attachment.type", "file", params={"types": "、".join(sorted(ACCEPTED_TYPES.values()))})
        )
    if not 0 < len(content) <= MAX_ATTACHMENT_BYTES:
        problems.append(Problem("attachment.size", "file", params={"most_mib": MAX_ATTACHMENT_BYTES >> 20}))
    if not document_number.strip() or len(document_number) > 60:
        problems.append(Problem("field.length", "document_number", params={"least": 1, "most": 60}))
    if problems:
        raise Invalid(problems)
    assert work.actor.account_id is not None
    attachment = Attachment(
        id=new_id(),
        unit_id=unit_id,
        uploaded_by=work.actor.account_id,
        document_number=document_number.strip(),
        file_name=file_name[-200:],
        media_type=media_type,
        size_bytes=len(content),
        sm3=hashlib.new("sm3", content).hexdigest(),
        url=url,
    )
    work.session.add(attachment)
    work.record("attachment.stored", "attachment", attachment.id, data={"sm3": attachment.sm3})
    return attachment


ACCEPTED_TYPES = {"application/pdf": "PDF", "image/png": "PNG", "image/jpeg": "JPEG", "application/ofd": "OFD"}
MAX_ATTACHMENT_BYTES = 20 << 20


def grant_network_exception(
    work: Work, *, unit_id: UUID, document_number: str, reason: str, during: Any
) -> NetworkException:
    """Put an exception to Art. 10 on record ("in principle" allows one, by a named person, with a reason)."""
    if not document_number.strip() or not reason.strip():
        raise Invalid([Problem("field.missing", "reason")])
    if Role.APPROVER not in work.actor.roles or work.actor.account_id is None:
        raise NotFound("unit.unknown")
    exception = NetworkException(
        id=new_id(),
        unit_id=unit_id,
        granted_by=work.actor.account_id,
        document_number=document_number,
        reason=reason,
        during=during,
    )
    work.session.add(exception)
    work.record("network_exception.granted", "unit", unit_id, article="Art. 10")
    return exception


def _new(work: Work, parsed: RequestForm, found: rules.Facts) -> ServiceRequest:
    """A request without a state of its own yet: a draft, in memory until it is added to the session."""
    return ServiceRequest(
        id=new_id(),
        unit_id=found.unit_id,
        applicant_id=work.actor.account_id,
        state=RequestState.DRAFT.value,
        version=0,
        purpose=parsed.purpose or _EMPTY_PURPOSE,
    )


def _address(request: ServiceRequest, parsed: RequestForm, found: rules.Facts) -> None:
    """Say what the request is for and who decides, assesses and delivers: data of the sub-cloud, with dates."""
    assert found.cloud is not None
    request.purpose = parsed.purpose
    request.system_id = found.system_id
    request.target_cloud_id = found.cloud.id
    request.deciding_unit_id = found.cloud.authorities["decide"]
    request.assessing_unit_id = found.cloud.authorities["assess"]
    request.delivering_unit_id = found.cloud.authorities["deliver"]


def _contact(work: Work, contact: Contact, person_id: UUID | None) -> UUID | None:
    if not contact.name:
        return person_id
    person = Person(id=new_id(), name=contact.name, phone=contact.phone, email=contact.email)
    work.session.add(person)
    work.session.flush()
    return person.id


def _revise(
    work: Work, request: ServiceRequest, parsed: RequestForm, found: rules.Facts, *, ordinal: int
) -> RequestRevision:
    """Write the revision that the request points at, its quote and its items."""
    assert found.cloud is not None
    body = to_json(parsed)
    quote = pricing.quote_for(work.session, rules.quantities(parsed), found.cloud.id, work.now)
    canonical = json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    revision = RequestRevision(
        id=request.revision_id,
        request_id=request.id,
        ordinal=ordinal,
        form=body,
        contact_id=request.contact_id,
        digest=hashlib.new("sm3", canonical.encode()).hexdigest(),
        quote=quote.to_json(),
        quote_fen=quote.total_fen,
        submitted_by=work.actor.account_id,
        submitted_at=work.now,
    )
    work.session.add(revision)
    for n, item in enumerate(parsed.items):
        work.session.add(
            RequestItem(
                request_id=request.id,
                revision_id=revision.id,
                ordinal=n,
                kind=item.kind.value,
                count=item.count,
                spec=item_spec(item),
                state=ItemState.REQUESTED.value,
            )
        )
    if parsed.attachment_ids:
        work.session.execute(
            update(Attachment)
            .where(Attachment.id.in_(parsed.attachment_ids), Attachment.request_id.is_(None))
            .values(request_id=request.id)
        )
    return revision


def _next_ordinal(work: Work, request: ServiceRequest) -> int:
    if request.revision_id is None:
        return 1
    last = work.session.get(RequestRevision, request.revision_id)
    return last.ordinal + 1 if last else 1


def _start_clock(work: Work, request: ServiceRequest, came_from: RequestState) -> None:
    """Approval's clock starts, or goes on where it stood; after an assessor's return a new round of it starts."""
    assert request.deciding_unit_id is not None
    if came_from is RequestState.RETURNED:
        if not clocks.resume(work, request, Stage.APPROVAL):
            clocks.start(work, request, Stage.APPROVAL, request.deciding_unit_id)
    else:
        clocks.start(work, request, Stage.APPROVAL, request.deciding_unit_id)
