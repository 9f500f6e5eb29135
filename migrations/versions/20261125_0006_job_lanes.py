"""Jobs wait in lanes with priorities and deadlines; attempts that did not end well are kept.

Revision 0006, after 0005. New columns have defaults, so that code of 0005 goes on inserting jobs beside this one.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
INSTANT = sa.DateTime(timezone=True)
WAITING = "state = 'queued' AND sent_at IS NULL"
NEW = ("priority", "lane", "deadline_at")


def where(condition: str) -> dict[str, sa.TextClause]:
    """A partial index on either database."""
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade() -> None:
    """Add the columns, their indexes and the table of attempts."""
    op.add_column("jobs", sa.Column("priority", sa.SmallInteger(), nullable=False, server_default=sa.text("5")))
    op.add_column("jobs", sa.Column("lane", BIG, nullable=False, server_default=sa.text("0")))
    op.add_column("jobs", sa.Column("deadline_at", INSTANT, nullable=True))
    op.create_index("ix_jobs_lanes", "jobs", ["queue", "priority", "lane", "run_at", "id"], **where(WAITING))
    op.create_index("ix_jobs_ended_badly", "jobs", ["state", "id"],
                    **where("state IN ('failed', 'dead', 'cancelled')"))  # fmt: skip
    op.create_index("ix_jobs_deadline", "jobs", ["deadline_at"],
                    **where("state = 'queued' AND deadline_at IS NOT NULL"))  # fmt: skip
    op.drop_index("ix_jobs_due", "jobs")
    op.create_table(
        "job_attempts",
        sa.Column("id", BIG, autoincrement=False, nullable=False),
        sa.Column("job_id", BIG, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(10), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("ended_at", INSTANT, nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_job_attempts_job_id_jobs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_attempts")),
    )
    op.create_index("ix_job_attempts_job_id", "job_attempts", ["job_id", "id"])


def downgrade() -> None:
    """Take them away; what the attempts said is lost."""
    op.drop_table("job_attempts")
    op.create_index("ix_jobs_due", "jobs", ["run_at", "id"], **where(WAITING))
    for index in ("ix_jobs_deadline", "ix_jobs_ended_badly", "ix_jobs_lanes"):
        op.drop_index(index, "jobs")
    for column in NEW:
        op.drop_column("jobs", column)
