"""Nova's fake driver, and what a one-node cloud needs beyond it: resize on the same host, snapshots that reach glance.

Loaded by: nova-compute of the fake host (``up`` appends this folder to ``nova.virt.__path__``).
"""

import io
from typing import ClassVar

from nova.image import glance
from nova.scheduler.client import report
from nova.virt import fake

# Zed asks placement for the allocations of EVERY server of a node at each claim, for the sake of PCI devices. A fake
# node has none, and with hundreds of servers on it the question would be quadratic.
report.SchedulerReportClient.get_allocations_for_provider_tree = lambda *_: {}


class FakeDriver(fake.FakeLiveMigrateDriver):
    """A compute host as large as a small province's cloud."""

    vcpus = 4000
    memory_mb = 8_000_000
    local_gb = 600_000
    # The fake driver refuses to resize on its own host, and there is no other.
    capabilities: ClassVar = dict(fake.FakeDriver.capabilities, supports_migrate_to_same_host=True)

    def snapshot(self, context, instance, image_id, update_task_state):
        """Upload a few bytes, so that the image becomes active."""
        super().snapshot(context, instance, image_id, update_task_state)
        content = io.BytesIO(b"snapshot of " + instance.uuid.encode())
        glance.API().update(context, image_id, {"disk_format": "raw", "container_format": "bare"}, data=content)
