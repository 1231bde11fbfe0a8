"""Chat templates that show tools and write calls of them, each in the form of a family of models."""

from __future__ import annotations

__all__ = ["BARE", "FORMS", "LISTED", "NAMED", "SECTIONED", "TAGGED", "UNREADABLE"]

_TURN = "'<|' + m.role + '|>\n' + m.content + '<|end|>\n'"


def _template(listed: str, calls: str, result: str = "'<|user|>\n<result>' + m.content + '</result><|end|>\n'") -> str:
    """`listed`: how the tools are shown; `calls`: what stands in an answer in place of its words; `result`: a tool's answer."""
    return (
        "{%- if tools %}{{ '<|system|>\n' }}" + listed + "{{ '<|end|>\n' }}{%- endif %}"
        "{%- for m in messages %}{%- if m.tool_calls %}{{ '<|assistant|>\n' + m.content }}" + calls + "{{ '<|end|>\n' }}"
        "{%- elif m.role == 'tool' %}{{ " + result + " }}"
        "{%- else %}{{ " + _TURN + " }}{%- endif %}{%- endfor %}"
        "{%- if add_generation_prompt %}{{ '<|assistant|>\n' }}{%- endif %}"
    )


_TOOLS = "{%- for t in tools %}{{ t | tojson }}{{ '\n' }}{%- endfor %}"

TAGGED = _template(
    _TOOLS,
    "{%- for c in m.tool_calls %}{%- if m.content or not loop.first %}{{ '\n' }}{%- endif %}"
    '{{ \'<tool_call>\n{"name": "\' + c.function.name + \'", "arguments": \' }}{{ c.function.arguments | tojson }}'
    "{{ '}\n</tool_call>' }}{%- endfor %}",
)
"""An object between tags, as Hermes, Qwen 2.5 and 3, SmolLM3 and Granite 4 have it."""

BARE = _template(
    _TOOLS,
    "{%- if m.tool_calls | length != 1 %}{{ raise_exception('one call at once') }}{%- endif %}"
    "{%- set c = m.tool_calls[0].function %}"
    "{{ '{\"name\": \"' + c.name + '\", ' + '\"parameters\": ' }}{{ c.arguments | tojson }}{{ '}' }}",
    "'<|user|>\n' + (m.content | tojson) + '<|end|>\n'",
)
"""An object and nothing else, one call at a time, as Llama 3.1 to 3.3 have it."""

LISTED = _template(
    _TOOLS,
    "{{ '[TOOL_CALLS][' }}{%- for c in m.tool_calls %}{%- if c.id | length != 9 %}{{ raise_exception('ids are too short') }}"
    "{%- endif %}{{ (c.function | tojson)[:-1] + ', \"id\": \"' + c.id + '\"}' }}"
    "{%- if not loop.last %}{{ ', ' }}{%- endif %}{%- endfor %}{{ ']' }}",
    "'<|user|>\n{\"content\": ' + m.content + ', \"call_id\": \"' + m.tool_call_id + '\"}<|end|>\n'",
)
"""A list of objects with ids behind a control token, as Mistral Nemo has it."""

NAMED = _template(
    _TOOLS,
    "{%- for c in m.tool_calls %}{{ '[TOOL_CALLS]' + c.function.name + '[CALL_ID]' + c.id + '[ARGS]' }}"
    "{{ c.function.arguments | tojson }}{%- endfor %}",
)
"""A name, an id and arguments between control tokens, without an end, as Mistral Small 3.2 has it."""

SECTIONED = _template(
    _TOOLS,
    "{{ '<calls>' }}{%- for c in m.tool_calls %}"
    "{{ '<call>function<sep>' + c.function.name + '\n```json\n' + c.function.arguments + '\n```</call>' }}{%- endfor %}"
    "{{ '</calls>' }}",
)
"""A name and arguments, which the template takes as text, in tags of each call within tags of all, as DeepSeek V3 has it."""

UNREADABLE = _template(
    _TOOLS,
    "{%- for c in m.tool_calls %}{{ '<call>' + c.function.name }}{%- for k, v in c.function.arguments.items() %}"
    "{{ '<key>' + k + '</key><value>' + v | string + '</value>' }}{%- endfor %}{{ '</call>' }}{%- endfor %}",
)
"""Arguments one by one between tags: a form that is not known."""

FORMS = {"tagged": TAGGED, "bare": BARE, "listed": LISTED, "named": NAMED, "sectioned": SECTIONED}
