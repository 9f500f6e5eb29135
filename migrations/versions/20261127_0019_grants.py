"""Grants on files and folders; the permission to share, and to see or change everybody's files.

Revision 0019, after 0018.
"""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
LIVING = {"sqlite_where": sa.text("deleted_at IS NULL"), "postgresql_where": sa.text("deleted_at IS NULL")}
UNIQUE = {
    "uq_grants_folder_user": ["folder_id", "user_id"],
    "uq_grants_folder_group": ["folder_id", "group_id"],
    "uq_grants_file_user": ["file_id", "user_id"],
    "uq_grants_file_group": ["file_id", "group_id"],
}


def upgrade() -> None:
    """Make the table. Who may change files may share them; seeing everybody's is the administrator's, without rows."""
    op.create_table(
        "grants",
        sa.Column("folder_id", BIG, nullable=True),
        sa.Column("file_id", BIG, nullable=True),
        sa.Column("user_id", BIG, nullable=True),
        sa.Column("group_id", BIG, nullable=True),
        sa.Column("level", sa.SmallInteger(), nullable=False),
        sa.Column("expires_at", MOMENT, nullable=True),
        sa.Column("grantor_id", BIG, nullable=True),
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("deleted_at", MOMENT, nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("(folder_id IS NULL) <> (file_id IS NULL)", name=op.f("ck_grants_object")),
        sa.CheckConstraint("(user_id IS NULL) <> (group_id IS NULL)", name=op.f("ck_grants_grantee")),
        sa.ForeignKeyConstraint(
            ["folder_id"], ["folders.id"], name=op.f("fk_grants_folder_id_folders"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["file_id"], ["files.id"], name=op.f("fk_grants_file_id_files"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_grants_user_id_users")),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], name=op.f("fk_grants_group_id_groups")),
        sa.ForeignKeyConstraint(["grantor_id"], ["users.id"], name=op.f("fk_grants_grantor_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_grants")),
        sa.UniqueConstraint("uuid", name=op.f("uq_grants_uuid")),
    )
    for name, columns in UNIQUE.items():
        op.create_index(name, "grants", columns, unique=True, **LIVING)
    op.create_index("ix_grants_user_id", "grants", ["user_id"])
    op.create_index("ix_grants_group_id", "grants", ["group_id"])
    op.execute(
        "INSERT INTO role_permissions (role, permission)"
        " SELECT role, 'files.share' FROM role_permissions WHERE permission = 'files.write'"
    )


def downgrade() -> None:
    """Take it back."""
    op.execute("DELETE FROM role_permissions WHERE permission IN ('files.share', 'vault.read', 'vault.write')")
    op.drop_index("ix_grants_group_id", table_name="grants")
    op.drop_index("ix_grants_user_id", table_name="grants")
    for name in reversed(UNIQUE):
        op.drop_index(name, table_name="grants")
    op.drop_table("grants")
