"""Public links to files and folders, and who came by them; seeing everybody's is the administrator's, without rows.

Revision 0030, after 0029.
"""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "shares",
        sa.Column("maker_id", BIG, nullable=False),
        sa.Column("folder_id", BIG, nullable=True),
        sa.Column("file_id", BIG, nullable=True),
        sa.Column("label", sa.String(120), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("password_hash", sa.String(200), nullable=True),
        sa.Column("recipients", sa.LargeBinary(), nullable=True),
        sa.Column("expires_at", MOMENT, nullable=True),
        sa.Column("download_limit", sa.Integer(), nullable=True),
        sa.Column("downloads", sa.Integer(), nullable=False),
        sa.Column("upload_only", sa.Boolean(), nullable=False),
        sa.Column("view_only", sa.Boolean(), nullable=False),
        sa.Column("strip_metadata", sa.Boolean(), nullable=False),
        sa.Column("revoked_at", MOMENT, nullable=True),
        sa.Column("revoker_id", BIG, nullable=True),
        sa.Column("warned_at", MOMENT, nullable=True),
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("deleted_at", MOMENT, nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("(folder_id IS NULL) <> (file_id IS NULL)", name=op.f("ck_shares_object")),
        sa.ForeignKeyConstraint(["maker_id"], ["users.id"], name=op.f("fk_shares_maker_id_users")),
        sa.ForeignKeyConstraint(["revoker_id"], ["users.id"], name=op.f("fk_shares_revoker_id_users")),
        sa.ForeignKeyConstraint(
            ["folder_id"], ["folders.id"], name=op.f("fk_shares_folder_id_folders"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["file_id"], ["files.id"], name=op.f("fk_shares_file_id_files"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_shares")),
        sa.UniqueConstraint("uuid", name=op.f("uq_shares_uuid")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_shares_token_hash")),
    )
    op.create_index("ix_shares_maker_id", "shares", ["maker_id", "id"])
    op.create_index("ix_shares_folder_id", "shares", ["folder_id"])
    op.create_index("ix_shares_file_id", "shares", ["file_id"])
    op.create_index("ix_shares_expires_at", "shares", ["expires_at"])
    op.create_table(
        "share_visits",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("share_id", BIG, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("what", sa.String(12), nullable=False),
        sa.Column("visitor", sa.String(64), nullable=False),
        sa.Column("content", sa.String(64), nullable=True),
        sa.Column("continued", sa.Integer(), nullable=False),
        sa.Column("name", sa.LargeBinary(), nullable=True),
        sa.Column("address", sa.LargeBinary(), nullable=True),
        sa.Column("recipient", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["share_id"], ["shares.id"], name=op.f("fk_share_visits_share_id_shares"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_share_visits")),
    )
    op.create_index("ix_share_visits_share_id", "share_visits", ["share_id", "id"])
    op.create_index("ix_share_visits_created_at", "share_visits", ["created_at"])


def downgrade() -> None:
    """Take them back: no link opens any more."""
    op.execute("DELETE FROM role_permissions WHERE permission IN ('shares.read', 'shares.write')")
    op.drop_table("share_visits")
    op.drop_table("shares")
