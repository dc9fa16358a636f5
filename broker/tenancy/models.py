"""Tables of units and people. Nothing is deleted: units, roles and deputies have dates; a person can be blanked.

Used by: ``tenancy.repository``. Personal data stands in ``person`` and nowhere else, so that it can be erased there.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, Uuid, column, text
from sqlalchemy.dialects.postgresql import ARRAY, ExcludeConstraint
from sqlalchemy.orm import Mapped, mapped_column

from broker.db.base import Base, CreatedAt, During, Id, Moment


class Unit(Base):
    """An organisation: what never changes of it. Its name and place in the tree are in ``unit_period``."""

    __tablename__ = "unit"

    id: Mapped[Id]
    code: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    division_code: Mapped[str | None]

    __table_args__ = (CheckConstraint("kind IN ('region', 'department', 'city', 'county', 'office')", name="kind"),)


class UnitPeriod(Base):
    """What a unit was called and where it stood in the tree, from when to when (reorganisations: 机构改革).

    ``ancestors`` runs from the root to the unit itself: one index answers "is it in the tree of X". ``merged_into_id``:
    from then on it is only a name below the unit it was merged into. ``followed_at``: what belongs to the unit has
    followed this change (``reorganisation.units``).
    """

    __tablename__ = "unit_period"

    id: Mapped[Id]
    unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id))
    parent_id: Mapped[UUID | None] = mapped_column(ForeignKey(Unit.id))
    name: Mapped[str]
    ancestors: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
    during: Mapped[During]
    merged_into_id: Mapped[UUID | None] = mapped_column(ForeignKey(Unit.id))
    followed_at: Mapped[Moment | None]

    __table_args__ = (
        CheckConstraint("merged_into_id = parent_id", name="merged"),
        ExcludeConstraint((column("unit_id"), "="), (column("during"), "&&"), using="gist", name="ex_unit_period"),
        Index("ix_unit_period_ancestors", "ancestors", postgresql_using="gin"),
    )


class Person(Base):
    """Personal data: the only table that holds any."""

    __tablename__ = "person"

    id: Mapped[Id]
    name: Mapped[str]
    phone: Mapped[str] = mapped_column(server_default="")
    email: Mapped[str] = mapped_column(server_default="")
    title: Mapped[str] = mapped_column(server_default="")
    blanked_at: Mapped[Moment | None]


class Account(Base):
    """Someone or some program that can sign in."""

    __tablename__ = "account"

    id: Mapped[Id]
    login: Mapped[str] = mapped_column(unique=True)
    person_id: Mapped[UUID | None] = mapped_column(ForeignKey(Person.id))
    unit_id: Mapped[UUID] = mapped_column(ForeignKey(Unit.id))
    password_hash: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    disabled_at: Mapped[Moment | None]


class RoleGrant(Base):
    """A role an account holds for its unit, from when to when.

    ``operator``: whose person a cloud operator is (``SubCloudOperator``): he sees what is owed to it (Art. 15).
    """

    __tablename__ = "role_grant"

    id: Mapped[Id]
    account_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    role: Mapped[str]
    operator: Mapped[str | None]
    during: Mapped[During]

    __table_args__ = (
        CheckConstraint("operator IS NULL OR role = 'cloud_operator'", name="operator"),
        ExcludeConstraint(
            (column("account_id"), "="),
            (column("role"), "="),
            (column("during"), "&&"),
            using="gist",
            name="ex_role_grant",
        ),
    )


class Deputy(Base):
    """Who acts for whom (代理), in which role, between which dates. Named in every decision taken that way."""

    __tablename__ = "deputy"

    id: Mapped[Id]
    principal_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    deputy_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id), index=True)
    role: Mapped[str]
    reason: Mapped[str]
    during: Mapped[During]

    __table_args__ = (CheckConstraint("principal_id <> deputy_id", name="not_self"),)


class UserSession(Base):
    """A signed-in browser. Only the token's SHA-256 is kept."""

    __tablename__ = "user_session"

    id: Mapped[Id]
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    csrf_token: Mapped[str]
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[Moment]


class ApiToken(Base):
    """A bearer token for a program. Only its SHA-256 is kept."""

    __tablename__ = "api_token"

    id: Mapped[Id]
    token_hash: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    account_id: Mapped[UUID] = mapped_column(ForeignKey(Account.id))
    name: Mapped[str]
    created_at: Mapped[CreatedAt]
    expires_at: Mapped[Moment | None]
    revoked_at: Mapped[Moment | None]


class SignInAttempt(Base):
    """Attempts to sign in, so that guessing is slowed down across all workers."""

    __tablename__ = "sign_in_attempt"

    id: Mapped[Id]
    login: Mapped[str]
    source: Mapped[str]
    at: Mapped[CreatedAt]
    succeeded: Mapped[bool] = mapped_column(server_default=text("false"))

    __table_args__ = (
        Index("ix_sign_in_attempt_login_at", "login", "at"),
        Index("ix_sign_in_attempt_source_at", "source", "at"),
    )
