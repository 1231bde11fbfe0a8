"""The page of a run: how the curves read, the curves, and what the model said at each validation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tunesmith.core.page import Raw, badge, folded, page, section, table, text
from tunesmith.eval.figures import training_figure
from tunesmith.train.loop import Fitted
from tunesmith.train.reading import Reading

__all__ = ["run_report"]

_TONES = {"learning": "good", "saturated": "good", "overfitting": "unsure", "too short to tell": "unsure"}


def run_report(
    rows: Sequence[Mapping[str, Any]],
    fitted: Fitted,
    reading: Reading,
    facts: Mapping[str, str],
    *,
    figures: Mapping[str, float],
    loss_unit: str,
) -> str:
    """The page as HTML. `rows` are those of metrics.jsonl; `figures` those of the validation at the best step; `facts` are
    printed as they are, name and value.
    """
    validations = [row for row in rows if "val_loss" in row]
    curves = [{key: value for key, value in row.items() if key != "samples"} for row in rows if "event" not in row]
    said, advice = (text(words[:1].upper() + words[1:]) for words in (reading.text, reading.advice))
    mark = badge(reading.shape, _TONES.get(reading.shape, "bad"))
    scaled = f"<p>The update was {text(facts['update'])}.</p>" if "update" in facts else ""
    top = Raw(f'<header>{mark}<h1>{said}.</h1><p class="lead">{advice}.</p>{scaled}</header>')
    best: Mapping[str, Any] = next((row for row in validations if row["step"] == fitted.best_step), {})
    if (bits := best.get("val_bits_per_byte")) is not None:
        figures = {**figures, "bits_per_byte": bits}
    numbers = {
        "steps": f"{fitted.num_steps}{', stopped early' if fitted.stopped_early else ''}",
        "best step": f"{fitted.best_step}, validation loss {fitted.best_loss:.4f} {loss_unit}",
        "validation at the best step": ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in figures.items()),
        **facts,
    }
    looks = [(row["step"], f"{row['val_loss']:.4f}", *_quick(row), (row.get("samples") or [""])[0]) for row in validations]
    unusual = [
        (r["step"], str(r["event"]).replace("_", " "), f"{r['value']:.3g}", f"{r['usual']:.3g}") for r in rows if "event" in r
    ]
    return page(
        "Training run",
        [
            top,
            section("The curves", Raw(f'<figure class="light">{training_figure(curves, loss_unit=loss_unit)}</figure>')),
            section(
                "Answers at each validation",
                table(["step", "val loss", "bits per byte", "ended", "looped", "answer to one validation question"], looks),
            ),
            *([section("What was unusual", table(["step", "what", "value", "usually"], unusual))] if unusual else []),
            section("In numbers", folded("all of it", table(["", ""], list(numbers.items())))),
        ],
    )


def _quick(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """Bits per byte and the shares of the sample answers that ended and looped, as far as a validation has them."""
    bits, *shares = (row.get(name) for name in ("val_bits_per_byte", "answers_ended", "answers_looped"))
    ended, looped = ("" if share is None else f"{share:.0%}" for share in shares)
    return "" if bits is None else f"{bits:.3f}", ended, looped
