"""A breaker for each webhook, and who paused one. What was held keeps its job: it waits in its webhook's lane.

Revision 0009, after 0008. Deliveries that were held had no open job; the newest one of each is opened again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

REOPEN = """
UPDATE jobs SET state = 'queued', attempts = 0, progress = 0, sent_at = NULL, finished_at = NULL, result = NULL
WHERE state = 'done' AND id IN (SELECT max(j.id) FROM jobs j JOIN webhook_deliveries d ON d.uuid = j.target_uuid
                                WHERE d.state = 'held' AND j.name = 'webhooks.deliver' GROUP BY d.id)
"""
WAIT = "UPDATE webhook_deliveries SET state = 'pending' WHERE state = 'held'"  # one without a job is shown as failed


def upgrade() -> None:
    """Add the columns; jobs wait for their webhooks from now on."""
    op.add_column(
        "webhook_health", sa.Column("failed_tries", sa.Integer(), nullable=False, server_default=sa.text("0"))
    )
    op.add_column("webhook_health", sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("webhooks", sa.Column("paused_by_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite")))
    op.execute(REOPEN)
    op.execute(WAIT)


def downgrade() -> None:
    """Take the columns away; a worker of 0008 holds again what a pause holds."""
    op.drop_column("webhooks", "paused_by_id")
    op.drop_column("webhook_health", "next_try_at")
    op.drop_column("webhook_health", "failed_tries")
