"""Moves every row of a database into another one, whatever kind either is."""

from src.marketing_messaging_service.moving_databases.move import Moved, copy_everything, move

__all__ = ["Moved", "copy_everything", "move"]
