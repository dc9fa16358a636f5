"""The wire to one OpenStack: sessions, time-outs, paging. The only importer of openstacksdk.

Called by: the modules beside it, which know what the answers mean. Must not: know the broker's contract beyond its
errors, retry anything, or log a secret.

Calls are made on the SDK's service proxies (they know catalogue, versions and tokens) as plain requests: what is sent
and what an answer means stays visible, and each status is mapped in one place (``faults``).
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal
from urllib.parse import parse_qs

import openstack
import requests
from keystoneauth1 import exceptions as keystone_errors
from keystoneauth1.adapter import Adapter
from keystoneauth1.identity.v3 import Password
from keystoneauth1.session import Session
from openstack import exceptions as sdk_errors

from providers.errors import ActionRequired, Temporary
from providers.openstack import faults
from providers.openstack.options import Options

Service = Literal["identity", "compute", "network", "block_storage", "image"]
Json = dict[str, Any]
_SERVICES: tuple[Service, ...] = ("identity", "compute", "network", "block_storage", "image")
# Fixed, so that an upgrade of the cloud does not change what an answer looks like.
_MICROVERSION: Mapping[str, str] = {"compute": "2.79", "block_storage": "3.42"}
_MAX_PROJECT_SESSIONS = 64

_call_ends: contextvars.ContextVar[float] = contextvars.ContextVar("call_ends")


class Client:
    """Requests in the name of the adapter's account, in its own project or in a unit's."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._own: openstack.connection.Connection | None = None
        self._projects: OrderedDict[str, openstack.connection.Connection] = OrderedDict()

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            connections = [self._own, *self._projects.values()]
            self._own = None
            self._projects.clear()
        for connection in connections:
            if connection is not None:
                connection.close()

    @contextmanager
    def call(self, seconds: float | None = None) -> Iterator[None]:
        """All requests inside end within ``seconds`` together (default: the option call_timeout_s)."""
        token = _call_ends.set(time.monotonic() + (seconds or self._options.call_timeout_s))
        try:
            yield
        finally:
            _call_ends.reset(token)

    def left_s(self) -> float:
        """Seconds that the current call may still take."""
        return _call_ends.get(time.monotonic() + self._options.call_timeout_s) - time.monotonic()

    def get(self, service: Service, path: str, params: Mapping[str, Any] | None = None, **how: Any) -> Json | None:
        """The answer's body; None when there is nothing (404)."""
        return self.request(service, "GET", path, params=params, absent=True, **how)

    def post(self, service: Service, path: str, body: Json, project: str | None = None, **how: Any) -> Json:
        """The answer's body, empty when it has none. ``project``: in the name of that project (keystone's id)."""
        return self.request(service, "POST", path, body=body, project=project, **how) or {}

    def put(self, service: Service, path: str, body: Json | None = None) -> Json:
        return self.request(service, "PUT", path, body=body) or {}

    def delete(self, service: Service, path: str) -> bool:
        """Order a deletion; False when there was nothing."""
        return self.request(service, "DELETE", path, absent=True) is not None

    def user_id(self) -> str:
        """The account's own id."""
        connection = self._connection(None)
        with _answers(mutating=False):
            return str(connection.session.get_user_id())

    def request(
        self,
        service: Service,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        params: Mapping[str, Any] | None = None,
        project: str | None = None,
        absent: bool = False,
        microversion: str | None = None,
    ) -> Json | None:
        """One request. ``absent``: 404 is an answer (None), not an error. Raises only ``providers.errors``."""
        mutating = method != "GET"
        proxy = getattr(self._connection(project), service)
        timeout_s = min(self._options.request_timeout_s, self.left_s())
        if timeout_s <= 0:
            raise Temporary("call_timeout", "the call took too long; what was done is found again by the next one")
        with _answers(mutating=False):  # a token and the catalogue come first: nothing has been ordered yet
            proxy.session.get_token()
            Adapter.get_endpoint(proxy)  # identity's proxy has a verb of the same name
        with _answers(mutating=mutating):
            response = Adapter.request(  # not the SDK's own, which keeps statistics and warns about itself
                proxy,
                path,
                method,
                json=body,
                params=params,
                microversion=microversion or _MICROVERSION.get(service),
                timeout=timeout_s,
                raise_exc=False,
                log=False,  # it would log bodies, in which user data and keys are
                connect_retries=0,
                status_code_retries=0,
            )
        if response.status_code == 404 and absent:
            return None
        if response.status_code >= 400:
            raise faults.refused(response.status_code, response.text, response.headers, mutating=mutating)
        return _body(response, mutating=mutating)

    def pages(self, service: Service, path: str, key: str, params: Mapping[str, Any] | None = None) -> Sequence[Json]:
        """All entries of a list, following the links that a service gives (named in three different ways)."""
        entries: list[Json] = []
        query: Mapping[str, Any] | None = params
        while True:
            body = self.get(service, path, query) or {}
            entries += body.get(key, [])
            following = _next_query(body, key)
            if following is None:
                return entries
            query = {**(params or {}), **following}

    def _connection(self, project: str | None) -> openstack.connection.Connection:
        """The connection for a project, made at most once. Raises Temporary or ActionRequired."""
        with self._lock:
            known = self._own if project is None else self._projects.get(project)
            if known is not None:
                if project is not None:
                    self._projects.move_to_end(project)
                return known
            with _answers(mutating=False):
                made = self._connect(project)
            if project is None:
                self._own = made
            else:
                self._projects[project] = made
                if len(self._projects) > _MAX_PROJECT_SESSIONS:
                    # Not closed: another thread may be using it, and the garbage collector closes it after that.
                    self._projects.popitem(last=False)
            return made

    def _connect(self, project: str | None) -> openstack.connection.Connection:
        options = self._options
        scope: dict[str, Any] = (
            {"project_name": options.project_name, "project_domain_name": options.project_domain_name}
            if project is None
            else {"project_id": project}
        )
        password = Password(
            options.auth_url,
            username=options.username,
            password=options.password,
            user_domain_name=options.user_domain_name,
            **scope,
        )
        # A session of our own: the SDK's loader reads files and environment, and warns of what nobody configured.
        session = Session(password, verify=options.cacert or True, timeout=options.request_timeout_s)
        connection = openstack.connection.Connection(
            session=session,
            app_name="guiyun",
            region_name=options.region,
            interface=options.interface,
            identity_api_version="3",
        )
        connection.session.get_token()
        for service in _SERVICES:
            getattr(connection, service)  # made here, under the lock: the SDK makes proxies without one
        return connection


def _body(response: requests.Response, *, mutating: bool) -> Json:
    if not response.content:
        return {}
    try:
        content = response.json()
    except ValueError as error:
        raise faults.unanswered(error, mutating=mutating) from error
    return content if isinstance(content, dict) else {}


def _next_query(body: Json, key: str) -> Mapping[str, str] | None:
    """The marker of the next page, if there is one."""
    links = body.get(f"{key}_links") or body.get("links") or []
    following = body.get("next")
    if isinstance(links, list):
        following = following or next((link["href"] for link in links if link.get("rel") == "next"), None)
    elif isinstance(links, dict):
        following = following or links.get("next")
    if not following or "?" not in following:
        return None
    pairs = parse_qs(following.split("?", 1)[1])
    return {name: values[0] for name, values in pairs.items() if name in {"marker", "limit", "page_reverse"}}


@contextmanager
def _answers(*, mutating: bool) -> Iterator[None]:
    """Turns what keystoneauth and the SDK raise into our errors."""
    try:
        yield
    except keystone_errors.HttpError as error:
        response = error.response
        body, headers = (response.text, response.headers) if response is not None else (str(error.message), {})
        raise faults.refused(error.http_status, body, headers, mutating=mutating) from None
    except sdk_errors.HttpException as error:
        raise faults.refused(error.status_code or 500, str(error.details or ""), {}, mutating=mutating) from None
    except keystone_errors.ConnectionError as error:
        raise faults.unanswered(error, mutating=mutating) from None
    except (keystone_errors.ClientException, sdk_errors.SDKException) as error:
        # A missing endpoint, an unknown version, a wrong option: nothing was sent, and only a person can mend it.
        raise ActionRequired("cloud_misconfigured", f"{type(error).__name__}: {faults.message(str(error))}") from None
