"""Datasette's pages as they are served; skipped where `make explore` has not installed it."""

import asyncio
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import pytest

from src.marketing_messaging_service.exploring import datasette_metadata, read_queries
from src.marketing_messaging_service.exploring.__main__ import OPTIONS, PLUGINS, TEMPLATES
from tests.decisions.helpers import event, rule
from tests.pipeline import AS_OF, Pipeline

datasette_app = pytest.importorskip("datasette.app")


@pytest.fixture
def page(database_url: str):
    """Return what is served under a path, of a migrated database with nothing in it."""
    return pages(Path(database_url.removeprefix("sqlite:///")))


def pages(path: Path) -> Callable[..., str]:
    """Return what is served under a path, of a database."""
    served = datasette_app.Datasette(
        [str(path)], metadata=datasette_metadata(path.stem), template_dir=str(TEMPLATES), plugins_dir=str(PLUGINS)
    )

    def page(address: str, status: int = 200) -> str:
        async def get() -> str:
            response = await served.client.get(address)
            assert response.status_code == status
            return str(response.text)

        return asyncio.run(get())

    return page


@pytest.fixture
def decided(tmp_path: Path, migrated_template: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return what is served of a database with a send, a refusal, and a user whose name is an address or markup."""
    pipeline = Pipeline(tmp_path / "data", migrated_template)
    users = ("ana", "ana@example.org", "<b>bold</b>&x=1")
    pipeline.land(
        [event(f"{user}{hour}", at=f"2026-03-01T{hour}:00:00Z", user_id=user) for user in users for hour in (12, 13)]
    )
    pipeline.do(pipeline.options(as_of=AS_OF), {"rules": [rule("r", mode="once_ever")]})
    pipeline.engine.dispose()
    monkeypatch.setenv("RULES_PATH", str(pipeline.rules_path))
    monkeypatch.setenv("LANDING_PATH", str(pipeline.landing))
    return pages(pipeline.database_path)


def links(html: str) -> list[str]:
    return [unescape(link) for link in re.findall(r'<a href="([^"]*)">why[?]</a>', html)]


def test_one_link_leads_from_a_decision_to_its_explanation(decided: Callable[..., str]) -> None:
    (link,) = links(decided("/messaging/suppressions?user_id=ana"))
    html = decided(link)
    assert title(html) == "Why did this user get a message, or not?"
    assert "<h2>paid ana13 at 2026-03-01 13:00:00 UTC</h2>" in html
    assert "r: suppressed: once_ever (at most once in a lifetime; in the way: send " in html
    assert html.count("<h2>") == 1
    # The form shows what the page answered.
    assert 'name="event" value="ana13"' in html


def test_a_user_in_any_table_view_or_answer_has_the_link(decided: Callable[..., str]) -> None:
    for address in ("events", "send_requests", "user_timeline"):
        assert links(decided(f"/messaging/{address}")), address
    assert len(links(decided("/messaging?sql=select+user_id+from+events"))) == 6


def test_an_address_is_masked_and_markup_is_only_shown(decided: Callable[..., str]) -> None:
    html = decided("/-/explain?user_id=ana%40example.org").split("<h2>")[1]
    assert "example.org" not in html
    for link in links(decided("/messaging/events")):
        assert "<b>" not in decided(link)
    assert "<b>" not in decided("/messaging/events")


def test_a_set_is_explained_too_and_what_is_wrong_with_a_question_is_a_sentence(decided: Callable[..., str]) -> None:
    assert "3 of 6: no earlier T in the way (once_ever: once in a lifetime)" in decided("/-/explain?rule=r")
    assert "since is soon, which is not a date or time" in decided("/-/explain?rule=r&since=soon", 400)
    assert "There is no rule x&#39;, and there never was" in decided("/-/explain?rule=x'", 400)


def title(html: str) -> str:
    (found,) = re.findall(r"<title>\s*(.*?)\s*</title>", html, re.S)
    return str(found)


def test_it_is_served_with_these_pages():
    assert OPTIONS[OPTIONS.index("--template-dir") + 1] == str(TEMPLATES)
    assert OPTIONS[OPTIONS.index("--plugins-dir") + 1] == str(PLUGINS)


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


def test_what_the_columns_hold_scrolls_so_that_the_rows_are_in_sight(page):
    html = page("/test/send_requests")
    assert html.index("dl.column-descriptions { max-height") < html.index('<dl class="column-descriptions">')
