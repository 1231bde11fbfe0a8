"""The forms that there are: how each compares with the adapter that was evaluated, and how to run it."""

from __future__ import annotations

from collections.abc import Iterator

from tunesmith.ship.card.base import base_of
from tunesmith.ship.card.facts import Facts
from tunesmith.ship.card.material import FACTS, Material
from tunesmith.ship.card.text import bullet, code, decimals, interval, megabytes, plain, table
from tunesmith.ship.format import format_kinds

__all__ = ["ADAPTER", "MERGED", "folder_of_form", "forms", "present_forms", "run_commands", "usage"]

ADAPTER, MERGED = "adapter", "merged"


def folder_of_form(form: str) -> str:
    """The folder that holds a form in a release: `adapter`, `merged`, `gguf-q8_0`."""
    short = form.removeprefix("export-")
    return form if short in {ADAPTER, MERGED} else short  # an export may be a merged folder too


def forms(facts: Facts) -> str:
    """What each export costs and keeps, against the adapter; empty if nothing was exported."""
    names = facts.material.exports
    if not names:
        return ""
    rows = []
    for name in names:
        numbers = ("numbers",)
        rows.append(
            [
                code(folder_of_form(name)),
                facts.show(f"engine of {name}", name, FACTS, *numbers, "engine", as_text=plain).text,
                facts.show(f"size of {name}", name, FACTS, *numbers, "bytes", as_text=megabytes).text,
                facts.show(f"speed of {name}", name, FACTS, *numbers, "tokens_per_s", as_text=decimals).text,
                facts.show(f"memory of {name}", name, FACTS, *numbers, "memory_bytes", as_text=megabytes).text,
                facts.show(f"KL of {name}", name, FACTS, *numbers, "kl", as_text=decimals).text,
                facts.show(f"same first choice of {name}", name, FACTS, *numbers, "top1", as_text=decimals).text,
                _against(facts, name),
                facts.show(f"verdict on {name}", name, FACTS, *numbers, "verdict", as_text=plain).text,
            ]
        )
    head = ["form", "engine", "size", "tokens/s", "memory", "KL", "same first choice", "change against the adapter", "verdict"]
    parts = [
        "## Forms",
        "Every form was asked the evaluation's own questions through the engine that runs it.",
        table(head, rows),
    ]
    sources = ", ".join(facts.source(name, FACTS) for name in names)
    return "\n\n".join([*parts, f"Source: {sources}", *_marks(facts)])


def _against(facts: Facts, name: str) -> str:
    path = ("numbers", "against_adapter")
    places = [(*path, "mean"), (*path, "ci", 0), (*path, "ci", 1)]
    return facts.computed(f"{name} against the adapter", name, FACTS, places, compute=list, as_text=lambda v: interval(*v)).text


def _marks(facts: Facts) -> Iterator[str]:
    lines = []
    for name in facts.material.exports:
        for place, _ in enumerate(facts.at(name, FACTS, "numbers", "marks") or []):
            mark = facts.show(f"mark of {name}", name, FACTS, "numbers", "marks", place, as_text=plain)
            lines.append(f"{code(folder_of_form(name))}: {mark.text}")
    if lines:
        yield "**Marks:**"
        yield bullet(lines)


def usage(facts: Facts, present: list[str]) -> str:
    """How to run each form that is there, and the settings that the answers were measured with."""
    parts = ["## How to run it"]
    settings = facts.show("sampling settings", "use", FACTS, "numbers", "settings", as_text=plain, missing="")
    if settings.text:
        parts.append(f"Answers were measured with {settings.text}. Source: {settings.source}")
    prompt = facts.show("system prompt", "dataset", FACTS, "settings", "build", "system_prompt", as_text=code, missing="")
    if prompt.text not in {"", "``"}:
        parts.append(f"It was trained with the system prompt {prompt.text}, and expects it. Source: {prompt.source}")
    for form in present:
        parts.append(_adapter(facts) if form == ADAPTER else _merged() if form == MERGED else _export(facts, form))
    return "\n\n".join(parts)


def _adapter(facts: Facts) -> str:
    base = base_of(facts.material)
    origin = facts.show("origin of the base", "base", FACTS, "origin", as_text=plain, missing="")
    exact = not origin.text or origin.text.endswith("from the hub")
    opened = base.hub if base.hub and exact else "BASE-FOLDER"
    lines = ["### Adapter, with transformers and peft", ""]
    if opened == "BASE-FOLDER":
        source = f" ({origin.text})" if origin.text else ""
        fetch = f" `tunesmith bases --fetch {base.name}` brings it." if base.named and base.hub else ""
        lines += [f"`BASE-FOLDER` is the folder of {code(base.name)}{source}.{fetch} On other weights it is another model.", ""]
    lines += [
        "```python",
        "from peft import PeftModel",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        f'model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained("{opened}"), "{ADAPTER}")',
        f'tokenizer = AutoTokenizer.from_pretrained("{opened}")',
        *_ask(),
        "```",
    ]
    return "\n".join(lines)


def _ask() -> list[str]:
    return [
        'messages = [{"role": "user", "content": "How do I begin?"}]',
        'inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)',
        "print(tokenizer.decode(model.generate(**inputs, max_new_tokens=200)[0], skip_special_tokens=True))",
    ]


def _merged() -> str:
    transformers = [
        "### Merged model, with transformers or vLLM",
        "",
        "```python",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        f'model, tokenizer = AutoModelForCausalLM.from_pretrained("{MERGED}"), AutoTokenizer.from_pretrained("{MERGED}")',
        *_ask(),
        "```",
        "",
        "```sh",
        f"vllm serve {MERGED}",
        "```",
    ]
    return "\n".join(transformers)


def _export(facts: Facts, form: str) -> str:
    """The commands of its format, for the file or folder that an engine opens."""
    folder = folder_of_form(form)
    main = str(facts.at(form, FACTS, "numbers", "main") or ".")
    path = folder if main == "." else f"{folder}/{main}"
    commands = run_commands(str(facts.at(form, FACTS, "numbers", "form") or ""), path)
    if not commands:
        return f"### {plain(folder)}\n\nThe files are in the folder {code(folder)}."
    return "\n".join([f"### {plain(folder)}", "", "```sh", *commands, "```"])


def run_commands(kind: str, path: str) -> tuple[str, ...]:
    """What people type to run `path` in a format, a line for each program; empty for a format that is not known here."""
    found = next((one.run_with for one in format_kinds() if one.name == kind), ())
    return tuple(line.replace("{path}", path) for line in found)


def present_forms(material: Material) -> list[str]:
    """The forms that the material describes: the adapter, unless a whole model was trained, the merged model, the exports."""
    adapter = any(str(fact["path"]).startswith("adapter/") for fact in material.at("run", FACTS, "files") or ())
    return [*([ADAPTER] if adapter else []), *([MERGED] if "model" in material.parts else []), *material.exports]
