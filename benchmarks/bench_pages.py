"""Accessibility of the arena's pages: axe-core in Chromium, wide and narrow, light and dark. Needs three things from outside.

pip install playwright && npm pack axe-core && tar xf axe-core-*.tgz
python benchmarks/bench_pages.py --project DIR --axe package/axe.min.js --record

DIR is a project with an arena; a voter of the script's own looks at a pair, and at the results after ending. It leaves that
voter's `end` line in the arena, so give it a copy of the project. `chromium` must be on the path.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
from collections.abc import Iterator
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
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--axe", type=Path, required=True)
    parser.add_argument("--shots", type=Path, help="a folder for pictures of the pages")
    parser.add_argument("--record", action="store_true", help="write the dated result")
    asked = parser.parse_args()
    rows = []
    for row in looked_at(asked.project, asked.axe.read_text(encoding="utf-8"), asked.shots):
        print(row, flush=True)
        rows.append(row)
    if asked.record:
        write_result("pages", {"rules": "all of axe-core", "browser": "Chromium, headless"}, rows)


def looked_at(project: Path, axe: str, shots: Path | None) -> Iterator[dict[str, Any]]:
    """One row for each page, size and colour scheme."""
    arena = find_arena(project)
    arena.end(OTHER)
    with serving_arena(arena) as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"])
        for scheme, (size, (width, height)) in itertools.product(("light", "dark"), SIZES.items()):
            context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, bypass_csp=True)
            for name, path in PAGES.items():
                page = context.new_page()
                page.goto(address + path)
                if shots is not None:
                    page.screenshot(path=shots / f"{name}-{size}-{scheme}.png", full_page=True)
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
