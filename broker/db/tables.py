"""Every table of the core in one place, for migrations only.

Called by: ``broker.db.migrate`` and Alembic's ``env.py``. Stands above all rooms (it imports their models), so no room
may import it.
"""

from __future__ import annotations

from typing import Any

import broker.approval.models
import broker.assessment.models
import broker.audit.models
import broker.catalog.models
import broker.chargeback.beginning_models
import broker.chargeback.models
import broker.db.idempotency
import broker.dedicated.models
import broker.delivery.models
import broker.extranet.models
import broker.inventory.models
import broker.metering.models
import broker.notify.models
import broker.pricing.models
import broker.reclamation.models
import broker.region.models
import broker.request.models
import broker.scarcity.models
import broker.tenancy.models
import broker.utilisation.models
import broker.zombies.models  # noqa: F401 - imported for their tables
from broker.db.base import Base

METADATA = Base.metadata


def is_ours(name: str | None, kind: str, _parents: Any) -> bool:
    """Compare only the core's schema; ``quotas`` has its own metadata and SQL."""
    return name == "broker" if kind == "schema" else True
