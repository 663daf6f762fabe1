"""Write the generated pages of docs/: `make docs`."""

from pathlib import Path

from src.marketing_messaging_service.dictionary.pages import dictionary_page, schema_page

DOCS = Path(__file__).resolve().parents[3] / "docs"


def main() -> None:
    """Write them."""
    for name, page in (("data-dictionary.md", dictionary_page()), ("schema.md", schema_page())):
        (DOCS / name).write_text(page, encoding="utf-8")
        print(f"Wrote docs/{name}")


if __name__ == "__main__":
    main()
