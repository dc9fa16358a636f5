"""Engines and sessions: one transaction per use-case.

Called by: ``broker.bootstrap``, tests, the API's unit of work. Must not: know any table.
"""

from __future__ import annotations

from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session, sessionmaker

from broker.db.together import TogetherSession

SessionFactory = sessionmaker[Session]


def make_engine(url: str, *, pool_size: int = 16, application_name: str = "guiyun") -> Engine:
    """An engine for PostgreSQL through psycopg 3. UTC on every connection; a statement may not run for ever."""
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=False,
        hide_parameters=True,  # a logged error must not carry names and telephone numbers
        connect_args={
            "application_name": application_name,
            "options": "-c timezone=UTC -c statement_timeout=60000 -c idle_in_transaction_session_timeout=120000",
        },
    )


def make_sessions(engine: Engine) -> SessionFactory:
    """Sessions whose rows stay readable after the commit (they are handed to schemas)."""
    return sessionmaker(engine, class_=TogetherSession, expire_on_commit=False, autoflush=True)
