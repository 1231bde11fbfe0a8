"""The documents of the recipe `domain`: articles about law, without what their site adds, from a file that the user gives."""

from __future__ import annotations

import importlib.util
import json
import lzma
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "recipes" / "domain" / "texts.py"
if not SCRIPT.is_file():
    pytest.skip("the recipes travel with the repository, not with the package", allow_module_level=True)
SHORTCODES = 'See [the guide]({{< ref "/guide" >}} "Guide") and {{< youtube 12 >}} more.'


def texts() -> Any:
    spec = importlib.util.spec_from_file_location("texts_of_domain", SCRIPT)
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def article(name: str, body: str) -> dict[str, str]:
    return {"id": f"news/{name}.md", "text": f"---\nslug: x\ntitle: 'About {name}'\n---\n\n{body}"}


def test_articles_about_law_are_taken_densest_first_up_to_the_number_of_words() -> None:
    law, some, none = (
        "The Act and its regulations. " * 40,
        "The law is one word in ten or so here. " * 20,
        "Bread and salt. " * 60,
    )
    made = [article("none", none), article("some", some), article("law", law), article("short", "The law.")]
    taken = texts().about_law(made, words=1000)
    assert [(name, title) for name, title, _ in taken] == [("law", "About law"), ("some", "About some")]
    assert [name for name, _, _ in texts().about_law(made, words=250)] == ["law"]

    title, body = texts().plain(article("a", SHORTCODES)["text"])
    assert (title, body) == ("About a", "See the guide and  more.")


def test_the_script_writes_documents_and_general_texts_from_what_it_is_given(tmp_path: Path) -> None:
    lines = "".join(json.dumps(article(f"law-{n}", f"The Act of {n} and the policy. " * 30)) + "\n" for n in range(3))
    corpus = tmp_path / "articles.jsonl.xz"
    corpus.write_bytes(lzma.compress(lines.encode()))
    posts = tmp_path / "posts"
    posts.mkdir()
    (posts / "a.md").write_text("# Head\n\nI [mended](http://a.b) a bench today.\n\n- a list\n", encoding="utf-8")
    texts().main(corpus, posts, tmp_path)
    assert [file.name for file in sorted((tmp_path / "law").iterdir())] == ["law-0.md", "law-1.md", "law-2.md"]
    assert json.loads((tmp_path / "general.jsonl").read_text()) == {"text": "I mended a bench today."}
    assert 'title: "About law-0"' in (tmp_path / "law" / "law-0.md").read_text()
