"""Drop the indexes that only rare queries used, since most steps had to write each of them.

Holds are renewed by the ids of their jobs. What is kept no longer is looked for every few minutes,
in tables that hold a day or half an hour.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop them; SQLite then finds an act by its id without another index."""
    op.drop_index("acts_by_time", "acts")
    op.drop_index("response_urls_by_expiry", "response_urls")
    op.drop_index("jobs_held", "jobs")
    _store_acts(with_rowid=False)


def downgrade() -> None:
    """Create them again."""
    _store_acts(with_rowid=True)
    held = sa.text("holder IS NOT NULL")
    op.create_index("jobs_held", "jobs", ["holder"], sqlite_where=held, postgresql_where=held)
    op.create_index("response_urls_by_expiry", "response_urls", ["expires_at"])
    op.create_index("acts_by_time", "acts", ["at"])


def _store_acts(*, with_rowid: bool) -> None:
    """Write the table anew where the database has two ways to store one; it holds a day's acts."""
    if op.get_bind().dialect.name == "sqlite":
        stored = {"sqlite_with_rowid": with_rowid}
        with op.batch_alter_table("acts", recreate="always", table_kwargs=stored):
            pass
