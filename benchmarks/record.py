"""Writing a benchmark's result: one dated JSON file and a Markdown table, with hardware, versions and command."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def hardware() -> dict[str, Any]:
    """Processor, cores and memory, as far as Linux tells."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    names = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    flags = next((line for line in info.splitlines() if line.startswith("flags")), "")
    special = [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags.split()]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "instructions": special,
        "system": platform.system(),
    }


def write_result(theme: str, work: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write `results/<theme>-<cores>cpu-<date>.json` and `.md`, and print the table."""
    versions = {name: importlib.metadata.version(name) for name in ("tunesmith", "torch", "transformers", "peft")}
    date = datetime.now(UTC).date().isoformat()
    name = f"{theme}-{os.cpu_count()}cpu-{date}"
    given = (Path(word).name if os.sep in word else word for word in sys.argv[1:])  # where files lie here is nobody's business
    command = f"python benchmarks/{Path(sys.argv[0]).name} {' '.join(given)}".strip()
    machine = hardware()
    whole = {"theme": theme, "date": date, "command": command, "hardware": machine, "versions": versions}
    whole |= {"work": work, "rows": rows}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(whole, indent=2) + "\n")
    head = [key for key in rows[0] if not isinstance(rows[0][key], list)]
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    lines = [
        f"# {theme}, {date}",
        "",
        f"`{command}` · {machine['processor']}, {machine['cores']} cores, {' '.join(machine['instructions'])} · {told}",
        "",
        "Work: " + ", ".join(f"{name} {value}" for name, value in work.items()),
        "",
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
    ]
    lines += [
        "| " + " | ".join(f"{row[k]:.3g}" if isinstance(row[k], float) else str(row[k]) for k in head) + " |" for row in rows
    ]
    (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
