"""The first tables: accounts, folders, files and their bytes, jobs, the audit trail, leases of id nodes.

Revision 0001, after nothing.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
SORTED = sa.String(400).with_variant(sa.String(400, collation="C"), "postgresql")
TABLES = (
    "audit_entries",
    "blobs",
    "installation",
    "node_leases",
    "placements",
    "sign_in_attempts",
    "users",
    "credentials",
    "folders",
    "jobs",
    "previews",
    "quotas",
    "sessions",
    "user_roles",
    "files",
    "job_effects",
    "refresh_tokens",
    "file_versions",
)


def where(condition: str) -> dict[str, Any]:
    """The condition of a partial index, for both databases."""
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("event", sa.String(length=60), nullable=False),
        sa.Column("actor_id", BIG, nullable=True),
        sa.Column("target_type", sa.String(length=30), nullable=False),
        sa.Column("target_uuid", sa.Uuid(), nullable=True),
        sa.Column("changes", DOCUMENT, nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_entries")),
    )
    op.create_index("ix_audit_entries_actor", "audit_entries", ["actor_id", "id"])
    op.create_index("ix_audit_entries_target", "audit_entries", ["target_uuid", "id"])
    op.create_table(
        "blobs",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", BIG, nullable=False),
        sa.Column("storage_key", sa.String(length=200), nullable=False),
        sa.Column("refcount", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("verified_at", MOMENT, nullable=True),
        sa.Column("damaged_at", MOMENT, nullable=True),
        sa.Column("facts", DOCUMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_blobs")),
        sa.UniqueConstraint("sha256", name=op.f("uq_blobs_sha256")),
    )
    op.create_table(
        "installation",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("setup_key", sa.String(length=64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_installation")),
    )
    op.create_table(
        "node_leases",
        sa.Column("node", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=False),
        sa.Column("leased_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("used_until_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("node", name=op.f("pk_node_leases")),
    )
    op.create_table(
        "placements",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("item_id", BIG, nullable=False),
        sa.Column("item_type", sa.String(length=10), nullable=False),
        sa.Column("owner_id", BIG, nullable=False),
        sa.Column("parent_id", BIG, nullable=True),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("valid_from", MOMENT, nullable=False),
        sa.Column("valid_to", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_placements")),
    )
    op.create_index("ix_placements_owner", "placements", ["owner_id", "valid_from"])
    op.create_index("ix_placements_parent", "placements", ["parent_id", "valid_from"])
    op.create_index("uq_placements_open", "placements", ["item_id"], unique=True, **where("valid_to IS NULL"))
    op.create_table(
        "sign_in_attempts",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sign_in_attempts")),
    )
    op.create_index("ix_sign_in_attempts_created_at", "sign_in_attempts", ["created_at"])
    op.create_index("ix_sign_in_attempts_subject", "sign_in_attempts", ["subject", "created_at"])
    op.create_table(
        "users",
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("email_key", sa.String(length=254), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("locale", sa.String(length=16), nullable=True),
        sa.Column("time_zone", sa.String(length=64), nullable=True),
        sa.Column("suspended_at", MOMENT, nullable=True),
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("deleted_at", MOMENT, nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("uuid", name=op.f("uq_users_uuid")),
    )
    op.create_index("uq_users_email_key", "users", ["email_key"], unique=True, **where("deleted_at IS NULL"))
    op.create_table(
        "credentials",
        sa.Column("user_id", BIG, nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("changed_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_credentials_user_id_users")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_credentials")),
    )
    op.create_table(
        "folders",
        sa.Column("owner_id", BIG, nullable=False),
        sa.Column("parent_id", BIG, nullable=True),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("name_key", sa.String(length=255), nullable=False),
        sa.Column("sort_key", SORTED, nullable=False),
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("deleted_at", MOMENT, nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("fk_folders_owner_id_users")),
        sa.ForeignKeyConstraint(["parent_id"], ["folders.id"], name=op.f("fk_folders_parent_id_folders")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_folders")),
        sa.UniqueConstraint("uuid", name=op.f("uq_folders_uuid")),
    )
    op.create_index(
        "ix_folders_listing",
        "folders",
        ["owner_id", sa.text("coalesce(parent_id, 0)"), "sort_key", "id"],
        **where("deleted_at IS NULL"),
    )
    op.create_index("ix_folders_path", "folders", ["path"], postgresql_ops={"path": "text_pattern_ops"})
    op.create_index(
        "uq_folders_name",
        "folders",
        ["owner_id", sa.text("coalesce(parent_id, 0)"), "name_key"],
        unique=True,
        **where("deleted_at IS NULL"),
    )
    op.create_table(
        "jobs",
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("queue", sa.String(length=20), nullable=False),
        sa.Column("args", DOCUMENT, nullable=False),
        sa.Column("about", sa.String(length=300), nullable=False),
        sa.Column("target_uuid", sa.Uuid(), nullable=True),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("run_at", MOMENT, nullable=False),
        sa.Column("sent_at", MOMENT, nullable=True),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("heartbeat_at", MOMENT, nullable=True),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("result", DOCUMENT, nullable=True),
        sa.Column("unique_key", sa.String(length=120), nullable=True),
        sa.Column("owner_id", BIG, nullable=True),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("deleted_at", MOMENT, nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("fk_jobs_owner_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sa.UniqueConstraint("uuid", name=op.f("uq_jobs_uuid")),
    )
    op.create_index("ix_jobs_due", "jobs", ["run_at", "id"], **where("state = 'queued' AND sent_at IS NULL"))
    op.create_index("ix_jobs_open", "jobs", ["owner_id", "id"], **where("state IN ('queued', 'running')"))
    op.create_index("ix_jobs_owner", "jobs", ["owner_id", "id"])
    op.create_index("ix_jobs_running", "jobs", ["heartbeat_at"], **where("state = 'running'"))
    op.create_index("ix_jobs_sent", "jobs", ["sent_at", "id"], **where("state = 'queued' AND sent_at IS NOT NULL"))
    op.create_index("ix_jobs_target", "jobs", ["target_uuid", "id"])
    op.create_index("ix_jobs_trouble", "jobs", ["owner_id", "id"], **where("state IN ('failed', 'dead', 'cancelled')"))
    op.create_index(
        "uq_jobs_unique_key", "jobs", ["unique_key"], unique=True, **where("state IN ('queued', 'running')")
    )
    op.create_table(
        "previews",
        sa.Column("blob_id", BIG, nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("storage_key", sa.String(length=200), nullable=False),
        sa.Column("mime", sa.String(length=40), nullable=False),
        sa.Column("byte_size", BIG, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["blob_id"], ["blobs.id"], name=op.f("fk_previews_blob_id_blobs")),
        sa.PrimaryKeyConstraint("blob_id", "size", name=op.f("pk_previews")),
    )
    op.create_table(
        "quotas",
        sa.Column("user_id", BIG, nullable=False),
        sa.Column("byte_limit", BIG, nullable=False),
        sa.Column("byte_used", BIG, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_quotas_user_id_users")),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_quotas")),
    )
    op.create_table(
        "sessions",
        sa.Column("user_id", BIG, nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=True),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=True),
        sa.Column("agent", sa.LargeBinary(), nullable=True),
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("deleted_at", MOMENT, nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_sessions_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sessions")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_sessions_secret_hash")),
        sa.UniqueConstraint("uuid", name=op.f("uq_sessions_uuid")),
    )
    op.create_index("ix_sessions_user_id", "sessions", ["user_id", "deleted_at"])
    op.create_table(
        "user_roles",
        sa.Column("user_id", BIG, nullable=False),
        sa.Column("role", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_user_roles_user_id_users")),
        sa.PrimaryKeyConstraint("user_id", "role", name=op.f("pk_user_roles")),
    )
    op.create_table(
        "files",
        sa.Column("owner_id", BIG, nullable=False),
        sa.Column("folder_id", BIG, nullable=True),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("name_key", sa.String(length=255), nullable=False),
        sa.Column("sort_key", SORTED, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("mime", sa.String(length=120), nullable=False),
        sa.Column("size", BIG, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("tags", DOCUMENT, nullable=False),
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("deleted_at", MOMENT, nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["folder_id"], ["folders.id"], name=op.f("fk_files_folder_id_folders")),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("fk_files_owner_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_files")),
        sa.UniqueConstraint("uuid", name=op.f("uq_files_uuid")),
    )
    op.create_index("ix_files_all_by_name", "files", ["owner_id", "sort_key", "id"], **where("deleted_at IS NULL"))
    op.create_index("ix_files_all_by_size", "files", ["owner_id", "size", "id"], **where("deleted_at IS NULL"))
    op.create_index("ix_files_all_by_time", "files", ["owner_id", "updated_at", "id"], **where("deleted_at IS NULL"))
    op.create_index(
        "ix_files_by_name",
        "files",
        ["owner_id", sa.text("coalesce(folder_id, 0)"), "sort_key", "id"],
        **where("deleted_at IS NULL"),
    )
    op.create_index(
        "ix_files_by_size",
        "files",
        ["owner_id", sa.text("coalesce(folder_id, 0)"), "size", "id"],
        **where("deleted_at IS NULL"),
    )
    op.create_index(
        "ix_files_by_time",
        "files",
        ["owner_id", sa.text("coalesce(folder_id, 0)"), "updated_at", "id"],
        **where("deleted_at IS NULL"),
    )
    op.create_index("ix_files_folder_id", "files", ["folder_id"])
    op.create_index("ix_files_trash", "files", ["owner_id", "deleted_at", "id"], **where("deleted_at IS NOT NULL"))
    op.create_index(
        "uq_files_name",
        "files",
        ["owner_id", sa.text("coalesce(folder_id, 0)"), "name_key"],
        unique=True,
        **where("deleted_at IS NULL"),
    )
    op.create_table(
        "job_effects",
        sa.Column("job_id", BIG, nullable=False),
        sa.Column("effect", sa.String(length=60), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_effects_job_id_jobs")),
        sa.PrimaryKeyConstraint("job_id", "effect", name=op.f("pk_job_effects")),
    )
    op.create_table(
        "refresh_tokens",
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("session_id", BIG, nullable=False),
        sa.Column("parent_hash", sa.String(length=64), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("used_at", MOMENT, nullable=True),
        sa.Column("used_by", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name=op.f("fk_refresh_tokens_session_id_sessions")),
        sa.PrimaryKeyConstraint("secret_hash", name=op.f("pk_refresh_tokens")),
    )
    op.create_index("ix_refresh_tokens_session_id", "refresh_tokens", ["session_id"])
    op.create_table(
        "file_versions",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("file_id", BIG, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("blob_id", BIG, nullable=False),
        sa.Column("author_id", BIG, nullable=True),
        sa.Column("mime", sa.String(length=120), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["author_id"], ["users.id"], name=op.f("fk_file_versions_author_id_users")),
        sa.ForeignKeyConstraint(["blob_id"], ["blobs.id"], name=op.f("fk_file_versions_blob_id_blobs")),
        sa.ForeignKeyConstraint(["file_id"], ["files.id"], name=op.f("fk_file_versions_file_id_files")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_file_versions")),
    )
    op.create_index(op.f("ix_file_versions_blob_id"), "file_versions", ["blob_id"])
    op.create_index("uq_file_versions_number", "file_versions", ["file_id", "number"], unique=True)


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
