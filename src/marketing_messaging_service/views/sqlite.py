"""The views in SQLite's words, in which they are declared."""

from src.marketing_messaging_service.views import VIEWS

SELECTS = {view.name: view.select for view in VIEWS}
