"""`tunesmith selftest`: one object with --json, a table without, exit 0 or 2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunesmith.cli.main import main
from tunesmith.pipeline import selftest as selftest_module
from tunesmith.pipeline.selftest import Check, SelfTest


def result(*, passed: bool) -> SelfTest:
    checks = (
        Check("packing", 2e-7, 1e-5, True, "fine", 1.0),
        Check("resume", 0.0 if passed else 2.0, 0.0, passed, "said", 1.0),
    )
    return SelfTest("apprentice", checks)


@pytest.mark.parametrize(("passed", "code"), [(True, 0), (False, 2)])
def test_the_exit_code_and_the_json_say_whether_every_promise_held(
    passed: bool, code: int, tiny_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: dict[str, Any] = {}

    def fake(base: Any, examples: Any, **named: Any) -> SelfTest:
        given.update(named, examples=examples)
        return result(passed=passed)

    monkeypatch.setattr(selftest_module, "selftest", fake)
    with pytest.raises(SystemExit) as caught:
        main(["selftest", "--base", str(tiny_path), "--json"])
    assert caught.value.code == code
    found = json.loads(capsys.readouterr().out)
    assert found["passed"] is passed and [c["name"] for c in found["checks"]] == ["packing", "resume"]
    assert found["machine"]["threads"] and found["seconds"] >= 0
    assert len(given["examples"]) == 12 and all(e.answer.strip() for e in given["examples"])
    with pytest.raises(SystemExit):
        main(["selftest", "--base", str(tiny_path)])
    said = capsys.readouterr()
    assert ("FAIL" in said.out) is not passed and "2e-07" in said.out
    assert ("keeps its promises" if passed else "a check failed") in said.err


def test_a_base_that_is_not_there_is_an_error_in_four_parts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["selftest", "--base", "./no-such-base"])
    assert caught.value.code == 1 and "hint:" in capsys.readouterr().err
