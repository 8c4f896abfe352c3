"""Keep response URLs while they work, and find the cards that Slack has not shown yet."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, and a small index on requests that Slack does not show as they are."""
    op.create_table(
        "response_urls",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("request_id", sa.String(32), sa.ForeignKey("requests.id"), nullable=False),
        sa.Column("user_id", sa.String(32), nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("response_urls_by_request", "response_urls", ["request_id"])
    op.create_index("response_urls_by_expiry", "response_urls", ["expires_at"])
    stale = sa.text("due_at IS NULL AND verdict IS NOT NULL AND mirrored_through < events")
    op.create_index(
        "requests_stale", "requests", ["asked_at"], sqlite_where=stale, postgresql_where=stale
    )


def downgrade() -> None:
    """Drop both: nobody can be told through these URLs any more."""
    op.drop_index("requests_stale", "requests")
    op.drop_table("response_urls")
