"""Keep people's names as they were known, in a table that no hash covers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table; what happened before has no names."""
    op.create_table(
        "names",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("user_id", sa.String(32), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("names_by_user", "names", ["user_id", "at"])


def downgrade() -> None:
    """Forget all names."""
    op.drop_table("names")
