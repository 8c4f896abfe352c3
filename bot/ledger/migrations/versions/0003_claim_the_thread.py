"""Add the column with which an instance claims a request's thread before it posts there."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; null means that nobody is posting."""
    op.add_column("requests", sa.Column("posting_until", sa.DateTime(timezone=True)))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("requests", "posting_until")
