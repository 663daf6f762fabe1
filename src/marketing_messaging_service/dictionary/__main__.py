"""Write the generated pages of docs/: `make docs`."""

from pathlib import Path

from src.marketing_messaging_service.dictionary.pages import dictionary_page, schema_page
from src.marketing_messaging_service.dictionary.sections import SECTIONS, with_sections

DOCS = Path(__file__).resolve().parents[3] / "docs"


def main() -> None:
    """Write them."""
    pages = {"data-dictionary.md": dictionary_page(), "schema.md": schema_page()}
    for name, sections in SECTIONS.items():
        pages[name] = with_sections((DOCS / name).read_text(encoding="utf-8"), sections)
    for name, page in pages.items():
        (DOCS / name).write_text(page, encoding="utf-8")
        print(f"Wrote docs/{name}")


if __name__ == "__main__":
    main()
