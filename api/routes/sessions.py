"""Signing in and out, who one is, tokens for programs.

Called by: browsers and programs. Must not: know how a password is checked.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from api.middleware import source
from api.openapi import NEVER_REPLAYED
from api.permissions import Permission, needs
from api.schemas.tenancy import Me, NewToken, Session, SignIn, Token
from api.uow import COOKIE, Uow
from broker.bootstrap import App
from broker.tenancy import repository, service
from broker.tenancy.work import Work

router = APIRouter(prefix="/api/v1", tags=["登录与账号"])


@router.post(
    "/sessions",
    status_code=201,
    response_model=Session,
    summary="登录",
    openapi_extra=needs(Permission.PUBLIC) | NEVER_REPLAYED,
)
def sign_in(request: Request, form: SignIn) -> Response:
    """浏览器得到 HttpOnly 的会话 Cookie；写操作须在 `X-CSRF-Token` 中带上返回的 `csrf_token`。"""
    new = open_session(request, form.login, form.password)
    body = Session(csrf_token=new.csrf_token, expires_at=new.expires_at)
    response = JSONResponse(body.model_dump(mode="json"), status_code=201)
    set_cookie(request, response, new)
    return response


def open_session(request: Request, login: str, password: str) -> service.NewSession:
    """Sign in, for this route and the console's page. Raises NotSignedIn, TooMany."""
    core: App = request.app.state.core
    with core.sessions() as session:
        new = service.sign_in(
            session,
            login=login,
            password=password,
            source=source(request.scope),
            now=core.clock(),
            settings=core.settings,
        )
        session.commit()
    return new


def set_cookie(request: Request, response: Response, new: service.NewSession) -> None:
    """The session's cookie: out of scripts' reach, not sent along from other sites."""
    core: App = request.app.state.core
    response.set_cookie(
        COOKIE,
        new.token,
        max_age=int(core.settings.session_hours * 3600),
        httponly=True,
        samesite="lax",
        secure=core.settings.secure_cookies,
        path="/",
    )


@router.delete("/sessions", status_code=204, summary="退出登录", openapi_extra=needs(Permission.SELF))
def sign_out(request: Request, uow: Uow) -> Response:
    """结束当前会话。"""
    uow.do(lambda work: service.sign_out(work.session, request.cookies.get(COOKIE, "")))
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path="/")
    return response


@router.get("/me", response_model=Me, summary="当前用户", openapi_extra=needs(Permission.SELF))
def me(uow: Uow) -> Response:
    """角色以当天有效者为准；`deputy_for` 列出可代理的职责。"""

    def describe(work: Work) -> dict[str, Any]:
        actor = work.actor
        assert actor.unit_id is not None
        names = repository.unit_names(work.session, [actor.unit_id], work.now)
        return {
            "account_id": actor.account_id,
            "login": actor.login,
            "unit_id": actor.unit_id,
            "unit_name": names.get(actor.unit_id, ""),
            "roles": sorted(actor.roles),
            "deputy_for": actor.deputy_for,
            "csrf_token": uow.csrf_token,
        }

    return uow.read(describe, render=Me.model_validate)


@router.post(
    "/tokens", status_code=201, response_model=Token, summary="新建访问令牌", openapi_extra=needs(Permission.SELF)
)
def create_token(form: NewToken, uow: Uow) -> Response:
    """供程序使用；令牌只显示这一次，库中只存其 SHA-256。"""
    return uow.run(
        lambda work: service.create_token(work, name=form.name, expires_at=form.expires_at),
        render=Token.model_validate,
        status=201,
        shown_once=("token",),
    )


@router.delete("/tokens/{token_id}", status_code=204, summary="撤销访问令牌", openapi_extra=needs(Permission.SELF))
def revoke_token(token_id: UUID, uow: Uow) -> Response:
    """只能撤销自己的令牌。"""
    uow.do(lambda work: service.revoke_token(work, token_id))
    return Response(status_code=204)
