"""Groups of people, their members, and who may see and change all groups.

Revision 0017, after 0016.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None
BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SORTED = sa.String(400).with_variant(sa.String(400, collation="C"), "postgresql")
MOMENT = sa.DateTime(timezone=True)
LIVING = {"sqlite_where": sa.text("deleted_at IS NULL"), "postgresql_where": sa.text("deleted_at IS NULL")}


def upgrade() -> None:
    """Make the tables; managers may see groups, administrators need no rows."""
    op.create_table(
        "groups",
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("name_key", SORTED, nullable=False),
        sa.Column("about", sa.String(length=300), nullable=False),
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("deleted_at", MOMENT, nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_groups")),
        sa.UniqueConstraint("uuid", name=op.f("uq_groups_uuid")),
    )
    op.create_index("uq_groups_name_key", "groups", ["name_key"], unique=True, **LIVING)
    op.create_table(
        "group_members",
        sa.Column("group_id", BIG, nullable=False),
        sa.Column("user_id", BIG, nullable=False),
        sa.Column("manager", sa.Boolean(), nullable=False),
        sa.Column("added_at", MOMENT, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["groups.id"], name=op.f("fk_group_members_group_id_groups")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_group_members_user_id_users")),
        sa.PrimaryKeyConstraint("group_id", "user_id", name=op.f("pk_group_members")),
    )
    op.create_index("ix_group_members_user_id", "group_members", ["user_id"])
    op.execute(
        "INSERT INTO role_permissions (role, permission) SELECT slug, 'groups.read' FROM roles WHERE slug = 'manager'"
    )


def downgrade() -> None:
    """Take it back."""
    op.execute("DELETE FROM role_permissions WHERE permission IN ('groups.read', 'groups.write')")
    op.drop_index("ix_group_members_user_id", table_name="group_members")
    op.drop_table("group_members")
    op.drop_index("uq_groups_name_key", table_name="groups")
    op.drop_table("groups")
