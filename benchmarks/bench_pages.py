"""Accessibility of pages: axe-core in Chromium, wide and narrow, light and dark. Needs three things from outside.

pip install playwright && npm pack axe-core && tar xf axe-core-*.tgz
python benchmarks/bench_pages.py --project DIR --axe package/axe.min.js --record
python benchmarks/bench_pages.py --file compare.html --file curves.html --axe package/axe.min.js --record

`--project`: the pages of its arena. A voter of the script's own looks at a pair, and at the results after ending. It leaves
that voter's `end` line in the arena, so give it a copy of the project. `--file`: pages that Tunesmith wrote, such as those of
`tunesmith runs compare` and `runs curves` and an evaluation's report, with everything folded opened. `chromium` must be on the
path.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from record import write_result
from tunesmith.pipeline.arenas import find_arena
from tunesmith.web.serving import serving_arena

VOTER, OTHER = "axe", "axe at the end"
SIZES = {"wide": (1280, 900), "narrow": (375, 760)}
PAGES = {
    "start": "/",
    "pair": f"/v/{VOTER}?more=1",
    "stop": f"/v/{VOTER}/stop",
    "results": f"/v/{OTHER}/results",
    "error": "/v/%3C",
}


def main() -> None:
    """Print the rows as they come, and record them if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", type=Path, help="a copy of a project with an arena")
    parser.add_argument("--file", type=Path, action="append", default=[], help="a page; may be repeated")
    parser.add_argument("--axe", type=Path, required=True)
    parser.add_argument("--shots", type=Path, help="a folder for pictures of the pages")
    parser.add_argument("--record", action="store_true", help="write the dated result")
    asked = parser.parse_args()
    if not asked.project and not asked.file:
        parser.error("name a --project or a --file")
    rows = []
    with _addresses(asked.project, asked.file) as pages:
        for row in looked_at(pages, asked.axe.read_text(encoding="utf-8"), asked.shots):
            print(row, flush=True)
            rows.append(row)
    if asked.record:
        theme = "pages" if asked.project else "pages-files"
        write_result(theme, {"rules": "all of axe-core", "browser": "Chromium, headless"}, rows)


@contextmanager
def _addresses(project: Path | None, files: Sequence[Path]) -> Iterator[dict[str, str]]:
    """Each page's name and address; those of the arena are served as long as the block runs."""
    found = {file.stem: file.resolve().as_uri() for file in files}
    if project is None:
        yield found
        return
    arena = find_arena(project)
    arena.end(OTHER)
    with serving_arena(arena) as address:
        yield found | {name: address + path for name, path in PAGES.items()}


def looked_at(pages: Mapping[str, str], axe: str, shots: Path | None) -> Iterator[dict[str, Any]]:
    """One row for each page, size and colour scheme."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        for scheme, (size, (width, height)) in itertools.product(("light", "dark"), SIZES.items()):
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, bypass_csp=True)
            for name, address in pages.items():
                page = context.new_page()
                page.goto(address)
                if shots is not None:
                    page.screenshot(path=shots / f"{name}-{size}-{scheme}.png", full_page=True)
                page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
                page.evaluate(axe)
                found = page.evaluate("axe.run()")
                wider = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
                yield {
                    "page": name,
                    "size": size,
                    "scheme": scheme,
                    "violations": len(found["violations"]),
                    "rules passed": len(found["passes"]),
                    "for a person to check": len(found["incomplete"]),
                    "wider than the window": wider,
                    "axe-core": found["testEngine"]["version"],
                    "what": [one["id"] for one in found["violations"]],
                }
                page.close()
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
