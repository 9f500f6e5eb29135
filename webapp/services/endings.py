"""Public links that end soon: who made one is warned by mail, once, while the end can still be put off."""

from datetime import timedelta
from typing import Any

from webapp.config import current_settings
from webapp.db import db, read_rows, transactional
from webapp.infra.clock import now
from webapp.models.shares import Share, live_shares, share_warned
from webapp.models.users import User
from webapp.services.mails import Recipient, send_mail

AHEAD = timedelta(days=3)
BATCH = 500


def warn_of_ends() -> int:
    """Warn of links that end within three days, and of no link that was made for less. Returns how many."""
    moment, warned = now(), 0
    soon = (Share.revoked_at.is_(None), Share.warned_at.is_(None), Share.expires_at > moment,
            Share.expires_at <= moment + AHEAD, User.deleted_at.is_(None), User.suspended_at.is_(None))  # fmt: skip
    while rows := read_rows(live_shares(*soon).order_by(Share.id).limit(BATCH)):
        warned += sum(_warn(row) for row in rows)
    return warned


@transactional
def _warn(row: Any) -> bool:
    """Note it and order the mail together: of two that run at once one does."""
    noted = db.session.execute(share_warned(row.row_id, now())).first() is not None
    short = row.expires_at - row.created_at <= AHEAD
    if not noted or short or row.name is None:
        return False
    to = Recipient(row.maker_email, row.maker, row.locale, row.time_zone)
    about = {"name": row.name, "label": row.label, "until": row.expires_at.isoformat(),
             "url": f"{current_settings().origin}/shares/{row.uuid}"}  # fmt: skip
    send_mail(None, "link_ends", to, about)
    return True
