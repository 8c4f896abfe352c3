"""Create the tables `requests` and `events`."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create both tables, and the indexes that the sweep and the lists use."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "requests",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("customer_id", sa.BigInteger, nullable=False),
        sa.Column("customer", sa.Text, nullable=False),
        sa.Column("channel_id", sa.String(32), nullable=False),
        sa.Column("message_ts", sa.String(32)),
        sa.Column("thread_ts", sa.String(32)),
        sa.Column("requester_id", sa.String(32), nullable=False),
        sa.Column("requester_team_id", sa.String(32), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("asked_at", moment, nullable=False),
        sa.Column("expires_at", moment, nullable=False),
        sa.Column("verdict", sa.String(16)),
        sa.Column("decider_id", sa.String(32)),
        sa.Column("decider_team_id", sa.String(32)),
        sa.Column("decided_at", moment),
        sa.Column("outcome", sa.String(16)),
        sa.Column("settled_at", moment),
        sa.Column("due_at", moment),
        sa.Column("claim", sa.Integer, nullable=False),
        sa.Column("deliveries", sa.Integer, nullable=False),
        sa.Column("mirrored_through", sa.Integer, nullable=False),
        sa.Column("events", sa.Integer, nullable=False),
        sa.Column("head", sa.String(64), nullable=False),
        sa.Column("undoes", sa.String(32)),
        sa.Column("undone_by", sa.String(32)),
    )
    waiting = sa.text("due_at IS NOT NULL")
    op.create_index(
        "requests_due", "requests", ["due_at"], sqlite_where=waiting, postgresql_where=waiting
    )
    op.create_index("requests_by_time", "requests", ["asked_at"])
    op.create_index("requests_by_customer", "requests", ["customer_id", "asked_at"])
    undoing = sa.text("undoes IS NOT NULL")
    op.create_index(
        "requests_by_undone",
        "requests",
        ["undoes"],
        sqlite_where=undoing,
        postgresql_where=undoing,
    )
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
        sa.Column("request_id", sa.String(32), sa.ForeignKey("requests.id"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("actor", sa.String(32), nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("previous", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.UniqueConstraint("request_id", "number"),
    )
