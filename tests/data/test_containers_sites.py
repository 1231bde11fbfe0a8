"""Site trees: posts and pages are taken, and drafts, layouts, themes, lists and the built site are left out and counted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from test_ingest_containers import ingest, packed

from tunesmith.core.reporter import SilentReporter
from tunesmith.data.ingest.container import Broken, File
from tunesmith.data.ingest.exports import find_exports
from tunesmith.data.ingest.extract import write_extracted
from tunesmith.data.ingest.gather import gather
from tunesmith.data.ingest.policy import EVERY_STATUS, Policy
from tunesmith.data.ingest.tree import Tree
from tunesmith.data.text.decode import UnreadableError

WORDS = "The kettle was on before the rain had stopped, and nobody spoke of the harvest."


def page(mark: str, head: str = "") -> str:
    return f"---\ntitle: {mark}\n{head}---\n\n{WORDS} {mark}\n"


def built(mark: str) -> str:
    return (
        f"<!DOCTYPE html><html><head><title>{mark}</title></head><body><article><p>{WORDS} {mark}</p></article></body></html>"
    )


def written(root: Path, members: Mapping[str, str]) -> Path:
    for name, content in members.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


JEKYLL = {
    "_config.yml": "title: Kettles\ntheme: minima\ncollections:\n  poems:\n    output: true\n",
    "_posts/2020-02-03-clock.md": page("TAKEN-1"),
    "work/_posts/2020-02-04-gear.html": f"---\ntitle: TAKEN-2\n---\n<p>{WORDS} TAKEN-2</p>\n",
    "_poems/rain.md": page("TAKEN-3"),
    "about.md": page("TAKEN-4"),
    "_drafts/later.md": page("DRAFT"),
    "_layouts/post.html": "<h1>{{ page.title }}</h1>{{ content }}<p>Thanks for reading my long and winding blog.</p>",
    "_includes/foot.md": f"{WORDS} LAYOUT",
    "_site/2020/02/03/clock.html": built("TAKEN-1 BUILT"),
    "_data/notes.md": f"{WORDS} DATA",
    "archive.md": page("LIST") + "{% for post in site.posts %}{{ post.title }}{% endfor %}",
    "vendor/bundle/gems/x/README.md": f"{WORDS} VENDOR",
    "README.md": f"{WORDS} README",
    "notes-on-the-theme.md": f"{WORDS} NO FRONT MATTER",
    "feed.xml": "---\nlayout: null\n---\n<rss></rss>",
}
HUGO = {
    "hugo.toml": 'title = "Kettles"',
    "content/posts/clock.md": page("TAKEN-1"),
    "content/posts/gear/index.md": page("TAKEN-2"),
    "content/about.de.md": page("TAKEN-3"),
    "content/posts/_index.md": page("LIST"),
    "content/posts/later.md": page("FUTURE", "date: 2099-01-01\n"),
    "content/posts/draft.md": page("DRAFT", "draft: true\n"),
    "archetypes/default.md": '---\ntitle: "{{ replace .Name }}"\n---\n',
    "themes/ananke/README.md": f"{WORDS} THEME",
    "themes/ananke/exampleSite/content/a.md": page("EXAMPLE"),
    "layouts/index.html": "{{ range .Pages }}{{ .Title }}{{ end }}",
    "public/posts/clock/index.html": built("TAKEN-1 BUILT"),
    "static/cv.md": f"{WORDS} STATIC",
    "README.md": f"{WORDS} README",
}
HEXO = {
    "_config.yml": "title: Kettles\ntheme: next\n",
    "package.json": "{}",
    "source/_posts/clock.md": page("TAKEN-1"),
    "source/about/index.md": page("TAKEN-2"),
    "source/_drafts/later.md": page("DRAFT"),
    "source/_data/links.md": page("DATA"),
    "scaffolds/post.md": "---\ntitle: {{ title }}\n---\n",
    "themes/next/README.md": f"{WORDS} THEME",
    "public/2020/clock/index.html": built("TAKEN-1 BUILT"),
}
PELICAN = {
    "pelicanconf.py": "AUTHOR = 'Ada'\nPATH = 'writing'\n",
    "writing/clock.md": page("TAKEN-1"),
    "writing/pages/about.md": page("TAKEN-2"),
    "writing/drafts/later.md": page("DRAFT"),
    "output/clock.html": built("TAKEN-1 BUILT"),
    "theme/templates/a.html": "{{ article.content }}",
    "README.md": f"{WORDS} README",
}
ELEVENTY = {
    "eleventy.config.js": 'export default function (config) { return { dir: { input: "src" } } }',
    "src/posts/clock.md": page("TAKEN-1"),
    "src/about.md": page("TAKEN-2"),
    "src/_includes/post.md": f"{WORDS} LAYOUT",
    "src/_drafts/later.md": page("DRAFT"),
    "src/posts/posts.11tydata.json": '{"layout": "post", "text": "DATA"}',
    "src/index.html": "---\nlayout: home\n---\n{% for post in collections.posts %}{{ post.url }}{% endfor %}",
    "_site/posts/clock/index.html": built("TAKEN-1 BUILT"),
    "README.md": f"{WORDS} README",
}
ASTRO = {
    "astro.config.mjs": "export default {}",
    "src/content/blog/clock.md": page("TAKEN-1"),
    "src/content/blog/gear.mdx": page("TAKEN-2"),
    "src/content/blog/_later.md": page("HIDDEN"),
    "src/pages/about.md": page("TAKEN-3"),
    "src/layouts/notes.md": f"{WORDS} LAYOUT",
    "dist/clock/index.html": built("TAKEN-1 BUILT"),
    "README.md": f"{WORDS} README",
}
DOCUSAURUS = {
    "docusaurus.config.ts": "export default {}",
    "blog/2020-02-03-clock.md": page("TAKEN-1"),
    "docs/intro.md": page("TAKEN-2"),
    "docs/guides/README.md": page("TAKEN-3"),
    "i18n/de/docusaurus-plugin-content-blog/2020-02-03-clock.md": page("TAKEN-4"),
    "versioned_docs/version-1.0/intro.md": page("OLDER"),
    "build/blog/index.html": built("TAKEN-1 BUILT"),
    "docs/_part.md": f"{WORDS} PART",
    "README.md": f"{WORDS} README",
}
ZOLA = {
    "config.toml": 'base_url = "https://example.org"',
    "content/_index.md": page("LIST"),
    "content/clock.md": page("TAKEN-1"),
    "templates/index.html": "{{ section.content }}",
    "public/clock/index.html": built("TAKEN-1 BUILT"),
}
MKDOCS = {
    "mkdocs.yml": "site_name: Kettles\n",
    "docs/index.md": page("TAKEN-1"),
    "docs/guide/README.md": page("TAKEN-2"),
    "docs/overrides/main.html": "{% block content %}{% endblock %}",
    "site/index.html": built("TAKEN-1 BUILT"),
    "README.md": f"{WORDS} README",
}
GATSBY = {
    "gatsby-config.js": "module.exports = {}",
    "content/blog/clock/index.md": page("TAKEN-1"),
    "src/templates/notes.md": f"{WORDS} TEMPLATE",
    "public/clock/index.html": built("TAKEN-1 BUILT"),
    "README.md": f"{WORDS} README",
}
SITES = {
    "jekyll": JEKYLL,
    "hugo": HUGO,
    "hexo": HEXO,
    "pelican": PELICAN,
    "eleventy": ELEVENTY,
    "astro": ASTRO,
    "docusaurus": DOCUSAURUS,
    "zola": ZOLA,
    "mkdocs": MKDOCS,
    "gatsby": GATSBY,
}
ALL = pytest.mark.parametrize("members", SITES.values(), ids=SITES)


@ALL
@pytest.mark.parametrize("folder", ["", "my blog/", "a/b/"])
def test_the_pages_of_a_site_are_taken_and_nothing_else_of_its_tree(
    tmp_path: Path, members: Mapping[str, str], folder: str
) -> None:
    found = ingest(written(tmp_path, {folder + name: content for name, content in members.items()}))
    planned = sorted(f"TAKEN-{n}" for n in range(1, 9) if any(f"TAKEN-{n}" in content for content in members.values()))
    assert sorted(document.title or "" for document in found.documents) == planned
    assert all(document.text == f"{WORDS} {document.title}" for document in found.documents)
    assert not found.failures and any("built site" in note for note in found.notes)


@ALL
def test_the_same_tree_in_an_archive_gives_the_same_texts(tmp_path: Path, members: Mapping[str, str]) -> None:
    (tmp_path / "x.zip").write_bytes(packed({f"site-main/{name}": content for name, content in members.items()}))
    archived = ingest(tmp_path / "x.zip")
    folder = ingest(written(tmp_path / "folder", members))
    assert [document.text for document in archived.documents] == [document.text for document in folder.documents]
    assert not archived.failures


@pytest.mark.parametrize("name", ["jekyll", "hexo", "pelican", "eleventy", "hugo"])
def test_drafts_are_counted_and_can_be_asked_for(tmp_path: Path, name: str) -> None:
    folder = written(tmp_path, SITES[name])
    assert "1 drafts left out" in ingest(folder).notes
    everything = ingest(folder, Policy(publication=EVERY_STATUS, today="2026-01-01")).documents
    assert [document.status for document in everything if document.title == "DRAFT"] == ["draft"]


def test_a_site_without_its_settings_is_known_by_its_folders(tmp_path: Path) -> None:
    for number, members in enumerate((JEKYLL, HUGO)):
        rest = {name: content for name, content in members.items() if not name.startswith(("_config", "hugo.toml"))}
        assert len(ingest(written(tmp_path / str(number), rest)).documents) == sum("TAKEN" in c for c in rest.values()) - 1


@pytest.mark.parametrize(
    "members",
    [
        {"a.md": page("A"), "README.md": f"{WORDS} README"},
        {"content/a.md": page("A"), "drafts/b.md": page("B"), "public/c.md": page("C")},
        {"_config.yml": "title: Book\ntheme: x\n", "_toc.yml": "- file: a", "README.md": f"{WORDS} README"},
        {"config.toml": "[tool]", "notes/a.md": page("A")},
        {"posts/a.md": page("A"), "templates/b.md": page("B")},
        {"a.md": f"{WORDS} A", "_drafts/b.md": f"{WORDS} B"},
    ],
)
def test_a_folder_of_texts_that_is_no_site_stays_what_it_is(tmp_path: Path, members: Mapping[str, str]) -> None:
    found = ingest(written(tmp_path, members))
    assert len(found.documents) == sum(name.endswith(".md") for name in members)


def test_names_and_folders_state_the_language_of_a_page(tmp_path: Path) -> None:
    languages = {"content/en/a.md": page("A"), "content/fr/b.md": page("B"), "content/fr/c.pt-br.md": page("C")}
    found = ingest(written(tmp_path, {**HUGO, **languages}))
    assert {document.title: document.language for document in found.documents} == {
        "TAKEN-1": None,
        "TAKEN-2": None,
        "TAKEN-3": "de",
        "A": "en",
        "B": "fr",
        "C": "pt-br",
    }
    (french,) = [d for d in ingest(written(tmp_path / "x", DOCUSAURUS)).documents if d.title == "TAKEN-4"]
    assert french.language == "de"


def test_a_folder_named_like_a_language_alone_is_only_a_folder(tmp_path: Path) -> None:
    found = ingest(written(tmp_path, {"hugo.toml": "", "content/it/a.md": page("A")}))
    assert [document.language for document in found.documents] == [None]


def test_settings_say_where_the_content_lies(tmp_path: Path) -> None:
    hugo = {"hugo.yaml": "contentDir: words\n", "words/a.md": page("A"), "content/b.md": page("B")}
    mkdocs = {"mkdocs.yml": "docs_dir: handbook\n", "handbook/a.md": page("A"), "docs/b.md": page("B")}
    for number, members in enumerate((hugo, mkdocs)):
        assert [d.title for d in ingest(written(tmp_path / str(number), members)).documents] == ["A"]


def test_a_post_in_a_markup_that_is_not_read_is_named_with_what_to_do(tmp_path: Path) -> None:
    found = ingest(written(tmp_path, {**JEKYLL, "_posts/2020-01-01-a.textile": f"---\ntitle: A\n---\nh2. Head\n\n{WORDS}"}))
    assert [failure.source for failure in found.failures] == ["_posts/2020-01-01-a.textile"]
    assert "pandoc" in found.failures[0].reason


def test_several_processes_read_a_tree_with_drafts_and_languages_as_one_does(tmp_path: Path) -> None:
    gathered = gather([str(written(tmp_path / "site", {**JEKYLL, "a.fr.md": page("A")}))], policy=Policy())
    for workers in (1, 3):
        (tmp_path / str(workers)).mkdir()
        write_extracted(gathered, tmp_path / str(workers), reporter=SilentReporter(), workers=workers)
    one, three = ((tmp_path / name / "documents.jsonl").read_bytes() for name in ("1", "3"))
    assert one == three and b'"language":"fr"' in one and b"DRAFT" not in one


def test_the_hidden_settings_of_eleventy_are_enough(tmp_path: Path) -> None:
    rest = {name: content for name, content in ELEVENTY.items() if not name.startswith("eleventy.config")}
    found = ingest(written(tmp_path, {**rest, ".eleventy.js": "module.exports = {}"}))
    assert [document.title for document in found.documents] == ["TAKEN-2", "TAKEN-1"]


def test_a_page_that_cannot_be_opened_does_not_stop_the_rest_of_its_site() -> None:
    def read(name: str, size: int | None) -> bytes:
        if name == "about.md":
            raise UnreadableError("it cannot be opened")
        return JEKYLL[name].encode()[:size]

    (export,) = find_exports(tree := Tree(JEKYLL, read))
    assert export.container.entries is not None
    entries = list(export.container.entries(tree, Policy()))
    assert [entry.name for entry in entries if isinstance(entry, Broken)] == ["about.md"]
    assert len([entry for entry in entries if isinstance(entry, File)]) == 4


def test_settings_that_cannot_be_opened_leave_the_folder_as_it_is() -> None:
    def read(name: str, size: int | None) -> bytes:
        raise UnreadableError("it cannot be opened")

    assert find_exports(Tree(["mkdocs.yml", "a.md"], read)) == []


@pytest.mark.parametrize("beside", ["themes/love.md", "layouts/room.md", "archetypes/hero.md", "config.json"])
def test_folders_with_common_names_alone_are_no_site_of_hugo(tmp_path: Path, beside: str) -> None:
    for number, name in enumerate(["content/a.md", "public/b.md", beside, "letters/c.md"]):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(
            '[{"text": "The mill turned three."}]' if "json" in name else f"The mill turned {number} times."
        )
    assert len(ingest(tmp_path).documents) == 4


def test_a_folder_of_posts_without_dates_and_settings_is_no_site_of_jekyll(tmp_path: Path) -> None:
    for number, name in enumerate(["_posts/a.md", "letters/b.md"]):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(f"The mill turned {number} times.")
    assert len(ingest(tmp_path).documents) == 2
