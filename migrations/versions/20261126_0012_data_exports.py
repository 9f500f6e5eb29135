"""Archives of what the vault knows of a person.

Revision 0012, after 0011.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "data_exports",
        sa.Column("user_id", BIG, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.Column("size", BIG, nullable=True),
        sa.Column("expires_at", INSTANT, nullable=True),
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.Column("deleted_at", INSTANT, nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_data_exports_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_exports")),
        sa.UniqueConstraint("uuid", name=op.f("uq_data_exports_uuid")),
    )
    op.create_index("ix_data_exports_user_id", "data_exports", ["user_id", "id"])


def downgrade() -> None:
    """Drop it."""
    op.drop_table("data_exports")
