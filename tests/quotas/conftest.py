"""The worlds of ``world.py`` as fixtures.

Called by: pytest. Must not: replace any of our own code.
"""

from __future__ import annotations

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from tests.quotas.world import Tree, plant


@pytest.fixture
def tree(session: Session) -> Tree:
    """A tree in the rolled-back session."""
    return plant(session)


@pytest.fixture
def committed(engine: Engine) -> Tree:
    """A tree that several connections see."""
    with Session(engine) as session:
        made = plant(session, units=16)
        session.commit()
    return made
