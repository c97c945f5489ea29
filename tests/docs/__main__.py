"""`make docs`: write the examples of the manual's pages."""

from __future__ import annotations

from tests.docs.examples import rendered
from tests.docs.pages import PAGES, ROOT, read, with_examples


def main() -> None:
    texts = rendered()

    for page in PAGES:
        before = read(page)
        after = with_examples(before, texts)

        if after != before:
            (ROOT / page).write_text(after)
            print(page)


if __name__ == "__main__":
    main()
