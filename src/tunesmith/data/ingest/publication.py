"""What the author's own marks say about a text: draft, private, scheduled, protected, deleted, or nothing of the kind."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from tunesmith.core.records import Status

__all__ = ["STATUS_KEYS", "is_false", "is_true", "plain_key", "status_of", "status_of_word"]

# The strictest mark counts, in this order.
_STRICT_FIRST: tuple[Status, ...] = ("deleted", "protected", "private", "draft", "scheduled")
_DRAFT_WORDS = """
draft drafts wip unpublished inprogress pending pendingreview autodraft inreview skip idea outline todo notready notstarted
withdrawn retracted inbox entwurf brouillon borrador rascunho bozza concept kladde
"""
_PRIVATE_WORDS = """
private hidden unlisted internal secret members membersonly memberonly paid paidmembers subscribers subscribersonly
tiers followers friends direct onlyme privat nonpublic notpublic never archived archive expired
"""
_WORDS: Mapping[str, Status] = {
    **dict.fromkeys(_DRAFT_WORDS.split(), "draft"),
    **dict.fromkeys(_PRIVATE_WORDS.split(), "private"),
    **dict.fromkeys(["future", "scheduled", "planned"], "scheduled"),
    **dict.fromkeys(["trash", "trashed", "deleted", "removed"], "deleted"),
    **dict.fromkeys(["password", "passwordprotected", "protected"], "protected"),
}
_OF_WORD = frozenset(
    ["status", "state", "poststatus", "publishstatus", "publicationstatus", "visibility", "access", "poststate", "stage"]
)
_IF_TRUE: Mapping[str, Status] = {
    **dict.fromkeys(["draft", "isdraft", "wip", "unpublished"], "draft"),
    **dict.fromkeys(["private", "isprivate", "hidden", "unlisted", "secret", "membersonly", "subscribersonly"], "private"),
    **dict.fromkeys(["eleventyexcludefromcollections", "excludefromcollections"], "private"),
    **dict.fromkeys(["trash", "trashed", "deleted", "isdeleted"], "deleted"),
    **dict.fromkeys(["protected", "passwordprotected"], "protected"),
}
_IF_FALSE: Mapping[str, Status] = {
    **dict.fromkeys(["published", "publish", "ispublished", "dgpublish", "permalink", "ready"], "draft"),
    **dict.fromkeys(["public", "ispublic", "listed"], "private"),
}
STATUS_KEYS = frozenset([*_OF_WORD, *_IF_TRUE, *_IF_FALSE, "password"])  # as `plain_key` writes them
_TRUE = frozenset(["true", "yes", "1", "on", "y", "t"])
_FALSE = frozenset(["false", "no", "0", "off", "n", "nil"])


def plain_key(key: str) -> str:
    """A key as all styles write it: lower case, without blanks, hyphens and underscores."""
    return re.sub(r"[\s_\-.]+", "", key).casefold()


def status_of(values: Mapping[str, object]) -> Status:
    """The state of publication that a text's front matter states: the strictest, where it states several."""
    found = set(_marks(values))
    return next((status for status in _STRICT_FIRST if status in found), "published")


def status_of_word(word: object) -> Status | None:
    """What a word such as `Draft` or `pending review` says; None if it is not a word for what is not published."""
    return _WORDS.get(plain_key(word)) if isinstance(word, str) else None


def is_true(value: object) -> bool:
    """Whether a value says yes in YAML, TOML, JSON or head lines."""
    return value is True or str(value).strip().casefold() in _TRUE


def is_false(value: object) -> bool:
    """Whether a value says no; a value that is missing says nothing."""
    return value is False or (isinstance(value, str | int) and str(value).strip().casefold() in _FALSE)


def _marks(values: Mapping[str, object]) -> Iterator[Status]:
    for written, value in values.items():
        if not isinstance(written, str):
            continue
        key = plain_key(written)
        if key in _OF_WORD:
            yield from _of_words(value)
        elif key == "password" and str(value or "").strip() and not is_false(value):
            yield "protected"
        elif key in {"build", "_build"} and isinstance(value, Mapping):  # Hugo: rendered never, or in no list
            if any(is_false(value.get(part)) or value.get(part) == "never" for part in ("render", "list")):
                yield "private"
        elif (key in _IF_TRUE and is_true(value)) or (key in _IF_FALSE and is_false(value)):
            yield _IF_TRUE.get(key) or _IF_FALSE[key]
        elif key in {"published", "publish", "draft"} and (status := status_of_word(value)):
            yield status


def _of_words(value: object) -> Iterator[Status]:
    words: Iterable[object] = value if isinstance(value, list | tuple) else (value,)
    for word in words:
        if status := status_of_word(word):
            yield status
