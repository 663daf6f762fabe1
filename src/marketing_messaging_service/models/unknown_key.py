"""Keys in raw events that the pipeline does not know."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from src.marketing_messaging_service.infrastructure.database import Base

OTHER_KEYS = "(other keys)"
"""The key_path that counts a load's unknown keys beyond the first thousand: all together, not by line."""


class UnknownKey(Base):
    """How often one unknown key occurred in one load, named by its path, such as `properties.coupon`."""

    __tablename__ = "unknown_keys"
    __table_args__ = (
        {"comment": "One row per key in a load's raw events that the pipeline does not know; its values are not kept."},
    )

    load_id: Mapped[int] = mapped_column(
        ForeignKey("loads.id", ondelete="CASCADE"), primary_key=True, comment="The load that met the key, in loads."
    )
    key_path: Mapped[str] = mapped_column(
        String(255), primary_key=True, comment="The key with the objects that contain it, such as properties.coupon."
    )
    occurrence_count: Mapped[int] = mapped_column(comment="Lines of the load that had the key.")
