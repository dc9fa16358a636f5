"""Where the bytes of attachments are: a folder, each under its SM3, so that the same document is kept once.

Called by: the API (upload, download). Must not: decide what is accepted (``request.service.attach`` does), or trust the
type a browser names: the first bytes tell.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import UUID

from sqlalchemy import select

from broker.errors import NotFound
from broker.request import repository
from broker.request.models import Attachment
from broker.settings import Settings
from broker.tenancy.repository import visible_units
from broker.tenancy.work import Work

_SIGNATURES = {
    b"%PDF-": "application/pdf",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
}
_ZIP = b"PK\x03\x04"


def media_type_of(content: bytes) -> str:
    """The type the first bytes show; empty for one that we do not accept. OFD is a ZIP that begins with OFD.xml."""
    for signature, media_type in _SIGNATURES.items():
        if content.startswith(signature):
            return media_type
    return "application/ofd" if content.startswith(_ZIP) and b"OFD.xml" in content else ""


def _folder(settings: Settings) -> Path:
    if settings.attachments_url is None:
        return settings.home.absolute() / "attachments"
    return Path(unquote(urlsplit(settings.attachments_url).path))


def url_of(settings: Settings, content: bytes) -> str:
    """Where these bytes are or will be."""
    digest = hashlib.new("sm3", content).hexdigest()
    return (_folder(settings) / digest[:2] / digest).as_uri()


def store(url: str, content: bytes) -> None:
    """Write the bytes, whole or not at all. Storing the same again changes nothing."""
    path = Path(unquote(urlsplit(url).path))
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)


def load(url: str) -> bytes:
    """The bytes behind a URL. Raises NotFound ``attachment.not_found`` when they are gone."""
    try:
        return Path(unquote(urlsplit(url).path)).read_bytes()
    except FileNotFoundError as error:
        raise NotFound("attachment.not_found") from error


def find(work: Work, attachment_id: UUID) -> Attachment:
    """One attachment: whoever sees its request may see it; before there is one, the unit's people.

    Raises NotFound ``attachment.not_found`` or ``request.not_found``.
    """
    statement = select(Attachment).where(Attachment.id == attachment_id)
    attachment = work.session.scalar(statement)
    if attachment is None:
        raise NotFound("attachment.not_found")
    if attachment.request_id is not None:
        repository.load(work.session, work.actor, attachment.request_id)
    elif work.session.scalar(statement.where(visible_units(work.actor, Attachment.unit_id, work.now))) is None:
        raise NotFound("attachment.not_found")
    return attachment


def of_request(work: Work, request_id: UUID) -> list[Attachment]:
    """The attachments of a request, oldest first."""
    statement = select(Attachment).where(Attachment.request_id == request_id).order_by(Attachment.id)
    return list(work.session.scalars(statement))
