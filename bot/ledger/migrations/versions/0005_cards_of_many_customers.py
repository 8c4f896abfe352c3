"""What version 1.0.0 added to 0.1.0: cards of many customers, and answers to single people."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0001"
branch_labels = None
depends_on = None

STALE = sa.text("due_at IS NULL AND verdict IS NOT NULL AND mirrored_through < events")
UNDOING = sa.text("undoes IS NOT NULL")


def upgrade() -> None:
    """Add the columns; a request without `card_id` is a card of its own."""
    # an undo finds its request by id
    op.drop_index("requests_by_undone", "requests")
    op.add_column("requests", sa.Column("posting_until", sa.DateTime(timezone=True)))
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
    op.create_index(
        "requests_stale", "requests", ["asked_at"], sqlite_where=STALE, postgresql_where=STALE
    )
    op.add_column("requests", sa.Column("card_id", sa.String(32)))
    for name in ("position", "card_size"):
        op.add_column("requests", sa.Column(name, sa.Integer, nullable=False, server_default="1"))
    card_id: sa.ColumnElement[str] = sa.func.coalesce(sa.column("card_id"), sa.column("id"))
    op.create_index("requests_by_card", "requests", [card_id, "position"])


def downgrade() -> None:
    """Drop them: the customers of a card become requests that only share its message."""
    op.drop_index("requests_by_card", "requests")
    op.drop_index("requests_stale", "requests")
    for column in ("card_size", "position", "card_id", "posting_until"):
        op.drop_column("requests", column)
    op.drop_table("response_urls")
    op.create_index(
        "requests_by_undone",
        "requests",
        ["undoes"],
        sqlite_where=UNDOING,
        postgresql_where=UNDOING,
    )
