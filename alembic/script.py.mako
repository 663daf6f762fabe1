<%
    def tidy(commands):
        """Return the commands without Alembic's own remarks around them."""
        lines = [line for line in (commands or "pass").splitlines() if "# ### " not in line]
        return "\n".join(lines).strip() or "pass"
%>"""${message}

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}
"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision: str = "${up_revision}"
down_revision: str | None = ${'"%s"' % down_revision if down_revision else None}
branch_labels: None = None
depends_on: None = None


def upgrade() -> None:
    """Bring the schema from the revision before to this one."""
    ${tidy(upgrades)}


def downgrade() -> None:
    """Take this revision's changes back."""
    ${tidy(downgrades)}
