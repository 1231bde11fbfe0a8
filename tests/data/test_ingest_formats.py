"""Markup of every kind becomes the same prose: notebooks, Org, AsciiDoc, reStructuredText, LaTeX, Djot, Textile."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

import pytest
from shared_material import ingest

from tunesmith.core.records import Document
from tunesmith.data.ingest.item import Reading
from tunesmith.data.ingest.kinds import guess_kind
from tunesmith.data.ingest.readers import all_readers, pandoc
from tunesmith.data.text.decode import PassingError, UnreadableError

SECRET = "SECRET"


def reading(text: str, name: str) -> Reading:
    kind = guess_kind(name, text.encode(), alone=False)
    reader = next(reader for reader in all_readers() if reader.kind == kind)
    if reader.read is not None:
        return reader.read(text.encode(), name=name)
    assert reader.read_text is not None
    return reader.read_text(text, name=name)


def read(text: str, name: str) -> Document:
    return reading(text, name).documents[0]


def notebook(*cells: str, **stated: object) -> str:
    return json.dumps({"metadata": stated, "cells": [{"cell_type": "markdown", "source": cell} for cell in cells]})


ORG = f"""#+TITLE: The *quay*
#+AUTHOR: Ada Byron
#+DATE: <2021-03-04 Thu>
#+LANGUAGE: en
#+TODO: WRITE | READY

It /rained/ on [[https://x.y][the quay]].[fn:1]
All day, ~a+b~ and 1/2 long.

** WRITE [#A] After the rain :sea:
:PROPERTIES:
:ID: {SECRET}
:END:
SCHEDULED: <2021-01-01>
# {SECRET}
- one
  goes on
  - [ ] two
- term :: meaning

1. first
2. second
Not in the list.

#+BEGIN_SRC python
* {SECRET}
#+END_SRC
#+begin_quote
Bo said so.
#+end_quote
| {SECRET} | b |

** Notes :noexport:
{SECRET}
*** Below
{SECRET}
** COMMENT Draft
{SECRET}

* Footnotes
[fn:1] {SECRET}
"""
ASCIIDOC = f"""= The _quay_
Ada Byron <ada@x.y>
v1.2, 2021-03-04: first
:lang: en
// {SECRET}

It *rained* on https://x.y[the quay^].footnote:[{SECRET} [x].]
All day, `a+b` and 1/2 long.

== After the rain

* one
goes on
** [x] two
* term: meaning

//-
. first
. second

Not in the list.

.{SECRET}
[source,python]
----
{SECRET}

== {SECRET}
----

____
Bo said so.
____

|===
|{SECRET} |b
|===

////
{SECRET}
////
"""
RST = f"""The *quay*
==========

:date: 2021-03-04
:author: Ada Byron
:lang: en

It *rained* on `the quay <https://x.y>`_. [1]_
All day, ``a+b`` and 1/2 long.

After the rain
--------------

- one
  goes on

  - two
- term: meaning

1. first
2. second

Not in the list.

    Bo said so.

.. code-block:: python

   {SECRET}

.. {SECRET}

=== ===
 a   b
=== ===
 1  {SECRET}
=== ===

.. [1] {SECRET}
"""
LATEX = rf"""\documentclass{{article}}
\newcommand{{\place}}{{the quay}}
\newcommand{{\x}}[1]{{\textbf{{#1}} {SECRET}}}
\title{{The \emph{{quay}}}}
\author{{Ada Byron\thanks{{{SECRET}}} \\ {SECRET}}}
\date{{4 March 2021}}
\begin{{document}}
\maketitle % {SECRET}
It \emph{{rained}} on \href{{https://x.y}}{{the quay}}.\footnote{{{SECRET}}}
All day, \verb|a+b| and 1/2 long.

\section*{{After the rain\label{{sec:{SECRET}}}}}
\begin{{itemize}}
  \item one
  goes on
  \begin{{itemize}}\item two\end{{itemize}}
  \item[term] meaning
\end{{itemize}}
\begin{{enumerate}}
  \item first
  \item second
\end{{enumerate}}
Not in the list.
\begin{{verbatim}}
\end{{x}} {SECRET}
\end{{verbatim}}
\begin{{quote}}
Bo said so.
\end{{quote}}
\begin{{table}}\begin{{tabular}}{{ll}} {SECRET} & b \end{{tabular}}\end{{table}}
\[ {SECRET} \]
\iffalse {SECRET} \fi
\end{{document}}
{SECRET}
"""
DJOT = f"""---
title: The quay
author: Ada Byron
date: 2021-03-04
lang: en
---
It _rained_ on [the quay](https://x.y){{.cls}}.[^1]
All day, `a+b` and 1/2 long. {{% {SECRET} %}}{{-{SECRET}-}}

{{#after}}
## After the rain

- one
  goes on

  - two
- term: meaning

1. first
2. second

Not in the list.

```
{SECRET}
```

> Bo said so.

| {SECRET} | b |
|---|---|
| c | d |

[^1]: {SECRET}
"""
TEXTILE = f"""---
title: The quay
author: Ada Byron
date: 2021-03-04
lang: en
---
It _rained_[1] on "the quay(a title)":https://x.y. All day, @a+b@ and 1/2 long.

h2(#x). After the rain

* one goes on
** two
* term: meaning

# first
# second

p{{color:red}}. Not in the list.

bc. {SECRET}

bq. Bo said so.

| {SECRET} | b |

fn1. {SECRET}
"""
NOTEBOOK = json.dumps(
    {
        "nbformat": 4,
        "metadata": {"title": "The quay", "authors": [{"name": "Ada Byron"}], "date": "2021-03-04", "lang": "en"},
        "cells": [
            {
                "cell_type": "markdown",
                "source": ["It *rained* on [the quay](https://x.y).[^1]\n", "All day, `a+b` and 1/2 long.\n\n[^1]: " + SECRET],
            },
            {"cell_type": "code", "source": SECRET, "outputs": [{"text": SECRET}, {"data": {"image/png": SECRET}}]},
            {"cell_type": "markdown", "source": "## After the rain\n\n- one\n  goes on\n  - two\n- term: meaning"},
            {"cell_type": "markdown", "source": "1. first\n2. second"},
            {"cell_type": "markdown", "source": f"Not in the list.\n\n```\n{SECRET}"},
            {"cell_type": "markdown", "source": f"> Bo said so.\n\n| {SECRET} | b |\n|---|---|\n| c | d |"},
            {"cell_type": "markdown", "source": SECRET, "metadata": {"tags": ["remove-cell"]}},
            {"cell_type": "raw", "source": SECRET},
        ],
    }
)
EVERY = [("a.org", ORG), ("a.adoc", ASCIIDOC), ("a.rst", RST), ("a.tex", LATEX), ("a.dj", DJOT), ("a.textile", TEXTILE)]
EVERY += [("a.ipynb", NOTEBOOK)]


@pytest.mark.parametrize(("name", "text"), EVERY, ids=[name for name, _ in EVERY])
def test_every_markup_gives_the_same_prose_and_facts(name: str, text: str) -> None:
    found = reading(text, name)
    document = found.documents[0]
    assert document.text == (
        "It rained on the quay. All day, a+b and 1/2 long.\n\n## After the rain\n\n- one goes on\n- two\n- term: meaning\n\n"
        "1. first\n2. second\n\nNot in the list.\n\n> Bo said so."
    )
    assert (document.title, document.author, document.date) == ("The quay", "Ada Byron", "2021-03-04")
    assert (document.date_origin, document.language) == ("metadata", None if name == "a.tex" else "en")
    kept_from = {what.partition(" left")[0] for what in found.notes}
    assert {"footnotes", "tables"} <= kept_from and kept_from & {"code blocks", "code cells"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.org", "#+DRAFT: t\nWords here."),
        ("a.org", "#+HUGO_DRAFT: true\nWords here."),
        ("a.adoc", "= T\n:draft:\n\nWords here."),
        ("a.adoc", "= T\n:jbake-status: draft\n\nWords here."),
        ("a.adoc", "= T\n:page-published: false\n\nWords here."),
        ("a.rst", "T\n=\n\n:status: draft\n\nWords here."),
        ("a.rst", ".. title: T\n.. status: draft\n\nWords here."),
        ("a.textile", "---\npublished: false\n---\nWords here."),
        ("a.ipynb", notebook("---\ndraft: true\n---", "Words here.")),
        ("a.ipynb", notebook("Words here.", draft=True)),
    ],
)
def test_the_draft_marks_of_every_markup_are_heeded(name: str, text: str) -> None:
    document = read(text, name)
    assert (document.status, document.text) == ("draft", "Words here.")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"caf\'e, na\"{\i}ve, Fran\c{c}ois, \v{S}koda", "café, naïve, François, Škoda"),
        (r"\AA ngstr\"om, \o re, Stra\ss e, \'{E}t\'e", "Ångström, øre, Straße, Été"),
        (r"``Quoted'' --- 50\% \& more\ldots{} for \$5", "“Quoted” — 50% & more… for $5"),
        (r"We took $n = 3$ boats and $\frac{a}{b}$ more", "We took n = 3 boats and more"),
        (r"as he says~\cite[p.~3]{doe}. See", "as he says. See"),
        (r"{\Large Large} \textcolor{red}{words} \enquote{in \textbf{bold}}", "Large words “in bold”"),
        ("one% a comment\n\ntwo", "one\n\ntwo"),
        ("one % a comment\ntwo", "one two"),
        (r"one\\[2pt] two\\* three", "one\ntwo\nthree"),
        (r"\place{} and \emph{so, \textbf{on}}", "the quay and so, on"),
        ("It cost $5 in all", "It cost $5 in all"),
        (r"\begin{theorem}[Bo] It holds. \end{theorem}", "It holds."),
    ],
)
def test_the_macros_of_latex_become_what_is_printed(written: str, meant: str) -> None:
    assert read(r"\newcommand{\place}{the quay}" + f"\n{written}\n", "part.tex").text == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("See <<other,the other>> and <<other>>.", "See the other and other."),
        ("Press kbd:[x] on {place}, ((here))(((not, this))).", "Press x on Dover, here."),
        ('"`Quoted`" and [.role]#marked# **b**old', "“Quoted” and marked bold"),
        ("NOTE: Mind it.", "Mind it."),
        ("One +\ntwo.", "One\ntwo."),
        ("2 * 3 * 4 and a_b_c.", "2 * 3 * 4 and a_b_c."),
        ("[quote, Bo]\nSo it was.", "> So it was."),
        ("Words.\n\n literal code", "Words."),
        ("Words.\n\nimage::a.png[Alt]\ninclude::/etc/passwd[]\n\n'''", "Words."),
        ("* one\n+\njoined", "- one\n\njoined"),
        ("See {url}[the quay] and ``this''.", "See the quay and “this”."),
        ("Rain:: wet\nSun:: dry", "Rain: wet\n\nSun: dry"),
        ("Words.\n\n[source,xml]\n--\n<a>\n\n</a>\n--", "Words."),
        ("[quote, 'https://x.y[Bo]']\nSo it was.", "> So it was."),
        ("Part\n----\n\nWords.", "## Part\n\nWords."),
    ],
)
def test_the_signs_of_asciidoc_become_what_is_shown(written: str, meant: str) -> None:
    assert read(f"= T\n:place: Dover\n:base: https://x.y\n:url: {{base}}/quay\n\n{written}\n", "a.adoc").text == meant


def test_roles_and_directives_of_sphinx_give_their_words_and_nothing_is_opened(tmp_path: Path) -> None:
    file = tmp_path / "x.txt"
    file.write_text(SECRET, encoding="utf-8")
    text = "See :ref:`the other <x>` and :class:`~a.b.C`, |sub|.\n\n.. |sub| replace:: Dover\n\n"
    text += ".. versionadded:: 1.2\n   It came.\n\n"
    text += f".. include:: {file}\n\n.. raw:: html\n   :file: {file}\n\n.. csv-table::\n   :file: {file}\n\n"
    text += ".. toctree::\n\n   x\n\n.. literalinclude:: x.txt\n\n| A verse\n| of two lines"
    assert read(text, "a.rst").text == "See the other and C, Dover.\n\nIt came.\n\nA verse\nof two lines"


def test_a_notebook_of_the_old_form_is_read(tmp_path: Path) -> None:
    cells = [{"cell_type": "heading", "level": 2, "source": ["Part"]}, {"cell_type": "markdown", "source": ["It rained."]}]
    (tmp_path / "a.ipynb").write_text(json.dumps({"nbformat": 3, "worksheets": [{"cells": cells}]}), encoding="utf-8")
    assert [document.text for document in ingest(tmp_path).documents] == ["## Part\n\nIt rained."]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.ipynb", "{broken", "holds no notebook"),
        ("a.ipynb", "[1, 2]", "holds no notebook"),
        ("a.ipynb", '{"cells": []}', "it is empty"),
        ("a.ipynb", '{"cells": [{"cell_type": "code", "source": "x"}]}', "no prose"),
        ("a.ipynb", '{"cells": ' + "[" * 3000, "holds no notebook"),
        ("a.tex", r"Words \footnote{never closed", r"never closed \(line 1\)"),
        ("a.tex", "Words\n\\begin{figure} x", r"begin\{figure\} in it has no"),
        ("a.org", "#+TITLE: T\n", "no prose"),
        ("a.adoc", "= T\n", "no prose"),
        ("a.rst", "x" * 1_000_001, "longer than a million"),
    ],
)
def test_a_file_that_is_broken_says_why(name: str, text: str, reason: str) -> None:
    with pytest.raises(UnreadableError, match=reason):
        reading(text, name)


HOSTILE = {
    "a.org": ["* ", "[[a][", "/a", "*a ", "[fn:", "{{{a", "#+begin_src\n", "- a\n" + " " * 50, ":a:\n", "@@a:"],
    "a.adoc": ["footnote:[", "<<a", "*a ", "`a", "((", "((a", "https://a[", "{a", "----\n", "* a\n** b\n", '"`a', "image:a["],
    "a.rst": ["* a\n\n  ", "`a", "*a ", "|a", ":a:`b", ".. a::\n\n   ", "[a", "_ "],
    "a.tex": ["{", r"\emph{", r"\enquote{a}", "$a ", r"\(a", r"\[a", r"\begin{itemize}", r"\verb|"],
    "b.tex": [r"\newcommand", "\\'", "%\n", r"\section{a}", r"\begin{figure}", r"\newcommand{\a}{", "\\item["],
    "a.dj": ["{=a", "[a]{", "{-a", "`a", "$`", "^a", "{%a"],
    "a.textile": ["* a\n", '"a', '"a":b', "!a", "@a", "_a ", "-a ", "==a", "[1]", "bc.. a\n\n"],
}


@pytest.mark.parametrize(("name", "piece"), [(name, piece) for name, pieces in HOSTILE.items() for piece in pieces])
def test_hostile_markup_ends_in_time(name: str, piece: str) -> None:
    start = time.process_time()
    size = 30_000 if name == "a.rst" else 100_000
    try:
        reading("Words.\n\n" + piece * (size // len(piece)), name)
    except UnreadableError as error:
        assert str(error)
    assert time.process_time() - start < 3


def test_nesting_beyond_measure_is_named() -> None:
    with pytest.raises(UnreadableError, match="nested too deeply"):
        reading("Words. " + r"\enquote{" * 5000 + "}" * 5000, "a.tex")
    deep = "".join(" " * n + "- a\n\n" for n in range(600))
    with pytest.raises(UnreadableError, match="nested too deeply"):
        reading(deep, "a.rst")


def fake_pandoc(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "pandoc"
    program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_a_file_without_a_reader_is_converted_by_pandoc_if_that_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_pandoc(tmp_path, monkeypatch, 'echo "## $6"; echo; cat; echo; echo "$@" | tr " " "\\n" | grep -c sandbox')
    document = read("It rained.", "a.mediawiki")
    assert (document.text, document.extraction) == ("## --from=mediawiki\n\nIt rained. 1", "pandoc")


def test_without_pandoc_the_reason_names_it_and_may_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PassingError, match="typst are read with pandoc, which is not installed"):
        reading("= T", "a.typ")


def test_a_pandoc_that_fails_or_never_ends_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_pandoc(tmp_path, monkeypatch, "echo unexpected end >&2; exit 64")
    with pytest.raises(UnreadableError, match="pandoc cannot read it: unexpected end"):
        reading("= T", "a.typ")
    monkeypatch.setattr(pandoc, "_TIMEOUT_S", 0.2)
    fake_pandoc(tmp_path, monkeypatch, "while :; do :; done")
    with pytest.raises(PassingError, match=r"longer than 0.2 s"):
        reading("= T", "a.typ")
