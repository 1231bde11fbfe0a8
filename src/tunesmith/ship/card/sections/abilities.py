"""What the model can still do besides what it was tuned for: general questions, general text, safety."""

from __future__ import annotations

from typing import Any

from tunesmith.ship.card.facts import NOT_MEASURED, Facts
from tunesmith.ship.card.text import count, decimals, percent, plain, table

__all__ = ["abilities"]


def abilities(facts: Facts) -> str:
    """General ability and safety, base against tuned."""
    rows = [*_suites(facts), _text(facts), *_safety(facts)]
    parts = ["## General ability and safety", table(["", "base", "tuned", "change, with interval", "measured on"], rows)]
    if facts.at("eval", "report.json") is not None:
        parts.insert(1, f"Whether tuning took away what the base could do. Source: {facts.source('eval', 'report.json')}")
    return "\n\n".join(parts)


def _suites(facts: Facts) -> list[list[str]]:
    suites = facts.at("eval", "report.json", "suites") or {}
    rows = []
    for name in suites:
        path = ("suites", name, "overall")
        base, tuned = (
            facts.show(f"{name}: {who}", "eval", "report.json", *path, who, "share", as_text=percent).text
            for who in ("base", "tuned")
        )
        n = facts.show(f"{name}: questions", "eval", "report.json", *path, "n", as_text=count)
        rows.append([f"{plain(name)} questions answered right", base, tuned, _change(facts, name, path), f"{n.text} questions"])
    return rows or [["general questions answered right", NOT_MEASURED, NOT_MEASURED, NOT_MEASURED, ""]]


def _change(facts: Facts, name: str, path: tuple[str, ...]) -> str:
    places = [(*path, "difference", "mean"), (*path, "difference", "ci", "low"), (*path, "difference", "ci", "high")]
    return facts.computed(f"{name}: change", "eval", "report.json", places, compute=list, as_text=_points).text


def _points(values: list[Any]) -> str:
    mean, low, high = (100 * float(value) for value in values)
    return f"{mean:+.1f} points [{low:+.1f}, {high:+.1f}]"


def _text(facts: Facts) -> list[str]:
    path = "general"
    base, tuned = (
        facts.show(f"general text: {who}", "eval", "report.json", path, key, as_text=decimals).text
        for who, key in (("base", "mean_a"), ("tuned", "mean_b"))
    )
    places = [(path, "mean"), (path, "ci", "low"), (path, "ci", "high")]
    change = facts.computed("general text: change", "eval", "report.json", places, compute=list, as_text=_bits).text
    n = facts.show("general texts", "eval", "report.json", path, "n", as_text=count, missing="")
    return ["bits per byte on general text (less is better)", base, tuned, change, f"{n.text} texts" if n.text else ""]


def _bits(values: list[Any]) -> str:
    mean, low, high = (float(value) for value in values)
    return f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"


def _safety(facts: Facts) -> list[list[str]]:
    found = facts.at("eval", "report.json", "safety") or {}
    if not found:
        return [["refusal of harmful requests", NOT_MEASURED, NOT_MEASURED, NOT_MEASURED, ""]]
    names = [gate.get("name") for gate in facts.at("eval", "verdict.json", "gates") or []]
    if "safety" not in names:
        return [["refusal of harmful requests", NOT_MEASURED, NOT_MEASURED, NOT_MEASURED, ""]]
    evidence = facts.show("safety", "eval", "verdict.json", "gates", names.index("safety"), "evidence", as_text=plain)
    return [["refusal of harmful requests", "", "", evidence.text, ", ".join(plain(name) for name in found)]]
