"""All settings in one place, read from the environment (prefix ``GUIYUN_``) and passed in, never a global.

Called by: the composition root (``broker.bootstrap``), the launcher and the command line.
Must not: be imported by rules; hold a secret as plain ``str`` (``SecretStr`` keeps it out of logs and reprs).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Everything an operator may set. Lengths are seconds, sizes bytes, unless the name says otherwise."""

    model_config = SettingsConfigDict(env_prefix="GUIYUN_", extra="ignore", frozen=True)

    home: Path = Path(".guiyun")
    """Where the embedded parts keep their state, logs and generated secrets."""

    # PostgreSQL. Without a URL the launcher starts an embedded server and fills these in for its children.
    database_url: SecretStr | None = None
    """The runtime role's URL (``postgresql+psycopg://...``): may read and write rows, cannot change the schema."""
    owner_database_url: SecretStr | None = None
    """The owner's URL: migrations only. Without it migrations use ``database_url``."""
    simulated_database_url: SecretStr | None = None
    """The simulated clouds keep their state here: a database of their own, never the broker's."""
    pool_size: int = 16

    # Temporal. Without an address the launcher starts an embedded server.
    temporal_address: str | None = None
    temporal_namespace: str = "guiyun"

    # The ways in.
    host: str = "127.0.0.1"
    port: int = 8080
    worker_metrics_port: int | None = Field(default=None, ge=1, le=65_535)
    """Where ``guiyun work`` shows its own metrics; none without a port. Each worker of a machine has its own."""
    worker_metrics_host: str = "127.0.0.1"
    session_hours: float = 12
    secure_cookies: bool = False
    """Set behind TLS; loopback demonstrations have none."""
    login_attempts_per_minute: int = 10
    body_limit_bytes: int = 2 * 1024 * 1024

    # Business settings that are ours (no article fixes them).
    office_open: str = "09:00"
    office_close: str = "17:30"
    holidays_file: Path | None = None
    hold_days: int = 10
    """How long a hold made at assessment waits for delivery, in calendar days."""
    quota_notice_percent: int = Field(default=80, ge=1, le=99)
    """How full a quota or a cloud is when people are told for the first time; the second time is at 100."""
    quarantine_days: int = 30
    """How long a released IPv6 prefix rests before it may be given out again."""

    # Reclaiming: ours as well (no regulation's number could be read).
    reclaim_unit_percent: int = Field(default=10, ge=1, le=100)
    """How much of a unit's live resources (its tree's together) may be suspended at once; one server always may."""
    reclaim_cloud_percent: int = Field(default=5, ge=1, le=100)
    """The same of a sub-cloud's."""
    reclaim_in_use_cpu_percent: int = Field(default=10, ge=1, le=100)
    """A day of at least this mean CPU is use, for what a person decided to take back and for a term: no policy says."""
    reclaim_keep_days: int = Field(default=30, ge=1, le=3660)
    """How long suspended servers and their snapshots are kept before a release may be proposed, in calendar days."""

    # Dedicated networks: ours (Art. 10 and 11 give no numbers of days).
    network_plan_workdays: int = Field(default=20, ge=1, le=250)
    """How long after a network was put on the list its plan is due, in working days."""
    network_report_workdays: int = Field(default=5, ge=0, le=250)
    """How long after its owner was told that a step is late finance is told, in working days."""

    # Notices by e-mail and to groups; without them notices stay in the inbox.
    smtp_host: str = ""
    smtp_port: int = Field(default=587, ge=1, le=65_535)
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    smtp_username: str = ""
    smtp_password: SecretStr | None = None
    smtp_sender: str = "guiyun@localhost"
    """The address that messages come from; its domain is that of their Message-ID."""
    webhooks_file: Path | None = None
    """Groups' robots (YAML): name, format (wecom, dingtalk), url, secret, unit, roles; ``env:NAME`` for secrets."""

    # Secrets and files.
    secret_key: SecretStr | None = None
    """Base64 of 32 bytes: encrypts the one-time secrets of a handover. Generated into ``home`` when absent."""
    attachments_url: str | None = None
    """Where attachments are stored (``file:///...``); default: a folder in ``home``."""
    clouds_file: Path | None = None
    """Adapter options of each sub-cloud (addresses, credentials or ``env:NAME``), kept outside the region file."""

    management_key_file: Path | None = None
    """Private SSH key whose public half the sub-clouds' images carry: lets playbooks configure delivered servers."""
    management_user: str = "root"
    extranet_key_file: Path | None = None
    """Private SSH key that the extranet's routers let in. With it, and a topology (``guiyun extranet load``), segments
    of sub-clouds that are attached there are routed and looked at."""

    # What resources really use, and detection over it: ours as well.
    utilisation_url: str | None = None
    """Where samples are kept (``file:///...`` or ``s3://bucket/folder``); default: a folder in ``home``. Workers on
    several machines need one that all of them reach."""
    utilisation_s3_endpoint: str = ""
    """The S3-compatible store's address (``https://...``), without the bucket."""
    utilisation_s3_region: str = "us-east-1"
    """What requests are signed for; most stores of one's own take any."""
    utilisation_s3_access_key: str = ""
    utilisation_s3_secret_key: SecretStr | None = None
    utilisation_s3_virtual_hosted: bool = False
    """The bucket stands before the host's name (``bucket.host``) and not in the path."""
    utilisation_s3_ca_file: Path | None = None
    """The certificate authority (PEM) of a store that no public one vouches for."""
    utilisation_cache_mib: int = Field(default=10_240, ge=256)
    """How much of what was fetched from a bucket stays in ``home`` for the next time."""
    utilisation_months: int = Field(default=15, ge=1, le=120)
    """How many whole months of hourly samples are kept; older days are thinned to one row each. Scans of idleness and
    of zombies are kept as long, but for what a case or a decision rests on (a year at the least)."""
    utilisation_memory_mib: int = Field(default=640, ge=256)
    """What DuckDB may use for a scan or an import before it spills to disk."""
    telemetry_file: Path | None = None
    """Which sub-clouds' samples come from a Prometheus, and by which queries (YAML); others are asked themselves."""
    idle_policy_file: Path | None = None
    """Detection policies (YAML); default: those shipped with Guiyun."""

    log_format: Literal["json", "console"] = "json"
    log_level: str = "INFO"
    demonstration: bool = False
    """Demonstration accounts exist only when this is set; refused unless ``host`` is loopback."""
