"""Cinder: a volume is a sparse file; for a real guest it becomes a loop device, for a fake one a made-up target.

Loaded by: cinder-volume of the lab. Must not: need device-mapper or LVM, which many kernels of test machines lack.
"""

import subprocess
from pathlib import Path

from cinder.image import image_utils
from cinder.volume import configuration, driver, volume_utils
from oslo_config import cfg

OPTIONS = [
    cfg.StrOpt("guiyun_directory", help="where the files are"),
    cfg.IntOpt("guiyun_capacity_gib", default=20000, help="what the backend says it holds"),
]
cfg.CONF.register_opts(OPTIONS, group=configuration.SHARED_CONF_GROUP)
REAL_HOST = "guiyun-real"


class FileVolumeDriver(driver.VolumeDriver):
    """One directory of sparse files."""

    VERSION = "1.0"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.configuration.append_config_values(OPTIONS)
        self.directory = Path(self.configuration.guiyun_directory)
        self.directory.mkdir(parents=True, exist_ok=True)

    def do_setup(self, context):
        """Nothing to prepare."""

    def check_for_setup_error(self):
        """Nothing can be wrong."""

    def _path(self, volume):
        return str(self.directory / volume.id)

    def _size(self, path, size_gib):
        with Path(path).open("ab") as file:
            file.truncate(size_gib << 30)

    def _copy(self, source, target):
        subprocess.run(["cp", "--sparse=always", self._path(source), self._path(target)], check=True)

    def create_volume(self, volume):
        """An empty sparse file."""
        self._size(self._path(volume), volume.size)

    def delete_volume(self, volume):
        """Remove the file, unless it is gone already."""
        Path(self._path(volume)).unlink(missing_ok=True)

    def delete_snapshot(self, snapshot):
        """A snapshot is a file as well."""
        self.delete_volume(snapshot)

    def create_snapshot(self, snapshot):
        """A copy of the volume's file."""
        self._copy(snapshot.volume, snapshot)

    def create_volume_from_snapshot(self, volume, snapshot):
        """A copy of the snapshot's file, grown to the volume's size."""
        self._copy(snapshot, volume)
        self._size(self._path(volume), volume.size)

    def create_cloned_volume(self, volume, src_vref):
        """A copy of the other volume's file, grown to the volume's size."""
        self._copy(src_vref, volume)
        self._size(self._path(volume), volume.size)

    def clone_image(self, *args, **kwargs):
        """Images are always copied."""
        return None, False

    def extend_volume(self, volume, new_size):
        """Grow the file."""
        self._size(self._path(volume), new_size)

    def copy_image_to_volume(self, context, volume, image_service, image_id, disable_sparse=False):
        """Write an image into the file."""
        path = self._path(volume)
        image_utils.fetch_to_raw(context, image_service, image_id, path, 1 << 20, size=volume.size)
        self._size(path, volume.size)

    def copy_volume_to_image(self, context, volume, image_service, image_meta):
        """Upload the file."""
        volume_utils.upload_volume(context, image_service, image_meta, self._path(volume), volume, run_as_root=False)

    def ensure_export(self, *args, **kwargs):
        """Nothing is exported."""

    def create_export(self, *args, **kwargs):
        """Nothing is exported."""

    def remove_export(self, *args, **kwargs):
        """Nothing is exported."""

    def _loops(self, volume):
        listed = subprocess.run(["losetup", "-j", self._path(volume)], check=True, capture_output=True, text=True)
        return [line.split(":")[0] for line in listed.stdout.splitlines()]

    def initialize_connection(self, volume, connector, **kwargs):
        """A loop device for the real host, a made-up target for the fake one."""
        if connector.get("host") != REAL_HOST:
            target = {"target_iqn": "iqn.2020-01.test.guiyun:" + volume.id, "target_portal": "127.0.0.1:3260"}
            return {
                "driver_volume_type": "iscsi",
                "data": {**target, "target_lun": 1, "volume_id": volume.id, "access_mode": "rw"},
            }
        loops = self._loops(volume)
        if not loops:
            made = subprocess.run(
                ["losetup", "-f", "--show", self._path(volume)], check=True, capture_output=True, text=True
            )
            loops = [made.stdout.strip()]
        return {"driver_volume_type": "local", "data": {"device_path": loops[0], "access_mode": "rw"}}

    def terminate_connection(self, volume, connector, **kwargs):
        """Give the loop device back."""
        for device in self._loops(volume):
            subprocess.run(["losetup", "-d", device], check=False)

    def get_volume_stats(self, refresh=False):
        """One pool, that knows what it has handed out."""
        capacity = self.configuration.guiyun_capacity_gib
        used = sum(entry.stat().st_size for entry in self.directory.iterdir()) >> 30
        name = self.configuration.volume_backend_name
        pool = {
            "pool_name": name,
            "total_capacity_gb": capacity,
            "free_capacity_gb": capacity - used,
            "provisioned_capacity_gb": used,
            "allocated_capacity_gb": used,
            "max_over_subscription_ratio": "1.0",
            "thin_provisioning_support": False,
            "thick_provisioning_support": True,
            "reserved_percentage": 0,
            "QoS_support": False,
            "multiattach": False,
        }
        stats = {
            "volume_backend_name": name,
            "vendor_name": "guiyun",
            "driver_version": self.VERSION,
            "storage_protocol": "iscsi",
        }
        return {**stats, "pools": [pool]}
