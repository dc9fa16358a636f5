"""Who may use which endpoint: one table, kept as a snapshot, and no route without its line."""

from __future__ import annotations

import functools
from pathlib import Path

from fastapi.routing import iter_route_contexts
from starlette.routing import Mount

from api.app import create_app
from api.permissions import ALLOWED, Permission, declared
from broker.lifecycle import Role
from tests.api.server import Server
from tests.api.snapshot import compare

SNAPSHOTS = Path(__file__).parent / "snapshots"
FRAMEWORK = {"/api/v1/openapi.json"}
"""Public, and added by FastAPI itself."""


@functools.cache
def routes() -> list[tuple[str, str, Permission | None]]:
    """Every method and path of the application with its declared permission."""
    found = []
    for context in iter_route_contexts(create_app().routes):
        path = context.path or ""
        if path in FRAMEWORK or isinstance(context.original_route, Mount):
            continue
        methods = sorted((context.methods or set()) - {"HEAD"})
        found += [(method, path, declared(context.original_route)) for method in methods]
    return found


def test_every_route_declares_its_permission() -> None:
    """A route that says nothing about who may use it does not get in."""
    assert [f"{method} {path}" for method, path, permission in routes() if permission is None] == []


def test_the_table_of_roles_and_endpoints_is_as_agreed() -> None:
    """Endpoint, permission, roles: a change of this file is a change of who may do what, and is reviewed as such."""
    lines = []
    for method, path, permission in sorted(routes(), key=lambda r: (r[1], r[0])):
        assert permission is not None
        roles = "everybody" if permission is Permission.PUBLIC else " ".join(sorted(ALLOWED[permission]))
        lines.append(f"{method:6} {path:55} {permission:24} {roles}")
    compare(SNAPSHOTS / "permissions.txt", "\n".join(lines) + "\n")


def test_every_permission_has_its_roles_and_the_system_has_none() -> None:
    """The worker never comes in over HTTP."""
    assert set(ALLOWED) == set(Permission)
    assert all(Role.SYSTEM not in roles for roles in ALLOWED.values())


def test_public_endpoints_need_no_session_and_the_others_do(server: Server) -> None:
    """Without a session every GET that is not public answers 401."""
    visitor = server.visitor()
    for method, path, permission in routes():
        if method != "GET":
            continue
        url = path.replace("{", "").replace("}", "")
        status = visitor.get(path.format_map(_AnyId())).status_code if "{" in path else visitor.get(url).status_code
        assert (status == 401) == (permission is not Permission.PUBLIC), (path, status)


class _AnyId(dict[str, str]):
    def __missing__(self, _key: str) -> str:
        return "00000000-0000-7000-8000-000000000000"
