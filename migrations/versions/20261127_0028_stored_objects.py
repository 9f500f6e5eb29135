"""How each object lies in the store.

Revision 0028, after 0027.
"""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the table, and find blobs and previews by where they lie."""
    op.create_table(
        "stored_objects",
        sa.Column("key", sa.String(200), nullable=False),
        sa.Column("size", BIG, nullable=False),
        sa.Column("data_key", sa.LargeBinary(), nullable=False),
        sa.Column("marks", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_stored_objects")),
    )
    op.create_index("ix_blobs_storage_key", "blobs", ["storage_key"])
    op.create_index("ix_previews_storage_key", "previews", ["storage_key"])


def downgrade() -> None:
    """Drop them."""
    op.drop_index("ix_previews_storage_key", table_name="previews")
    op.drop_index("ix_blobs_storage_key", table_name="blobs")
    op.drop_table("stored_objects")
