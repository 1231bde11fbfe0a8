"""A base's chat template with its options: messages to text, the same in training, evaluation and use.

Options are what the `template` section of a recipe sets. `enable_thinking` and `date` are set under the names by which the
template reads them; other options are passed on. One that the template does not read is an error.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property, lru_cache
from typing import Any

from jinja2 import TemplateSyntaxError, meta, nodes
from jinja2.exceptions import TemplateError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tunesmith.core.errors import ModelError
from tunesmith.core.records import Message
from tunesmith.models.template_options import DATE, ENABLE_THINKING, OPTIONS

__all__ = ["PRIVATE", "PROBE", "ChatTemplate", "Reads", "Scalar", "reads", "template_text"]

Scalar = bool | int | float | str

PRIVATE = 0x10F000  # first of the private characters that stand for control tokens written in a text
PROBE = chr(PRIVATE - 1)  # stands for a text whose place is looked for
_CLOCK = "strftime_now"  # the function of transformers through which templates read today's date
_DATES = {"date_string": "%d %b %Y", "current_date": "%Y-%m-%d"}  # variables that take a date as text, each in its format
_NO_BUDGET = "thinking_budget"
_EFFORT, _NO_EFFORT = "reasoning_effort", "none"
_SWITCHES = ("enable_thinking", "thinking", "reasoning")  # names of the same switch in different families
_GIVEN = {  # what every template is given; no options
    "messages", "tools", "documents", "add_generation_prompt", "raise_exception", "bos_token", "eos_token", "pad_token",
    "unk_token", _CLOCK,
}  # fmt: skip


class _GenerationTag(Extension):
    """`{% generation %}`, which marks answers in some templates; what is inside is written as it is."""

    tags = {"generation"}  # noqa: RUF012 (as the base class declares it)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@dataclass(frozen=True, slots=True)
class Reads:
    """What a template reads: `names` of variables, of which `options` are worth naming to people, its `constants`, and the
    `formats` in which it asks for today's date (None: one that is not written in the template itself)."""

    names: frozenset[str]
    options: tuple[str, ...]
    constants: frozenset[str]
    formats: frozenset[str | None]

    @property
    def switches(self) -> tuple[str, ...]:
        """The names of the template's switches for thinking."""
        named = [name for name in (*_SWITCHES, _NO_BUDGET) if name in self.names]
        return (*named, _EFFORT) if _EFFORT in self.names and _NO_EFFORT in self.constants else tuple(named)

    @property
    def dates(self) -> tuple[str, ...]:
        """The names under which the template reads a date."""
        return tuple(name for name in (_CLOCK, *_DATES) if name in self.names)


@lru_cache(maxsize=64)
def reads(text: str) -> Reads:
    """The variables that a template reads and did not surely set before. ModelError if it is not a template."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, "jinja2.ext.loopcontrols"]
    )
    try:
        tree = environment.parse(text)
    except TemplateSyntaxError as error:
        raise ModelError(
            "the base's chat template is not valid",
            value=f"line {error.lineno}",
            expected=f"a Jinja template ({error.message})",
            hint="copy chat_template.jinja or tokenizer_config.json of the base again",
        ) from error
    names = frozenset(meta.find_undeclared_variables(tree))
    stored = {name.name for name in tree.find_all(nodes.Name) if name.ctx == "store"}
    asked = {test.node.name for test in tree.find_all(nodes.Test) if isinstance(test.node, nodes.Name)}  # `x is defined`
    options = sorted(name for name in names - _GIVEN if name not in stored or name in asked)
    constants = frozenset(c.value for c in tree.find_all(nodes.Const) if isinstance(c.value, str))
    calls = [c for c in tree.find_all(nodes.Call) if isinstance(c.node, nodes.Name) and c.node.name == _CLOCK]
    written = (c.args[0] if len(c.args) == 1 else None for c in calls)
    formats = frozenset(how.value if isinstance(how, nodes.Const) else None for how in written)
    return Reads(names, tuple(options), constants, formats)


def template_text(tokenizer: Any) -> str:
    """The template that a conversation without tools is written by. ModelError if there are several and no default."""
    try:
        return str(tokenizer.get_chat_template())
    except ValueError as error:
        raise ModelError(
            "the base has several chat templates and none is the default",
            value=", ".join(sorted(tokenizer.chat_template)),
            expected="one template, or one that is named default",
            hint="write the template that you mean into the base's folder as chat_template.jinja",
        ) from error


@dataclass(frozen=True)
class ChatTemplate:
    """A tokenizer's template. `wanted`: the options that were set on purpose, by the names of the recipe.

    ModelError when it is made, if the template cannot be read, or does not read an option.
    """

    tokenizer: Any
    wanted: Mapping[str, Scalar | date]

    def __post_init__(self) -> None:
        _ = self.text, self.variables  # what is wrong with them is reported before anything is rendered

    @cached_property
    def reads(self) -> Reads:
        """What the template reads."""
        return reads(template_text(self.tokenizer))

    @cached_property
    def options(self) -> dict[str, Scalar]:
        """The options in effect, by the names of the recipe: empty for a template that reads none.

        Setting these same options gives the same text again. ModelError for one that the template does not read.
        """
        found = self.reads
        named: dict[str, Scalar] = {}
        if found.switches:
            named["enable_thinking"] = bool(self.wanted.get("enable_thinking", ENABLE_THINKING))
        elif self.wanted.get("enable_thinking", ENABLE_THINKING) != ENABLE_THINKING:
            raise self._unread("enable_thinking", "a template with a switch for thinking, which this one has not")
        if _CLOCK in found.names or (found.dates and "date" in self.wanted):
            named["date"] = self._day.isoformat()
        elif self._day != DATE:
            raise self._unread("date", "a template that writes a date, which this one does not")
        for name, value in self.wanted.items():
            if name in OPTIONS:
                continue
            if name not in found.names or name in _GIVEN:
                raise self._unread(name, f"one that it reads: {', '.join(found.options) or 'it reads none'}")
            named[name] = value if isinstance(value, Scalar) else value.isoformat()
        return named

    @property
    def _day(self) -> date:
        value = self.wanted.get("date", DATE)
        return value if isinstance(value, date) else date.fromisoformat(str(value))

    def _unread(self, name: str, expected: str) -> ModelError:
        near = difflib.get_close_matches(name, [*OPTIONS, *self.reads.options], n=1)
        return ModelError(
            f"the base's chat template does not read template.{name}: it would have no effect",
            value=self.wanted[name],
            expected=expected,
            hint=f"did you mean template.{near[0]}?" if near and near[0] != name else f"remove template.{name}",
        )

    @cached_property
    def text(self) -> str:
        """The template with its one date: the library's own function would give another one every day.

        ModelError if the template works out the format of the date, which cannot be foreseen.
        """
        return self._dated(template_text(self.tokenizer))

    @cached_property
    def tool_text(self) -> str:
        """The same for conversations with tools: some tokenizers have a template of its own for them."""
        return self._dated(str(self.tokenizer.get_chat_template(tools=[{}])))

    def _dated(self, text: str) -> str:
        formats = reads(text).formats
        if not formats:
            return text
        if None in formats:
            raise ModelError(
                "the base's chat template writes the date in a format that cannot be foreseen",
                value=f"{_CLOCK}(…)",
                expected=f"a format in quotation marks, such as {_CLOCK}('%Y-%m-%d')",
                hint="write the format into a copy of the base's template",
            )
        day = datetime.combine(self._day, datetime.min.time())
        dates = json.dumps({how: day.strftime(how) for how in sorted(map(str, formats))})
        return f"{{% macro {_CLOCK}(format) %}}{{{{ {dates}[format] }}}}{{% endmacro %}}\n{text}"  # the line break is trimmed

    @cached_property
    def variables(self) -> dict[str, Scalar]:
        """What the template is given besides the messages."""
        found, options = self.reads, dict(self.options)
        given: dict[str, Scalar] = {}
        if "enable_thinking" in options:
            thinking = bool(options.pop("enable_thinking"))
            given |= {name: thinking for name in _SWITCHES if name in found.names}
            if not thinking and _NO_BUDGET in found.switches:
                given[_NO_BUDGET] = 0
            if not thinking and _EFFORT in found.switches:
                given[_EFFORT] = _NO_EFFORT
        if "date" in options:
            del options["date"]
            if "date" in self.wanted:
                given |= {name: self._day.strftime(how) for name, how in _DATES.items() if name in found.names}
        return {**given, **options}

    @cached_property
    def controls(self) -> dict[str, str]:
        """Text of every control token → the private character that replaces it in a rendered message."""
        named = {t.content for t in self.tokenizer.added_tokens_decoder.values() if t.special} | set(
            self.tokenizer.all_special_tokens
        )
        return {text: chr(PRIVATE + i) for i, text in enumerate(sorted(named, key=lambda text: (-len(text), text)))}

    def masked(self, content: str) -> str:
        """A message's text in a rendered conversation: control tokens in it are private characters."""
        for text, stand_in in self.controls.items():
            content = content.replace(text, stand_in)
        return content

    def unmasked(self, content: str) -> str:
        """A masked text as it was."""
        for text, stand_in in self.controls.items():
            content = content.replace(stand_in, text)
        return content

    def render(self, messages: Sequence[Message], *, answer_next: bool = False) -> str:
        """The template's text of the conversation; with `answer_next`, up to the start of the assistant's answer.

        Control tokens written into a message are masked: a post about `<|end|>` must not end the answer.
        """
        return self._render([{"role": m.role, "content": m.content} for m in messages], self.text, None, answer_next)

    def render_turns(
        self, turns: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]] | None, *, answer_next: bool = False
    ) -> str:
        """The same of a conversation with tools. `turns` and `tools` as OpenAI's interface has them, but the arguments of calls
        as the template takes them. Control tokens are masked in all texts."""
        return self._render(turns, self.tool_text, tools, answer_next)

    def _render(
        self, turns: Sequence[Mapping[str, Any]], text: str, tools: Sequence[Mapping[str, Any]] | None, answer_next: bool
    ) -> str:
        given = {"tools": self._masked(tools)} if tools else {}
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    self._masked(turns),
                    chat_template=text,
                    tokenize=False,
                    add_generation_prompt=answer_next,
                    **given,
                    **self.variables,
                )
            )
        except (TemplateError, TypeError, ValueError) as error:
            roles = ", ".join(str(turn["role"]) for turn in turns)
            raise ModelError(
                "the base's chat template refuses this conversation",
                value=roles,
                expected=f"roles that it knows, in its order ({error})",
                hint="set build.system_prompt to empty, or choose a base whose template takes these roles",
            ) from error

    def _masked(self, given: Any) -> Any:
        """`masked` of every text in lists and objects."""
        if isinstance(given, str):
            return self.masked(given)
        if isinstance(given, Mapping):
            return {key: self._masked(value) for key, value in given.items()}
        return [self._masked(one) for one in given] if isinstance(given, list | tuple) else given
