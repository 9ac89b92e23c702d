"""Index the status, for filtered lists."""

from collections.abc import Sequence

from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLE = "{{ plural }}"
INDEX = f"ix_{TABLE}_status_id"


def upgrade() -> None:
    """Go to this revision."""
    op.create_index(op.f(INDEX), TABLE, ["status", "id"])


def downgrade() -> None:
    """Go back to the revision before."""
    op.drop_index(op.f(INDEX), TABLE)
