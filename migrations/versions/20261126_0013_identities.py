"""Accounts at providers of OpenID Connect, and visits to them that are under way.

Revision 0013, after 0012.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)
LIVING = sa.text("deleted_at IS NULL")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "identities",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.Column("deleted_at", INSTANT, nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("user_id", BIG, nullable=False),
        sa.Column("issuer", sa.String(255), nullable=False),
        sa.Column("subject_key", sa.String(64), nullable=False),
        sa.Column("subject", sa.LargeBinary(), nullable=False),
        sa.Column("email", sa.LargeBinary(), nullable=True),
        sa.Column("used_at", INSTANT, nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_identities_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_identities")),
        sa.UniqueConstraint("uuid", name=op.f("uq_identities_uuid")),
    )
    op.create_index(
        "uq_identities_subject", "identities", ["issuer", "subject_key"], unique=True, sqlite_where=LIVING,
        postgresql_where=LIVING,
    )  # fmt: skip
    op.create_index("ix_identities_user_id", "identities", ["user_id"])
    op.create_table(
        "oidc_visits",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("browser", sa.String(64), nullable=False),
        sa.Column("issuer", sa.String(40), nullable=False),
        sa.Column("stage", sa.String(10), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_oidc_visits")),
    )
    op.create_index("ix_oidc_visits_expires_at", "oidc_visits", ["expires_at"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("oidc_visits")
    op.drop_table("identities")
