"""The way into a delivered server: a key pair made by us when the applicant gave no public key.

Called by: ``delivery.begin`` (makes it before the first server), ``delivery.service`` (shows it once),
``reclamation.steps`` (forgets it with the servers).
Must not: log or return the private half anywhere else; it is kept encrypted (AES-256-GCM) and erased once shown.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from uuid import UUID

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr
from sqlalchemy import CTE, update

from broker.delivery.models import Delivery
from broker.errors import Conflict

_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class NewKey:
    """An OpenSSH key pair; the private half is encrypted already."""

    public: str
    sealed_private: bytes


def _cipher(secret_key: SecretStr | None) -> AESGCM:
    if secret_key is None:
        raise Conflict("settings.secret_key_missing")
    return AESGCM(base64.b64decode(secret_key.get_secret_value()))


def make(secret_key: SecretStr | None, delivery_id: UUID) -> NewKey:
    """A fresh Ed25519 pair for a delivery. Raises Conflict ``settings.secret_key_missing``."""
    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    text = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    nonce = os.urandom(_NONCE_BYTES)
    sealed = nonce + _cipher(secret_key).encrypt(nonce, text, delivery_id.bytes)
    return NewKey(f"{public.decode()} guiyun-{delivery_id}", sealed)


def unseal(secret_key: SecretStr | None, delivery_id: UUID, sealed: bytes) -> str:
    """The private half in OpenSSH's format."""
    return _cipher(secret_key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], delivery_id.bytes).decode()


def forgotten(request_id: UUID) -> CTE:
    """The private halves that nobody fetched are gone: to be added to the statement that closes their request."""
    kept = (Delivery.request_id == request_id, Delivery.secret.is_not(None))
    return update(Delivery).where(*kept).values(secret=None).cte("forgotten")
