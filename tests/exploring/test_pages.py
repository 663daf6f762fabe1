"""Datasette's pages as they are served; skipped where `make explore` has not installed it."""

import asyncio
import re
from pathlib import Path

import pytest

from src.marketing_messaging_service.exploring import datasette_metadata, read_queries
from src.marketing_messaging_service.exploring.__main__ import OPTIONS, TEMPLATES

datasette_app = pytest.importorskip("datasette.app")


@pytest.fixture
def page(database_url: str):
    """Return what is served under a path, of a migrated database with nothing in it."""
    path = Path(database_url.removeprefix("sqlite:///"))
    served = datasette_app.Datasette([str(path)], metadata=datasette_metadata(path.stem), template_dir=str(TEMPLATES))

    def page(address: str) -> str:
        async def get() -> str:
            response = await served.client.get(address)
            assert response.status_code == 200
            return str(response.text)

        return asyncio.run(get())

    return page


def title(html: str) -> str:
    (found,) = re.findall(r"<title>\s*(.*?)\s*</title>", html, re.S)
    return str(found)


def test_it_is_served_with_these_pages():
    assert OPTIONS[OPTIONS.index("--template-dir") + 1] == str(TEMPLATES)


def test_the_front_page_lists_every_question_before_any_table(page):
    html = page("/")
    questions = [html.index(f">{query.title}</a>") for query in read_queries()]
    assert questions == sorted(questions)
    assert max(questions) < html.index('href="/test/events"')
    assert re.findall(r"<h2>(Questions about [^<]*)</h2>", html) == [
        "Questions about a user",
        "Questions about a day",
        "Questions about files and lines",
    ]
    assert html.count("<ul") == html.count("</ul>")
    assert title(html) == "Marketing messages"


@pytest.mark.parametrize("query", read_queries(), ids=lambda query: query.name)
def test_the_tab_of_a_question_shows_the_question(page, query):
    html = page(f"/test/{query.name}?user_id=ada")
    assert title(html) == query.title
    assert "message-error" not in html


def test_the_tab_of_a_query_of_ones_own_shows_its_sql(page):
    assert title(page("/test?sql=select+1")) == "test: select 1"
