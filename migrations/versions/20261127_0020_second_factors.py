"""Second factors, recovery codes, challenges; sessions know when and how they were proven, roles may ask for a factor.

Revision 0020, after 0019. New columns have defaults, so that code of 0015 goes on inserting rows beside this one.
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)


def where(condition: str) -> dict[str, sa.TextClause]:
    """A partial index on either database."""
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade() -> None:
    """Make the tables and the columns. Whoever is signed in was proven when the session began."""
    op.create_table(
        "factors",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.Column("deleted_at", INSTANT, nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("user_id", BIG, nullable=False),
        sa.Column("kind", sa.String(10), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("confirmed_at", INSTANT, nullable=True),
        sa.Column("used_at", INSTANT, nullable=True),
        sa.Column("secret", sa.LargeBinary(), nullable=True),
        sa.Column("last_step", BIG, nullable=True),
        sa.Column("credential_key", sa.String(64), nullable=True),
        sa.Column("credential_id", sa.LargeBinary(), nullable=True),
        sa.Column("public_key", sa.LargeBinary(), nullable=True),
        sa.Column("sign_count", BIG, nullable=True),
        sa.Column("synced", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_factors_user_id_users")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_factors")),
        sa.UniqueConstraint("uuid", name=op.f("uq_factors_uuid")),
    )
    op.create_index("ix_factors_user_id", "factors", ["user_id"])
    op.create_index("uq_factors_totp", "factors", ["user_id"], unique=True,
                    **where("deleted_at IS NULL AND kind = 'totp'"))  # fmt: skip
    op.create_index("uq_factors_credential_key", "factors", ["credential_key"], unique=True,
                    **where("deleted_at IS NULL"))  # fmt: skip
    op.create_table(
        "recovery_codes",
        sa.Column("code_key", sa.String(64), nullable=False),
        sa.Column("user_id", BIG, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("used_at", INSTANT, nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_recovery_codes_user_id_users")),
        sa.PrimaryKeyConstraint("code_key", name=op.f("pk_recovery_codes")),
    )
    op.create_index("ix_recovery_codes_user_id", "recovery_codes", ["user_id"])
    op.create_table(
        "challenges",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("kind", sa.String(12), nullable=False),
        sa.Column("user_id", BIG, nullable=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_challenges_user_id_users")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_challenges")),
    )
    op.create_index("ix_challenges_expires_at", "challenges", ["expires_at"])
    op.create_index("ix_challenges_user_id", "challenges", ["user_id"])
    op.add_column("sessions", sa.Column("proven_at", INSTANT, nullable=True))
    op.add_column("sessions", sa.Column("second_factor", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute("UPDATE sessions SET proven_at = created_at")
    op.add_column("roles", sa.Column("requires_second_factor", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    """Take them away: every account signs in without a second factor again."""
    op.drop_column("roles", "requires_second_factor")
    op.drop_column("sessions", "second_factor")
    op.drop_column("sessions", "proven_at")
    for table in ("challenges", "recovery_codes", "factors"):
        op.drop_table(table)
