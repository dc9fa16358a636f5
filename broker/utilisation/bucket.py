"""A bucket of an S3-compatible store, with what was read of it kept on this machine.

Called by: ``utilisation.storage`` (``of``). Must not: know what a file holds, or tell a credential to anybody: neither
a URL nor an error nor a log has one in it; the only importer of obstore.

The store must honour ``If-Match`` and ``If-None-Match`` when something is put: it is asked before each act of writing,
since one that passes over them would lose what two workers write at once.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from broker.errors import BrokerError, Problem
from broker.settings import Settings
from broker.utilisation.storage import Kept, Moved
from broker.utilisation.values import Unreadable

if TYPE_CHECKING:
    from obstore import PutMode
    from obstore.store import ClientConfig, RetryConfig

T = TypeVar("T")

_AT_ONCE = 8
"""So many objects are fetched side by side."""
_IN_USE_S = 3600
"""What somebody read within the last hour may still be read: it is not thrown away."""
RETRY: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(seconds=60)}
_PROBE = "conditions"
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class StoreDown(BrokerError):
    """The store does not answer (``store.unreachable``), or does not let us in (``store.refused``). 503."""

    status = 503


def bucket_of(settings: Settings) -> Bucket:
    """The bucket of ``s3://bucket/folder``. Raises Invalid ``store.bucket``, ``store.credentials``, ``store.ca``."""
    parts = urlsplit(settings.utilisation_url or "")
    endpoint = settings.utilisation_s3_endpoint
    key, secret = settings.utilisation_s3_access_key, settings.utilisation_s3_secret_key
    if not _NAME.fullmatch(parts.netloc) or parts.query or parts.fragment:
        raise Unreadable([Problem("store.bucket", "utilisation_url")])
    if urlsplit(endpoint).scheme not in {"http", "https"} or "@" in endpoint:
        raise Unreadable([Problem("store.endpoint", "utilisation_s3_endpoint")])
    if not key or secret is None:
        raise Unreadable([Problem("store.credentials", "utilisation_s3_access_key")])
    prefix = parts.path.strip("/")
    hosted = settings.utilisation_s3_virtual_hosted
    store = S3Store(
        parts.netloc,
        prefix=prefix or None,
        config={
            "endpoint": endpoint.replace("://", f"://{parts.netloc}.", 1).rstrip("/") if hosted else endpoint,
            "region": settings.utilisation_s3_region,
            "access_key_id": key,
            "secret_access_key": secret.get_secret_value(),
            "virtual_hosted_style_request": hosted,
            "conditional_put": "etag",
        },
        client_options={
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=5),
            "timeout": timedelta(minutes=10),
            **_authority(settings.utilisation_s3_ca_file),
        },
        retry_config=RETRY,
    )
    place = sha256(f"{endpoint} {parts.netloc} {prefix}".encode()).hexdigest()[:16]
    cache = settings.home.absolute() / "utilisation-cache" / place
    return Bucket(store, cache, settings.utilisation_cache_mib << 20)


def _authority(path: Path | None) -> ClientConfig:
    """Trust the authority of this file as well: stores of a closed network have certificates of their own."""
    if path is None:
        return {}
    try:
        return {"root_certificate": path.read_bytes()}
    except OSError as error:
        raise Unreadable([Problem("store.ca", "utilisation_s3_ca_file")]) from error


@dataclass(frozen=True, slots=True)
class Bucket:
    """``cache``: what was fetched, a file a version; ``most``: how many bytes of it stay for the next time."""

    store: S3Store
    cache: Path
    most: int

    def listed(self, folder: str) -> list[Kept]:
        found = _asked(lambda: [meta for chunk in obstore.list(self.store, folder) for meta in chunk])
        kept = (Kept(meta["path"], meta["e_tag"] or meta["last_modified"].isoformat()) for meta in found)
        return sorted(kept, key=lambda each: each.name)

    def local(self, files: Sequence[Kept]) -> list[Path]:
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            paths = list(threads.map(self._fetched, files))
        self._forget()
        return [path for path in paths if path is not None]

    def draft(self, name: str) -> Path:
        self.cache.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self.cache / f".{Path(name).name}.{uuid4().hex}.draft"

    def replace(self, name: str, draft: Path, over: Kept | None) -> None:
        try:
            done = obstore.put(
                self.store,
                name,
                draft,
                mode="create" if over is None else {"e_tag": over.version},
                use_multipart=False,
            )
        except (AlreadyExistsError, PreconditionError, FileNotFoundError) as error:
            draft.unlink()
            raise Moved from error
        except BaseError as error:
            draft.unlink()
            raise _down(error) from None
        self._keep(draft, name, done["e_tag"])

    def put(self, name: str, draft: Path) -> None:
        done = _asked(lambda: obstore.put(self.store, name, draft, use_multipart=False))
        self._keep(draft, name, done["e_tag"])

    def remove(self, name: str) -> None:
        def delete() -> None:
            try:
                obstore.delete(self.store, name)
            except FileNotFoundError:
                return

        _asked(delete)

    @contextmanager
    def writing(self, wait_s: float) -> Iterator[None]:  # noqa: ARG002 - nobody waits: whoever is second reads again
        self._prove_conditions()
        yield

    def _prove_conditions(self) -> None:
        """Raises Invalid ``store.no_conditions`` for a store that replaces what it is told not to."""
        self._refuses("create")  # from now on it is there
        if not (self._refuses("create") and self._refuses({"e_tag": '"0"'})):
            raise Unreadable([Problem("store.no_conditions", "utilisation_url")])

    def _refuses(self, mode: PutMode) -> bool:
        def put() -> bool:
            try:
                obstore.put(self.store, _PROBE, b"", mode=mode)
            except (AlreadyExistsError, PreconditionError):
                return True
            return False

        return _asked(put)

    def _fetched(self, each: Kept) -> Path | None:
        at = self._place(each.name, each.version)
        try:
            os.utime(at)
        except FileNotFoundError:
            return self._fetch(each, at)
        return at

    def _fetch(self, each: Kept, at: Path) -> Path | None:
        draft = self.draft(each.name)

        def get() -> bool:
            try:
                found = obstore.get(self.store, each.name)
            except FileNotFoundError:
                return False
            nonlocal at
            at = self._place(each.name, found.meta["e_tag"] or each.version)  # it may be a newer one by now
            with draft.open("wb") as file:
                for chunk in found.stream():
                    file.write(chunk)
            return True

        if not _asked(get):
            return None
        at.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return draft.replace(at)

    def _keep(self, draft: Path, name: str, version: str | None) -> None:
        """What was just written need not be fetched."""
        if version is None:
            draft.unlink()
            return
        at = self._place(name, version)
        at.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft.replace(at)

    def _place(self, name: str, version: str) -> Path:
        path = self.cache / name
        return path.with_name(f"{re.sub('[^0-9A-Za-z-]', '', version)}.{path.name}")

    def _forget(self) -> None:
        """Throw away what was not read for longest, until the rest fits; never what somebody may be reading."""
        old = time.time() - _IN_USE_S
        files = []
        for path in self.cache.rglob("*"):
            try:
                seen = path.stat()
            except FileNotFoundError:
                continue
            if path.is_file():
                files.append((seen.st_mtime, seen.st_size, path))
        held = sum(size for _, size, _ in files)
        for used, size, path in sorted(files):
            if used >= old or (held <= self.most and not path.name.endswith(".draft")):
                continue
            path.unlink(missing_ok=True)
            held -= size


def _asked(what: Callable[[], T]) -> T:
    """Do it, and put what the store says into our words, without its addresses."""
    try:
        return what()
    except BaseError as error:
        raise _down(error) from None


def _down(error: BaseError) -> StoreDown:
    refused = isinstance(error, PermissionDeniedError | UnauthenticatedError) or " 403 " in str(error)
    return StoreDown("store.refused" if refused else "store.unreachable")
