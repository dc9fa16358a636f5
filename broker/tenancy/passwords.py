"""Passwords and tokens: Argon2id hashes, random tokens and their digests.

Called by: ``tenancy.service``, the region's loader (demonstration accounts). Must not: log or keep what it is given.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_HASHER = PasswordHasher()
"""The library's defaults are RFC 9106's second recommended option: 64 MiB, 3 passes."""

_AT_ONCE = threading.BoundedSemaphore(4)
"""Each verification takes 64 MiB: a flood of sign-ins must not take the machine's memory."""


def hash_password(password: str) -> str:
    """The Argon2id hash of a password, parameters and salt included."""
    with _AT_ONCE:
        return _HASHER.hash(password)


@cache
def _nobody() -> str:
    return hash_password(secrets.token_hex())


def verify(password_hash: str | None, password: str) -> bool:
    """Whether the password fits. Without a hash it takes as long and says no: unknown logins cannot be told apart."""
    expected = password_hash or _nobody()
    with _AT_ONCE:
        try:
            _HASHER.verify(expected, password)
        except (VerificationError, InvalidHashError):
            return False
    return password_hash is not None


def is_outdated(password_hash: str) -> bool:
    """Whether the hash was made with other parameters than today's."""
    return _HASHER.check_needs_rehash(password_hash)


def new_token() -> str:
    """A token nobody can guess: 32 random bytes, URL-safe."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> bytes:
    """What is stored of a token: its SHA-256. A random token needs no slow hash."""
    return hashlib.sha256(token.encode()).digest()
