"""What the macros and environments of LaTeX mean for prose: characters, arguments that are not text, what is left out whole."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

__all__ = [
    "CHARACTERS",
    "CODE",
    "DROPPED",
    "HEADINGS",
    "LISTS",
    "NUM_DROPPED_ARGUMENTS",
    "NUM_ENVIRONMENT_ARGUMENTS",
    "QUOTES",
    "TABLES",
    "accented",
    "is_accent",
]

_COMBINING = {
    **{'"': "\u0308", "'": "\u0301", "`": "\u0300", "^": "\u0302", "~": "\u0303", "=": "\u0304", ".": "\u0307"},
    **{"u": "\u0306", "v": "\u030c", "H": "\u030b", "c": "\u0327", "k": "\u0328", "r": "\u030a", "d": "\u0323", "b": "\u0331"},
}
CHARACTERS: Mapping[str, str] = {
    **{"%": "%", "&": "&", "$": "$", "#": "#", "_": "_", "{": "{", "}": "}", " ": " ", "\n": " ", ",": "", ";": " ", ":": " "},
    **{
        "!": "",
        "-": "",
        "/": "",
        "@": "",
        "ss": "ß",
        "SS": "SS",
        "ae": "æ",
        "AE": "Æ",
        "oe": "œ",
        "OE": "Œ",
        "o": "ø",
        "O": "Ø",
    },
    **{"aa": "å", "AA": "Å", "l": "ł", "L": "Ł", "i": "i", "j": "j", "dh": "ð", "th": "þ", "LaTeX": "LaTeX", "TeX": "TeX"},
    **{"LaTeXe": "LaTeX2e", "BibTeX": "BibTeX", "ldots": "…", "dots": "…", "textellipsis": "…", "textendash": "–"},
    **{"textemdash": "—", "S": "§", "P": "¶", "copyright": "©", "textcopyright": "©", "textregistered": "®", "pounds": "£"},
    **{"textsterling": "£", "euro": "€", "texteuro": "€", "EUR": "€", "quad": " ", "qquad": " ", "space": " ", "enspace": " "},
    **{"textquoteright": "’", "textquoteleft": "‘", "textquotedblleft": "“", "textquotedblright": "”", "slash": "/"},
    **{"textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textunderscore": "_", "textbar": "|"},
    **{"textless": "<", "textgreater": ">", "guillemotleft": "«", "guillemotright": "»", "og": "« ", "fg": " »", "glqq": "„"},
    **{
        "grqq": "“",
        "textdegree": "°",
        "degree": "°",
        "textbullet": "•",
        "textperiodcentered": "·",
        "newline": "\n",
        "\\": "\n",
    },
    **{
        "linebreak": "\n",
        "par": "\n\n",
        "lq": "‘",
        "rq": "’",
        "textquotesingle": "'",
        "textquotedbl": '"',
        "tabularnewline": "\n",
    },
}
HEADINGS: Mapping[str, int] = {
    **{"part": 1, "chapter": 1, "addchap": 1, "section": 2, "addsec": 2, "subsection": 3, "subsubsection": 4},
    **{"paragraph": 5, "subparagraph": 6, "frametitle": 3},
}
_NO_TEXT = """
label ref eqref pageref autoref nameref cref Cref vref cite citet citep citealt citealp citeauthor citeyear parencite textcite
footcite autocite nocite supercite fullcite includegraphics usepackage RequirePackage documentclass input include subfile
bibliography bibliographystyle addbibresource vspace hspace footnote footnotetext endnote thanks marginpar marginnote sidenote
todo index glossary hypersetup pagestyle thispagestyle pagenumbering caption captionof phantom hphantom vphantom color
textcolor colorbox graphicspath includeonly geometry selectlanguage setmainfont setsansfont setmonofont usetheme usecolortheme
title author date subtitle institute affiliation email address keywords newlength newcounter stepcounter refstepcounter
bibitem hyphenation ensuremath SI num cline hline rule framesubtitle note lstset lstinputlisting inputminted pgfplotsset
usetikzlibrary tikzset definecolor includepdf href gls glspl acr pdfinfo settopmatter acmDOI fontfamily linespread comment
"""
_ARGUMENTS = {"SI": 2, "definecolor": 3, "setlength": 2, "addtolength": 2, "setcounter": 2, "addtocounter": 2, "fontsize": 2}
_ARGUMENTS |= {"resizebox": 2, "scalebox": 1, "parbox": 1, "raisebox": 1, "makebox": 0, "setkeys": 2, "rule": 2, "captionof": 2}
_ARGUMENTS |= {
    "newtheorem": 2,
    "newenvironment": 3,
    "renewenvironment": 3,
    "multicolumn": 2,
    "addcontentsline": 3,
    "inputminted": 2,
}
_ARGUMENTS |= {"foreignlanguage": 1, "adjustbox": 1, "rotatebox": 1, "titleformat": 5, "titlespacing": 4, "markboth": 2}
_ARGUMENTS |= {"renewcommand": 2, "newcommand": 2, "providecommand": 2, "DeclareMathOperator": 2, "DeclareRobustCommand": 2}
NUM_DROPPED_ARGUMENTS: Mapping[str, int] = {**dict.fromkeys(_NO_TEXT.split(), 1), **_ARGUMENTS}
CODE = frozenset(
    [
        "verbatim",
        "Verbatim",
        "lstlisting",
        "minted",
        "alltt",
        "code",
        "semiverbatim",
        "BVerbatim",
        "LVerbatim",
        "Sinput",
        "Soutput",
    ]
)
TABLES = frozenset(
    [
        "table",
        "tabular",
        "tabularx",
        "tabulary",
        "longtable",
        "sidewaystable",
        "supertabular",
        "wraptable",
        "tabu",
        "tblr",
        "tabbing",
    ]
)
_DROPPED_TEXT = """
figure wrapfigure sidewaysfigure subfigure equation align alignat gather multline flalign eqnarray math displaymath array split
aligned tikzpicture picture pspicture comment thebibliography algorithm algorithmic filecontents axis CJK@ forest
"""
DROPPED = frozenset(_DROPPED_TEXT.split()) | CODE | TABLES
LISTS: Mapping[str, int] = {"itemize": 0, "description": 0, "enumerate": 1, "compactitem": 0, "compactenum": 1}
QUOTES = frozenset(["quote", "quotation", "verse", "displayquote", "displaycquote", "epigraphs"])
NUM_ENVIRONMENT_ARGUMENTS: Mapping[str, int] = {
    "minipage": 1,
    "multicols": 1,
    "adjustwidth": 2,
    "spacing": 1,
    "otherlanguage": 1,
}


def is_accent(macro: str) -> bool:
    """Whether a macro puts a mark on the letter that follows it."""
    return macro in _COMBINING


def accented(macro: str, letter: str) -> str:
    """The letter with the mark of the macro."""
    return unicodedata.normalize("NFC", letter + _COMBINING[macro])
