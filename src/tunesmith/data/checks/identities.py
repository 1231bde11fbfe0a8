"""National identity and tax numbers, by shape and by the check digits of python-stdnum.

Numbers that are digits alone are too common: those count only with a word beside them that says what they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from importlib import import_module

__all__ = ["IDENTITIES"]

_Holds = Callable[[re.Match[str]], bool]
_NEAR = 40  # characters before a number in which its name counts


@cache
def _is_valid(module: str) -> Callable[[str], bool]:
    found: Callable[[str], bool] = import_module(f"stdnum.{module}").is_valid
    return found


def _checked(*modules: str, names: str = "") -> _Holds:
    """Whether one of the library's modules takes the number and, with `names`, one of these words stands before it."""
    word = re.compile(names, re.IGNORECASE) if names else None

    def holds(match: re.Match[str]) -> bool:
        if word is not None and word.search(match.string[max(0, match.start() - _NEAR) : match.start()]) is None:
            return False
        return any(_is_valid(module)(match[0]) for module in modules)

    return holds


IDENTITIES: Sequence[tuple[re.Pattern[str], _Holds]] = (
    (re.compile(r"(?<![\w-])(?:\d{8}|[XYZ]\d{7})-?[A-HJ-NP-TV-Z](?![\w-])"), _checked("es.dni", "es.nie")),
    (re.compile(r"\b[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]\b"), _checked("it.codicefiscale")),
    (re.compile(r"(?<![\w.-])\d{3}\.\d{3}\.\d{3}-\d{2}(?![\w-])"), _checked("br.cpf")),
    (re.compile(r"(?<![\w-])\d{6}[-+A]\d{3}[0-9A-FHJ-NPR-Y](?![\w-])"), _checked("fi.hetu")),
    (re.compile(r"(?<![\w-])(?:19|20)?\d{6}[-+]\d{4}(?![\w-])"), _checked("se.personnummer")),
    (re.compile(r"(?<![\w.,-])[12] ?\d{2} ?\d{2} ?\d[\dAB] ?\d{3} ?\d{3} ?\d{2}(?![\w-]|\.\d)"), _checked("fr.nir")),
    (re.compile(r"\b(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z](?: ?\d{2}){3} ?[A-D]\b"), lambda match: True),
    (re.compile(r"(?<![\w-])\d{11}(?![\w-])"), _checked("pl.pesel", "de.idnr", names=r"pesel|steuer|tax|\bidnr")),
    (re.compile(r"(?<![\w-])[2-9]\d{3} ?\d{4} ?\d{4}(?![\w-])"), _checked("in_.aadhaar", names=r"aadha?ar|uidai")),
)
