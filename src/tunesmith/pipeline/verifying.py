"""Computing a stored evaluation again from the answers and likelihoods in its folder."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from tunesmith.core.artifacts import Artifact
from tunesmith.core.errors import EvaluationError
from tunesmith.core.files import damage
from tunesmith.eval.agreement_page import write_agreement
from tunesmith.eval.files import read_verdict, write_evaluation
from tunesmith.eval.results import read_evidence
from tunesmith.eval.suites.answered import scored_otherwise
from tunesmith.eval.verdict import Verdict
from tunesmith.pipeline.agreeing import judged_again
from tunesmith.pipeline.ruling import rule_on
from tunesmith.pipeline.sections.eval import EvalConfig, GateConfig

__all__ = ["Verified", "stored_verdict", "verify_verdict"]

EVIDENCE = "evidence.json"
_HOLD_VERDICTS = ("agreement", "eval", "crossfit", "audit", "export", "overall")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A stored verdict that was computed again. `files`: those written again; `different`: those that came out otherwise."""

    verdict: Verdict
    files: tuple[str, ...]
    different: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether every file came out the same to the byte."""
        return not self.different


def stored_verdict(evaluation: Artifact) -> Verdict:
    """The verdict of an evaluation. EvaluationError if the artifact is none."""
    if evaluation.kind not in _HOLD_VERDICTS:
        raise EvaluationError(
            "this artifact holds no verdict",
            value=f"{evaluation.kind} {evaluation.id[:8]}",
            expected="an evaluation, a cross-fit, an audit, or an export that was judged",
            hint="tunesmith verdict eval:latest   or   tunesmith verdict audit:latest",
        )
    return read_verdict(evaluation.path / "verdict.json")


def verify_verdict(evaluation: Artifact) -> Verified:
    """Compute every number, gate and page of an evaluation again from its evidence, and compare byte by byte.

    EvaluationError if the artifact is no evaluation, or its evidence cannot be read or be true.
    """
    held = stored_verdict(evaluation)
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder)
        otherwise = _write_again(evaluation, again)
        names = sorted(file.name for file in again.iterdir() if file.name != EVIDENCE)  # which is what they are made from
        different = [name for name in names if not _same(again / name, evaluation.path / name)]
    different += [f"{EVIDENCE}: {what} are not those of its answers" for what in otherwise]
    if reason := damage(evaluation.path):
        different.append(f"manifest.json: {reason}")
    return Verified(verdict=held, files=tuple(names), different=tuple(different))


def _write_again(evaluation: Artifact, again: Path) -> list[str]:
    """Write the files of an evaluation into `again`, from its evidence; the suites whose answers were scored otherwise."""
    if evaluation.kind == "agreement":
        write_agreement(again, *judged_again(evaluation))
        return []
    evidence, settings = read_evidence(evaluation.path / EVIDENCE), evaluation.manifest["settings"]
    chosen, gates, look = EvalConfig(**settings["eval"]), GateConfig(**settings["gates"]), settings["look"]
    measurements, verdict = rule_on(evidence, chosen, gates, number=look["number"], changed=look["changed"])
    write_evaluation(again, evidence, measurements, verdict)
    return list(scored_otherwise(evidence.suites))


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()
