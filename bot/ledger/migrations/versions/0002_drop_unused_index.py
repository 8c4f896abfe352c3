"""Drop an index that no query uses."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop the index on `requests.undoes`: an undo finds its request by id."""
    op.drop_index("requests_by_undone", "requests")


def downgrade() -> None:
    """Create it again, as version 0001 did."""
    undoing = sa.text("undoes IS NOT NULL")
    op.create_index(
        "requests_by_undone",
        "requests",
        ["undoes"],
        sqlite_where=undoing,
        postgresql_where=undoing,
    )
