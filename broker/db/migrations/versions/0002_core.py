"""The core's tables: the data model of the seven stages, and what the runtime role may do with it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002_core"
down_revision = "0001_quotas"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE SCHEMA IF NOT EXISTS broker")
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
    op.execute("CREATE SEQUENCE broker.request_number")
    op.execute("CREATE SEQUENCE broker.resource_number")
    op.create_table(
        "audit_event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor_id", sa.Uuid(), nullable=True),
        sa.Column("on_behalf_of", sa.Uuid(), nullable=True),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("subject_type", sa.String(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.Column("article", sa.String(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("trace_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_event")),
        schema="broker",
    )
    op.create_index(op.f("ix_audit_event_request_id"), "audit_event", ["request_id"], unique=False, schema="broker")
    op.create_index("ix_audit_event_subject_id", "audit_event", ["subject_id"], unique=False, schema="broker")
    op.create_table(
        "idempotency_key",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("body", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("account_id", "key", name=op.f("pk_idempotency_key")),
        schema="broker",
    )
    op.create_table(
        "person",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("phone", sa.String(), server_default="", nullable=False),
        sa.Column("email", sa.String(), server_default="", nullable=False),
        sa.Column("title", sa.String(), server_default="", nullable=False),
        sa.Column("blanked_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person")),
        schema="broker",
    )
    op.create_table(
        "sign_in_attempt",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("login", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("succeeded", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_in_attempt")),
        schema="broker",
    )
    op.create_index("ix_sign_in_attempt_login_at", "sign_in_attempt", ["login", "at"], unique=False, schema="broker")
    op.create_index("ix_sign_in_attempt_source_at", "sign_in_attempt", ["source", "at"], unique=False, schema="broker")
    op.create_table(
        "sub_cloud",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("tier", sa.String(), nullable=False),
        sa.Column("operator", sa.String(), nullable=False),
        sa.Column("provider", sa.String(), nullable=False),
        sa.Column("options", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("options_ref", sa.String(), nullable=True),
        sa.Column("mlps_level", sa.Integer(), nullable=False),
        sa.Column("zones", sa.ARRAY(sa.String()), nullable=False),
        sa.Column("unified_management", sa.Boolean(), nullable=False),
        sa.Column("division_code", sa.String(), nullable=True),
        sa.Column("accredited_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.CheckConstraint("tier IN ('main', 'industry', 'city')", name=op.f("ck_sub_cloud_tier")),
        sa.CheckConstraint("mlps_level BETWEEN 1 AND 5", name=op.f("ck_sub_cloud_mlps_level")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sub_cloud")),
        sa.UniqueConstraint("code", name=op.f("uq_sub_cloud_code")),
        schema="broker",
    )
    op.create_table(
        "unit",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("division_code", sa.String(), nullable=True),
        sa.CheckConstraint("kind IN ('region', 'department', 'city', 'county', 'office')", name=op.f("ck_unit_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unit")),
        sa.UniqueConstraint("code", name=op.f("uq_unit_code")),
        schema="broker",
    )
    op.create_table(
        "account",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("login", sa.String(), nullable=False),
        sa.Column("person_id", sa.Uuid(), nullable=True),
        sa.Column("unit_id", sa.Uuid(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["person_id"], ["broker.person.id"], name=op.f("fk_account_person_id")),
        sa.ForeignKeyConstraint(["unit_id"], ["broker.unit.id"], name=op.f("fk_account_unit_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("login", name=op.f("uq_account_login")),
        schema="broker",
    )
    op.create_table(
        "audit_seal",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.ForeignKeyConstraint(["event_id"], ["broker.audit_event.id"], name=op.f("fk_audit_seal_event_id")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit_seal")),
        sa.UniqueConstraint("event_id", name=op.f("uq_audit_seal_event_id")),
        schema="broker",
    )
    op.create_table(
        "home_cloud",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("unit_id", sa.Uuid(), nullable=False),
        sa.Column("sub_cloud_id", sa.Uuid(), nullable=False),
        sa.Column("article", sa.String(), nullable=False),
        sa.Column("during", postgresql.TSTZRANGE(), nullable=False),
        postgresql.ExcludeConstraint(
            (sa.column("unit_id"), "="), (sa.column("during"), "&&"), using="gist", name="ex_home_cloud"
        ),
        sa.ForeignKeyConstraint(["sub_cloud_id"], ["broker.sub_cloud.id"], name=op.f("fk_home_cloud_sub_cloud_id")),
        sa.ForeignKeyConstraint(["unit_id"], ["broker.unit.id"], name=op.f("fk_home_cloud_unit_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_home_cloud")),
        schema="broker",
    )
    op.create_table(
        "image",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sub_cloud_id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("cpu_arch", sa.String(), nullable=False),
        sa.Column("provider_name", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["sub_cloud_id"], ["broker.sub_cloud.id"], name=op.f("fk_image_sub_cloud_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image")),
        sa.UniqueConstraint("sub_cloud_id", "code", name=op.f("uq_image_sub_cloud_id_code")),
        schema="broker",
    )
    op.create_table(
        "information_system",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("unit_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("mlps_level", sa.Integer(), nullable=False),
        sa.Column("function", sa.String(), nullable=False),
        sa.Column("scope_of_use", sa.String(), nullable=False),
        sa.Column("frequency_of_use", sa.String(), nullable=False),
        sa.Column("approving_department", sa.String(), nullable=False),
        sa.Column("approved_on", sa.Date(), nullable=True),
        sa.Column("funding_source", sa.String(), nullable=False),
        sa.Column("owner_person_id", sa.Uuid(), nullable=True),
        sa.Column("retired_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("mlps_level BETWEEN 1 AND 5", name=op.f("ck_information_system_mlps_level")),
        sa.ForeignKeyConstraint(
            ["owner_person_id"], ["broker.person.id"], name=op.f("fk_information_system_owner_person_id")
        ),
        sa.ForeignKeyConstraint(["unit_id"], ["broker.unit.id"], name=op.f("fk_information_system_unit_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_information_system")),
        sa.UniqueConstraint("code", name=op.f("uq_information_system_code")),
        schema="broker",
    )
    op.create_index(
        op.f("ix_information_system_unit_id"), "information_system", ["unit_id"], unique=False, schema="broker"
    )
    op.create_table(
        "offering",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sub_cloud_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("cpu_arch", sa.String(), server_default="", nullable=False),
        sa.Column("block_class", sa.String(), server_default="", nullable=False),
        sa.Column("max_vcpu", sa.Integer(), nullable=True),
        sa.Column("max_memory_gib", sa.Integer(), nullable=True),
        sa.Column("max_disk_gib", sa.Integer(), nullable=True),
        sa.CheckConstraint("kind IN ('server', 'volume', 'segment')", name=op.f("ck_offering_kind")),
        sa.ForeignKeyConstraint(["sub_cloud_id"], ["broker.sub_cloud.id"], name=op.f("fk_offering_sub_cloud_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_offering")),
        sa.UniqueConstraint(
            "sub_cloud_id",
            "kind",
            "cpu_arch",
            "block_class",
            name=op.f("uq_offering_sub_cloud_id_kind_cpu_arch_block_class"),
        ),
        schema="broker",
    )
    op.create_table(
        "payer",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("unit_id", sa.Uuid(), nullable=False),
        sa.Column("tier", sa.String(), nullable=False),
        sa.Column("payer_unit_id", sa.Uuid(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("article", sa.String(), nullable=False),
        sa.Column("during", postgresql.TSTZRANGE(), nullable=False),
        postgresql.ExcludeConstraint(
            (sa.column("unit_id"), "="),
            (sa.column("tier"), "="),
            (sa.column("during"), "&&"),
            using="gist",
            name="ex_payer",
        ),
        sa.CheckConstraint("tier IN ('main', 'industry', 'city')", name=op.f("ck_payer_tier")),
        sa.ForeignKeyConstraint(["payer_unit_id"], ["broker.unit.id"], name=op.f("fk_payer_payer_unit_id")),
        sa.ForeignKeyConstraint(["unit_id"], ["broker.unit.id"], name=op.f("fk_payer_unit_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payer")),
        schema="broker",
    )
    op.create_table(
        "project",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("unit_id", sa.Uuid(), nullable=False),
        sa.Column("sub_cloud_id", sa.Uuid(), nullable=False),
        sa.Column("ref", sa.String(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["sub_cloud_id"], ["broker.sub_cloud.id"], name=op.f("fk_project_sub_cloud_id")),
        sa.ForeignKeyConstraint(["unit_id"], ["broker.unit.id"], name=op.f("fk_project_unit_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project")),
        sa.UniqueConstraint("unit_id", "sub_cloud_id", name=op.f("uq_project_unit_id_sub_cloud_id")),
        schema="broker",
    )
    op.create_table(
        "statement",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("payer_unit_id", sa.Uuid(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("total_fen", sa.BigInteger(), nullable=False),
        sa.Column("covers_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("extract(day from month) = 1", name=op.f("ck_statement_month")),
        sa.ForeignKeyConstraint(["payer_unit_id"], ["broker.unit.id"], name=op.f("fk_statement_payer_unit_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_statement")),
        sa.UniqueConstraint("payer_unit_id", "month", "version", name=op.f("uq_statement_payer_unit_id_month_version")),
        schema="broker",
    )
    op.create_table(
        "sub_cloud_authority",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("sub_cloud_id", sa.Uuid(), nullable=False),
        sa.Column("duty", sa.String(), nullable=False),
        sa.Column("unit_id", sa.Uuid(), nullable=False),
        sa.Column("during", postgresql.TSTZRANGE(), nullable=False),
        postgresql.ExcludeConstraint(
            (sa.column("sub_cloud_id"), "="),
            (sa.column("duty"), "="),
            (sa.column("during"), "&&"),
            using="gist",
            name="ex_authority",
        ),
        sa.CheckConstraint("duty IN ('decide', 'assess', 'deliver')", name=op.f("ck_sub_cloud_authority_duty")),
        sa.ForeignKeyConstraint(
            ["sub_cloud_id"], ["broker.sub_cloud.id"], name=op.f("fk_sub_cloud_authority_sub_cloud_id")
        ),
        sa.ForeignKeyConstraint(["unit_id"], ["broker.unit.id"], name=op.f("fk_sub_cloud_authority_unit_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sub_cloud_authority")),
        schema="broker",
    )
    op.create_table(
        "sub_cloud_status",
        sa.Column("sub_cloud_id", sa.Uuid(), nullable=False),
        sa.Column("healthy", sa.Boolean(), nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("capacity", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["sub_cloud_id"], ["broker.sub_cloud.id"], name=op.f("fk_sub_cloud_status_sub_cloud_id")
        ),
        sa.PrimaryKeyConstraint("sub_cloud_id", name=op.f("pk_sub_cloud_status")),
        schema="broker",
    )
    op.create_table(
        "tariff_price",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("meter", sa.String(), nullable=False),
        sa.Column("sub_cloud_id", sa.Uuid(), nullable=True),
        sa.Column("price_cny", sa.Numeric(precision=18, scale=8), nullable=False),
        sa.Column("per", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("during", postgresql.TSTZRANGE(), nullable=False),
        postgresql.ExcludeConstraint(
            (sa.column("meter"), "="),
            (sa.text("coalesce(sub_cloud_id, '00000000-0000-0000-0000-000000000000'::uuid)"), "="),
            (sa.column("during"), "&&"),
            using="gist",
            name="ex_tariff_price",
        ),
        sa.CheckConstraint("per IN ('hour', 'month')", name=op.f("ck_tariff_price_per")),
        sa.CheckConstraint("price_cny >= 0", name=op.f("ck_tariff_price_price")),
        sa.ForeignKeyConstraint(["sub_cloud_id"], ["broker.sub_cloud.id"], name=op.f("fk_tariff_price_sub_cloud_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tariff_price")),
        schema="broker",
    )
    op.create_table(
        "unit_period",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("unit_id", sa.Uuid(), nullable=False),
        sa.Column("parent_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("ancestors", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column("during", postgresql.TSTZRANGE(), nullable=False),
        postgresql.ExcludeConstraint(
            (sa.column("unit_id"), "="), (sa.column("during"), "&&"), using="gist", name="ex_unit_period"
        ),
        sa.ForeignKeyConstraint(["parent_id"], ["broker.unit.id"], name=op.f("fk_unit_period_parent_id")),
        sa.ForeignKeyConstraint(["unit_id"], ["broker.unit.id"], name=op.f("fk_unit_period_unit_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unit_period")),
        schema="broker",
    )
    op.create_index(
        "ix_unit_period_ancestors", "unit_period", ["ancestors"], unique=False, schema="broker", postgresql_using="gin"
    )
    op.create_table(
        "api_token",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["broker.account.id"], name=op.f("fk_api_token_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_token")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_api_token_token_hash")),
        schema="broker",
    )
    op.create_table(
        "deputy",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("principal_id", sa.Uuid(), nullable=False),
        sa.Column("deputy_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("during", postgresql.TSTZRANGE(), nullable=False),
        sa.CheckConstraint("principal_id <> deputy_id", name=op.f("ck_deputy_not_self")),
        sa.ForeignKeyConstraint(["deputy_id"], ["broker.account.id"], name=op.f("fk_deputy_deputy_id")),
        sa.ForeignKeyConstraint(["principal_id"], ["broker.account.id"], name=op.f("fk_deputy_principal_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deputy")),
        schema="broker",
    )
    op.create_index(op.f("ix_deputy_deputy_id"), "deputy", ["deputy_id"], unique=False, schema="broker")
    op.create_table(
        "network_exception",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("unit_id", sa.Uuid(), nullable=False),
        sa.Column("granted_by", sa.Uuid(), nullable=False),
        sa.Column("document_number", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("during", postgresql.TSTZRANGE(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["granted_by"], ["broker.account.id"], name=op.f("fk_network_exception_granted_by")),
        sa.ForeignKeyConstraint(["unit_id"], ["broker.unit.id"], name=op.f("fk_network_exception_unit_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_network_exception")),
        schema="broker",
    )
    op.create_index(
        op.f("ix_network_exception_unit_id"), "network_exception", ["unit_id"], unique=False, schema="broker"
    )
    op.create_table(
        "notice",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=True),
        sa.Column("unit_id", sa.Uuid(), nullable=True),
        sa.Column("role", sa.String(), nullable=True),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("params", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("subject_type", sa.String(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("dedupe", sa.String(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "(account_id IS NULL) = (unit_id IS NOT NULL AND role IS NOT NULL)", name=op.f("ck_notice_audience")
        ),
        sa.ForeignKeyConstraint(["account_id"], ["broker.account.id"], name=op.f("fk_notice_account_id")),
        sa.ForeignKeyConstraint(["unit_id"], ["broker.unit.id"], name=op.f("fk_notice_unit_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice")),
        sa.UniqueConstraint("dedupe", name=op.f("uq_notice_dedupe")),
        schema="broker",
    )
    op.create_index("ix_notice_account_id_id", "notice", ["account_id", "id"], unique=False, schema="broker")
    op.create_index("ix_notice_unit_id_role_id", "notice", ["unit_id", "role", "id"], unique=False, schema="broker")
    op.create_table(
        "resource",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "number",
            sa.String(),
            server_default=sa.text("'ZY-' || lpad(nextval('broker.resource_number')::text, 8, '0')"),
            nullable=False,
        ),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False),
        sa.Column("unit_id", sa.Uuid(), nullable=False),
        sa.Column("system_id", sa.Uuid(), nullable=True),
        sa.Column("sub_cloud_id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.Column("item_id", sa.Uuid(), nullable=True),
        sa.Column("delivery_id", sa.Uuid(), nullable=True),
        sa.Column("hold_id", sa.Uuid(), nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("spec", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("network_id", sa.Uuid(), nullable=True),
        sa.Column("server_id", sa.Uuid(), nullable=True),
        sa.Column("prefix", postgresql.CIDR(), nullable=True),
        sa.Column("routing_domain", sa.String(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("ref", sa.String(), nullable=True),
        sa.Column("addresses", postgresql.ARRAY(postgresql.INET()), server_default="{}", nullable=False),
        sa.Column("error_code", sa.String(), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("(origin = 'adopted') = (item_id IS NULL)", name=op.f("ck_resource_origin_item")),
        sa.CheckConstraint("kind IN ('server', 'volume', 'segment')", name=op.f("ck_resource_kind")),
        sa.CheckConstraint("origin IN ('delivered', 'adopted')", name=op.f("ck_resource_origin")),
        sa.CheckConstraint(
            "state IN ('planned', 'building', 'ready', 'active', 'stopped', 'failed', 'undone', 'releasing', 'released')",
            name=op.f("ck_resource_state"),
        ),
        sa.ForeignKeyConstraint(["network_id"], ["broker.resource.id"], name=op.f("fk_resource_network_id")),
        sa.ForeignKeyConstraint(["project_id"], ["broker.project.id"], name=op.f("fk_resource_project_id")),
        sa.ForeignKeyConstraint(["server_id"], ["broker.resource.id"], name=op.f("fk_resource_server_id")),
        sa.ForeignKeyConstraint(["sub_cloud_id"], ["broker.sub_cloud.id"], name=op.f("fk_resource_sub_cloud_id")),
        sa.ForeignKeyConstraint(["system_id"], ["broker.information_system.id"], name=op.f("fk_resource_system_id")),
        sa.ForeignKeyConstraint(["unit_id"], ["broker.unit.id"], name=op.f("fk_resource_unit_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_resource")),
        sa.UniqueConstraint("number", name=op.f("uq_resource_number")),
        schema="broker",
    )
    op.create_index(op.f("ix_resource_delivery_id"), "resource", ["delivery_id"], unique=False, schema="broker")
    op.create_index(op.f("ix_resource_request_id"), "resource", ["request_id"], unique=False, schema="broker")
    op.create_index(
        "ix_resource_sub_cloud_id_state", "resource", ["sub_cloud_id", "state"], unique=False, schema="broker"
    )
    op.create_index(op.f("ix_resource_system_id"), "resource", ["system_id"], unique=False, schema="broker")
    op.create_index(op.f("ix_resource_unit_id"), "resource", ["unit_id"], unique=False, schema="broker")
    op.create_table(
        "role_grant",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("during", postgresql.TSTZRANGE(), nullable=False),
        postgresql.ExcludeConstraint(
            (sa.column("account_id"), "="),
            (sa.column("role"), "="),
            (sa.column("during"), "&&"),
            using="gist",
            name="ex_role_grant",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["broker.account.id"], name=op.f("fk_role_grant_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_role_grant")),
        schema="broker",
    )
    op.create_table(
        "service_request",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column(
            "number",
            sa.String(),
            server_default=sa.text(
                "'GX-' || to_char(clock_timestamp() AT TIME ZONE 'Asia/Shanghai', 'YYYY') || '-' || lpad(nextval('broker.request_number')::text, 6, '0')"
            ),
            nullable=False,
        ),
        sa.Column("unit_id", sa.Uuid(), nullable=False),
        sa.Column("applicant_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("draft", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("contact_id", sa.Uuid(), nullable=True),
        sa.Column("revision_id", sa.Uuid(), nullable=True),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("system_id", sa.Uuid(), nullable=True),
        sa.Column("target_cloud_id", sa.Uuid(), nullable=True),
        sa.Column("deciding_unit_id", sa.Uuid(), nullable=True),
        sa.Column("assessing_unit_id", sa.Uuid(), nullable=True),
        sa.Column("delivering_unit_id", sa.Uuid(), nullable=True),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["applicant_id"], ["broker.account.id"], name=op.f("fk_service_request_applicant_id")),
        sa.ForeignKeyConstraint(
            ["assessing_unit_id"], ["broker.unit.id"], name=op.f("fk_service_request_assessing_unit_id")
        ),
        sa.ForeignKeyConstraint(["contact_id"], ["broker.person.id"], name=op.f("fk_service_request_contact_id")),
        sa.ForeignKeyConstraint(
            ["deciding_unit_id"], ["broker.unit.id"], name=op.f("fk_service_request_deciding_unit_id")
        ),
        sa.ForeignKeyConstraint(
            ["delivering_unit_id"], ["broker.unit.id"], name=op.f("fk_service_request_delivering_unit_id")
        ),
        sa.ForeignKeyConstraint(
            ["system_id"], ["broker.information_system.id"], name=op.f("fk_service_request_system_id")
        ),
        sa.ForeignKeyConstraint(
            ["target_cloud_id"], ["broker.sub_cloud.id"], name=op.f("fk_service_request_target_cloud_id")
        ),
        sa.ForeignKeyConstraint(["unit_id"], ["broker.unit.id"], name=op.f("fk_service_request_unit_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service_request")),
        sa.UniqueConstraint("number", name=op.f("uq_service_request_number")),
        schema="broker",
    )
    op.create_index(
        "ix_service_request_deciding", "service_request", ["deciding_unit_id", "state"], unique=False, schema="broker"
    )
    op.create_index(
        "ix_service_request_delivering",
        "service_request",
        ["delivering_unit_id", "state"],
        unique=False,
        schema="broker",
    )
    op.create_index(
        "ix_service_request_state_due_at", "service_request", ["state", "due_at"], unique=False, schema="broker"
    )
    op.create_index(
        "ix_service_request_unit_id_id", "service_request", ["unit_id", "id"], unique=False, schema="broker"
    )
    op.create_table(
        "user_session",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("csrf_token", sa.String(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["broker.account.id"], name=op.f("fk_user_session_account_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_user_session")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_user_session_token_hash")),
        schema="broker",
    )
    op.create_table(
        "attachment",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=True),
        sa.Column("unit_id", sa.Uuid(), nullable=False),
        sa.Column("uploaded_by", sa.Uuid(), nullable=False),
        sa.Column("document_number", sa.String(), nullable=False),
        sa.Column("file_name", sa.String(), nullable=False),
        sa.Column("media_type", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sm3", sa.String(), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["request_id"], ["broker.service_request.id"], name=op.f("fk_attachment_request_id")),
        sa.ForeignKeyConstraint(["unit_id"], ["broker.unit.id"], name=op.f("fk_attachment_unit_id")),
        sa.ForeignKeyConstraint(["uploaded_by"], ["broker.account.id"], name=op.f("fk_attachment_uploaded_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attachment")),
        schema="broker",
    )
    op.create_index(op.f("ix_attachment_request_id"), "attachment", ["request_id"], unique=False, schema="broker")
    op.create_table(
        "charge",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("statement_id", sa.Uuid(), nullable=False),
        sa.Column("unit_id", sa.Uuid(), nullable=False),
        sa.Column("resource_id", sa.Uuid(), nullable=False),
        sa.Column("sub_cloud_id", sa.Uuid(), nullable=False),
        sa.Column("meter", sa.String(), nullable=False),
        sa.Column("tariff_price_id", sa.Uuid(), nullable=False),
        sa.Column("payer_rule", sa.String(), nullable=False),
        sa.Column("article", sa.String(), nullable=False),
        sa.Column("quantity_seconds", sa.Numeric(), nullable=False),
        sa.Column("amount_fen", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["resource_id"], ["broker.resource.id"], name=op.f("fk_charge_resource_id")),
        sa.ForeignKeyConstraint(["statement_id"], ["broker.statement.id"], name=op.f("fk_charge_statement_id")),
        sa.ForeignKeyConstraint(["sub_cloud_id"], ["broker.sub_cloud.id"], name=op.f("fk_charge_sub_cloud_id")),
        sa.ForeignKeyConstraint(
            ["tariff_price_id"], ["broker.tariff_price.id"], name=op.f("fk_charge_tariff_price_id")
        ),
        sa.ForeignKeyConstraint(["unit_id"], ["broker.unit.id"], name=op.f("fk_charge_unit_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_charge")),
        sa.UniqueConstraint(
            "statement_id",
            "resource_id",
            "meter",
            "tariff_price_id",
            name=op.f("uq_charge_statement_id_resource_id_meter_tariff_price_id"),
        ),
        schema="broker",
    )
    op.create_index(op.f("ix_charge_statement_id"), "charge", ["statement_id"], unique=False, schema="broker")
    op.create_table(
        "delivery",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("sub_cloud_id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("hold_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("run", sa.Integer(), server_default="1", nullable=False),
        sa.Column("mode", sa.String(), server_default="build", nullable=False),
        sa.Column("public_key", sa.String(), nullable=True),
        sa.Column("secret", sa.LargeBinary(), nullable=True),
        sa.Column("secret_shown_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ordered_by", sa.Uuid(), nullable=False),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("mode IN ('build', 'undo')", name=op.f("ck_delivery_mode")),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'needs_operator', 'delivered', 'partly_delivered', 'undone', 'expired')",
            name=op.f("ck_delivery_state"),
        ),
        sa.ForeignKeyConstraint(["ordered_by"], ["broker.account.id"], name=op.f("fk_delivery_ordered_by")),
        sa.ForeignKeyConstraint(["project_id"], ["broker.project.id"], name=op.f("fk_delivery_project_id")),
        sa.ForeignKeyConstraint(["request_id"], ["broker.service_request.id"], name=op.f("fk_delivery_request_id")),
        sa.ForeignKeyConstraint(["sub_cloud_id"], ["broker.sub_cloud.id"], name=op.f("fk_delivery_sub_cloud_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery")),
        sa.UniqueConstraint(
            "request_id", "sub_cloud_id", "hold_id", name=op.f("uq_delivery_request_id_sub_cloud_id_hold_id")
        ),
        schema="broker",
    )
    op.create_index(
        "ix_delivery_open",
        "delivery",
        ["queued_at"],
        unique=False,
        schema="broker",
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
    op.create_index(op.f("ix_delivery_request_id"), "delivery", ["request_id"], unique=False, schema="broker")
    op.create_table(
        "delivery_step",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="1", nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("detail", sa.String(), server_default="", nullable=False),
        sa.CheckConstraint("state IN ('running', 'done', 'failed', 'undone')", name=op.f("ck_delivery_step_state")),
        sa.ForeignKeyConstraint(
            ["request_id"], ["broker.service_request.id"], name=op.f("fk_delivery_step_request_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_delivery_step")),
        sa.UniqueConstraint("subject_id", "run", "name", name=op.f("uq_delivery_step_subject_id_run_name")),
        schema="broker",
    )
    op.create_index(op.f("ix_delivery_step_request_id"), "delivery_step", ["request_id"], unique=False, schema="broker")
    op.create_table(
        "desk_case",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("subject_type", sa.String(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("resource_id", sa.Uuid(), nullable=True),
        sa.Column("unit_id", sa.Uuid(), nullable=False),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("detail", sa.String(), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("action", sa.String(), nullable=True),
        sa.Column("reason", sa.String(), nullable=True),
        sa.Column("decided_by", sa.Uuid(), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("action IN ('retry', 'adopt', 'give_up')", name=op.f("ck_desk_case_action")),
        sa.CheckConstraint("subject_type IN ('delivery', 'release')", name=op.f("ck_desk_case_subject_type")),
        sa.CheckConstraint("(closed_at IS NULL) = (action IS NULL)", name=op.f("ck_desk_case_closed")),
        sa.ForeignKeyConstraint(["decided_by"], ["broker.account.id"], name=op.f("fk_desk_case_decided_by")),
        sa.ForeignKeyConstraint(["request_id"], ["broker.service_request.id"], name=op.f("fk_desk_case_request_id")),
        sa.ForeignKeyConstraint(["resource_id"], ["broker.resource.id"], name=op.f("fk_desk_case_resource_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_desk_case")),
        schema="broker",
    )
    op.create_index(op.f("ix_desk_case_request_id"), "desk_case", ["request_id"], unique=False, schema="broker")
    op.create_index(
        "uq_desk_case_open",
        "desk_case",
        ["subject_id", "step", "resource_id"],
        unique=True,
        schema="broker",
        postgresql_where=sa.text("closed_at IS NULL"),
        postgresql_nulls_not_distinct=True,
    )
    op.create_table(
        "notice_read",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("notice_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["broker.account.id"], name=op.f("fk_notice_read_account_id")),
        sa.ForeignKeyConstraint(["notice_id"], ["broker.notice.id"], name=op.f("fk_notice_read_notice_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_notice_read")),
        sa.UniqueConstraint("notice_id", "account_id", name=op.f("uq_notice_read_notice_id_account_id")),
        schema="broker",
    )
    op.create_table(
        "release",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("sub_cloud_id", sa.Uuid(), nullable=False),
        sa.Column("delivering_unit_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("run", sa.Integer(), server_default="1", nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("asked_by", sa.Uuid(), nullable=False),
        sa.Column("asked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("confirmed_by", sa.Uuid(), nullable=True),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "state IN ('asked', 'queued', 'running', 'needs_operator', 'released', 'declined')",
            name=op.f("ck_release_state"),
        ),
        sa.ForeignKeyConstraint(["asked_by"], ["broker.account.id"], name=op.f("fk_release_asked_by")),
        sa.ForeignKeyConstraint(["confirmed_by"], ["broker.account.id"], name=op.f("fk_release_confirmed_by")),
        sa.ForeignKeyConstraint(["delivering_unit_id"], ["broker.unit.id"], name=op.f("fk_release_delivering_unit_id")),
        sa.ForeignKeyConstraint(["request_id"], ["broker.service_request.id"], name=op.f("fk_release_request_id")),
        sa.ForeignKeyConstraint(["sub_cloud_id"], ["broker.sub_cloud.id"], name=op.f("fk_release_sub_cloud_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_release")),
        schema="broker",
    )
    op.create_index(
        "ix_release_open",
        "release",
        ["confirmed_at"],
        unique=False,
        schema="broker",
        postgresql_where=sa.text("state IN ('queued', 'running')"),
    )
    op.create_index(op.f("ix_release_request_id"), "release", ["request_id"], unique=False, schema="broker")
    op.create_table(
        "request_revision",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("form", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("quote", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("quote_fen", sa.BigInteger(), nullable=False),
        sa.Column("submitted_by", sa.Uuid(), nullable=False),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["contact_id"], ["broker.person.id"], name=op.f("fk_request_revision_contact_id")),
        sa.ForeignKeyConstraint(
            ["request_id"], ["broker.service_request.id"], name=op.f("fk_request_revision_request_id")
        ),
        sa.ForeignKeyConstraint(["submitted_by"], ["broker.account.id"], name=op.f("fk_request_revision_submitted_by")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_request_revision")),
        sa.UniqueConstraint("request_id", "ordinal", name=op.f("uq_request_revision_request_id_ordinal")),
        schema="broker",
    )
    op.create_table(
        "resource_period",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("resource_id", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("cpu_arch", sa.String(), nullable=True),
        sa.Column("vcpu", sa.Integer(), server_default="0", nullable=False),
        sa.Column("memory_gib", sa.Integer(), server_default="0", nullable=False),
        sa.Column("block_gib", sa.Integer(), server_default="0", nullable=False),
        sa.Column("block_class", sa.String(), nullable=True),
        sa.Column("segments", sa.Integer(), server_default="0", nullable=False),
        sa.Column("during", postgresql.TSTZRANGE(), nullable=False),
        postgresql.ExcludeConstraint(
            (sa.column("resource_id"), "="), (sa.column("during"), "&&"), using="gist", name="ex_resource_period"
        ),
        sa.CheckConstraint("state IN ('active', 'stopped')", name=op.f("ck_resource_period_state")),
        sa.CheckConstraint("(block_gib > 0) <= (block_class IS NOT NULL)", name=op.f("ck_resource_period_block_class")),
        sa.CheckConstraint("(vcpu > 0) <= (cpu_arch IS NOT NULL)", name=op.f("ck_resource_period_cpu_arch")),
        sa.CheckConstraint("NOT isempty(during) AND NOT lower_inf(during)", name=op.f("ck_resource_period_during")),
        sa.CheckConstraint(
            "vcpu >= 0 AND memory_gib >= 0 AND block_gib >= 0 AND segments >= 0", name=op.f("ck_resource_period_sizes")
        ),
        sa.ForeignKeyConstraint(["resource_id"], ["broker.resource.id"], name=op.f("fk_resource_period_resource_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_resource_period")),
        schema="broker",
    )
    op.create_table(
        "stage_clock",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("unit_id", sa.Uuid(), nullable=False),
        sa.Column("workdays", sa.Integer(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("provisional", sa.Boolean(), nullable=False),
        sa.Column("calendar_version", sa.String(), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("stage IN ('approval', 'assessment', 'delivery')", name=op.f("ck_stage_clock_stage")),
        sa.ForeignKeyConstraint(["request_id"], ["broker.service_request.id"], name=op.f("fk_stage_clock_request_id")),
        sa.ForeignKeyConstraint(["unit_id"], ["broker.unit.id"], name=op.f("fk_stage_clock_unit_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stage_clock")),
        sa.UniqueConstraint("request_id", "stage", "round", name=op.f("uq_stage_clock_request_id_stage_round")),
        schema="broker",
    )
    op.create_index(
        "ix_stage_clock_open",
        "stage_clock",
        ["due_at"],
        unique=False,
        schema="broker",
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_table(
        "approval",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("revision_id", sa.Uuid(), nullable=False),
        sa.Column("decision", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("article", sa.String(), nullable=False),
        sa.Column("decided_by", sa.Uuid(), nullable=False),
        sa.Column("on_behalf_of", sa.Uuid(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.CheckConstraint("decision IN ('approve', 'return', 'refuse')", name=op.f("ck_approval_decision")),
        sa.ForeignKeyConstraint(["decided_by"], ["broker.account.id"], name=op.f("fk_approval_decided_by")),
        sa.ForeignKeyConstraint(["on_behalf_of"], ["broker.account.id"], name=op.f("fk_approval_on_behalf_of")),
        sa.ForeignKeyConstraint(["request_id"], ["broker.service_request.id"], name=op.f("fk_approval_request_id")),
        sa.ForeignKeyConstraint(["revision_id"], ["broker.request_revision.id"], name=op.f("fk_approval_revision_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approval")),
        schema="broker",
    )
    op.create_index(op.f("ix_approval_request_id"), "approval", ["request_id"], unique=False, schema="broker")
    op.create_table(
        "assessment",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("revision_id", sa.Uuid(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("hold_expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("quote", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("monthly_fen", sa.BigInteger(), nullable=False),
        sa.Column("decided_by", sa.Uuid(), nullable=False),
        sa.Column("on_behalf_of", sa.Uuid(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.CheckConstraint("outcome IN ('confirm', 'return')", name=op.f("ck_assessment_outcome")),
        sa.ForeignKeyConstraint(["decided_by"], ["broker.account.id"], name=op.f("fk_assessment_decided_by")),
        sa.ForeignKeyConstraint(["on_behalf_of"], ["broker.account.id"], name=op.f("fk_assessment_on_behalf_of")),
        sa.ForeignKeyConstraint(["request_id"], ["broker.service_request.id"], name=op.f("fk_assessment_request_id")),
        sa.ForeignKeyConstraint(
            ["revision_id"], ["broker.request_revision.id"], name=op.f("fk_assessment_revision_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assessment")),
        schema="broker",
    )
    op.create_index(op.f("ix_assessment_request_id"), "assessment", ["request_id"], unique=False, schema="broker")
    op.create_table(
        "clock_stop",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("clock_id", sa.Uuid(), nullable=False),
        sa.Column("during", postgresql.TSTZRANGE(), nullable=False),
        postgresql.ExcludeConstraint(
            (sa.column("clock_id"), "="), (sa.column("during"), "&&"), using="gist", name="ex_clock_stop"
        ),
        sa.ForeignKeyConstraint(["clock_id"], ["broker.stage_clock.id"], name=op.f("fk_clock_stop_clock_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clock_stop")),
        schema="broker",
    )
    op.create_table(
        "handover",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("delivery_id", sa.Uuid(), nullable=False),
        sa.Column("run", sa.Integer(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("contact_id", sa.Uuid(), nullable=False),
        sa.Column("record", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("handed_over_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["contact_id"], ["broker.person.id"], name=op.f("fk_handover_contact_id")),
        sa.ForeignKeyConstraint(["delivery_id"], ["broker.delivery.id"], name=op.f("fk_handover_delivery_id")),
        sa.ForeignKeyConstraint(["request_id"], ["broker.service_request.id"], name=op.f("fk_handover_request_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_handover")),
        sa.UniqueConstraint("delivery_id", "run", name=op.f("uq_handover_delivery_id_run")),
        schema="broker",
    )
    op.create_index(op.f("ix_handover_request_id"), "handover", ["request_id"], unique=False, schema="broker")
    op.create_table(
        "release_resource",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("release_id", sa.Uuid(), nullable=False),
        sa.Column("resource_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["release_id"], ["broker.release.id"], name=op.f("fk_release_resource_release_id")),
        sa.ForeignKeyConstraint(["resource_id"], ["broker.resource.id"], name=op.f("fk_release_resource_resource_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_release_resource")),
        sa.UniqueConstraint("release_id", "resource_id", name=op.f("uq_release_resource_release_id_resource_id")),
        schema="broker",
    )
    op.create_table(
        "request_item",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("request_id", sa.Uuid(), nullable=False),
        sa.Column("revision_id", sa.Uuid(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("spec", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.CheckConstraint("kind IN ('server', 'volume', 'segment')", name=op.f("ck_request_item_kind")),
        sa.CheckConstraint("count > 0", name=op.f("ck_request_item_count")),
        sa.ForeignKeyConstraint(["request_id"], ["broker.service_request.id"], name=op.f("fk_request_item_request_id")),
        sa.ForeignKeyConstraint(
            ["revision_id"], ["broker.request_revision.id"], name=op.f("fk_request_item_revision_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_request_item")),
        sa.UniqueConstraint("revision_id", "ordinal", name=op.f("uq_request_item_revision_id_ordinal")),
        schema="broker",
    )
    op.create_index(op.f("ix_request_item_request_id"), "request_item", ["request_id"], unique=False, schema="broker")
    op.create_table(
        "placement",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("assessment_id", sa.Uuid(), nullable=False),
        sa.Column("item_id", sa.Uuid(), nullable=False),
        sa.Column("sub_cloud_id", sa.Uuid(), nullable=False),
        sa.Column("overridden", sa.Boolean(), nullable=False),
        sa.Column("spec", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("candidates", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["assessment_id"], ["broker.assessment.id"], name=op.f("fk_placement_assessment_id")),
        sa.ForeignKeyConstraint(["item_id"], ["broker.request_item.id"], name=op.f("fk_placement_item_id")),
        sa.ForeignKeyConstraint(["sub_cloud_id"], ["broker.sub_cloud.id"], name=op.f("fk_placement_sub_cloud_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_placement")),
        sa.UniqueConstraint("assessment_id", "item_id", name=op.f("uq_placement_assessment_id_item_id")),
        schema="broker",
    )
    _finish()


_USAGE_SPAN = """
CREATE VIEW broker.usage_span AS
SELECT p.resource_id, m.meter, m.quantity, p.state, lower(p.during) AS start_at, upper(p.during) AS end_at
FROM broker.resource_period p
CROSS JOIN LATERAL (VALUES
    ('vcpu_' || p.cpu_arch, p.vcpu),
    ('memory_gib', p.memory_gib),
    ('block_gib_' || p.block_class, p.block_gib),
    ('ipv6_segment', p.segments)
) AS m(meter, quantity)
WHERE m.quantity > 0
"""

_TELL = """
CREATE FUNCTION broker.tell() RETURNS trigger LANGUAGE plpgsql SET search_path = broker, pg_temp AS $$
DECLARE
    row jsonb := to_jsonb(NEW);
BEGIN
    PERFORM pg_notify('guiyun', json_build_object(
        'table', TG_TABLE_NAME, 'id', NEW.id, 'request_id', coalesce(row->>'request_id', row->>'id'),
        'state', NEW.state)::text);
    IF NEW.state = 'queued' THEN
        PERFORM pg_notify('guiyun_work', '');
    END IF;
    RETURN NULL;
END $$
"""

_TOLD = ("service_request", "delivery", "release", "delivery_step")

_INSERT_ONLY = ("approval", "assessment", "audit_event", "audit_seal", "charge", "placement", "request_revision")
_MAY_DELETE = ("idempotency_key", "sign_in_attempt", "user_session")

_GRANTS = f"""
DO $$
BEGIN
  IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'guiyun_app') THEN
    REVOKE ALL ON ALL TABLES IN SCHEMA broker FROM guiyun_app;
    GRANT USAGE ON SCHEMA broker TO guiyun_app;
    GRANT SELECT ON public.alembic_version TO guiyun_app;
    GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA broker TO guiyun_app;
    REVOKE UPDATE ON {", ".join(f"broker.{t}" for t in _INSERT_ONLY)} FROM guiyun_app;
    GRANT DELETE ON {", ".join(f"broker.{t}" for t in _MAY_DELETE)} TO guiyun_app;
    GRANT USAGE ON ALL SEQUENCES IN SCHEMA broker TO guiyun_app;
  END IF;
END $$
"""


def _finish() -> None:
    """What autogeneration cannot write: numbers people can say, the usage view, and what the runtime role may do."""
    op.execute(_USAGE_SPAN)
    op.execute(_TELL)
    for table in _TOLD:
        op.execute(
            f"CREATE TRIGGER tell_insert AFTER INSERT ON broker.{table} FOR EACH ROW EXECUTE FUNCTION broker.tell()"
        )
        op.execute(
            f"CREATE TRIGGER tell_update AFTER UPDATE OF state ON broker.{table} FOR EACH ROW"
            " WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION broker.tell()"
        )
    op.execute(_GRANTS)
