"""Let a card ask about many customers: a request for each, joined by the id of the first."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; a request without `card_id` is a card of its own."""
    op.add_column("requests", sa.Column("card_id", sa.String(32)))
    op.add_column("requests", sa.Column("position", sa.Integer, nullable=False, server_default="1"))
    op.add_column(
        "requests", sa.Column("card_size", sa.Integer, nullable=False, server_default="1")
    )
    card_id: sa.ColumnElement[str] = sa.func.coalesce(sa.column("card_id"), sa.column("id"))
    op.create_index("requests_by_card", "requests", [card_id, "position"])


def downgrade() -> None:
    """Drop the columns: the customers of a card become requests that only share its message."""
    op.drop_index("requests_by_card", "requests")
    for column in ("card_size", "position", "card_id"):
        op.drop_column("requests", column)
