"""The templates for clusters in `docs/guides/several-devices.md`: their syntax, and that their numbers agree."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

GUIDE = (Path(__file__).parent.parent / "docs" / "guides" / "several-devices.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)


def manifest(kind: str) -> Any:
    found = [one for block in blocks("yaml") for one in yaml.safe_load_all(block) if one["kind"] == kind]
    assert len(found) == 1
    return found[0]


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1]


def test_the_slurm_script_is_bash_and_begins_one_launcher_a_machine() -> None:
    (script,) = blocks("bash")
    checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "#SBATCH --ntasks-per-node=1\n" in script
    assert script.index("#SBATCH --signal") < script.index("set -euo pipefail")  # below a command they are comments


def test_a_broken_script_would_be_noticed() -> None:
    broken = blocks("bash")[0].replace("head -n 1)", "head -n 1")
    assert subprocess.run(["bash", "-n"], input=broken, text=True, capture_output=True, check=False).returncode != 0


def test_the_pods_of_the_indexed_job_meet_at_the_first_of_them() -> None:
    service, job = manifest("Service"), manifest("Job")
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    command = container["command"]
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"] == int(option(command, "--nodes"))
    assert container["resources"]["limits"]["nvidia.com/gpu"] == int(option(command, "--processes"))
    name = service["metadata"]["name"]
    assert (service["spec"]["clusterIP"], pod["subdomain"]) == ("None", name)
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert option(command, "--rendezvous").startswith(f"{job['metadata']['name']}-0.{name}:")
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_a_pod_of_the_pytorchjob_is_one_process_with_one_gpu() -> None:
    replicas = manifest("PyTorchJob")["spec"]["pytorchReplicaSpecs"]
    assert replicas["Master"]["replicas"] == 1
    assert replicas["Master"]["template"] == replicas["Worker"]["template"]
    (container,) = replicas["Worker"]["template"]["spec"]["containers"]
    assert container["name"] == "pytorch"  # the operator looks for this name
    assert container["command"] == ["tunesmith", "train"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1


def test_the_program_for_ray_uses_names_that_exist() -> None:
    import tunesmith

    (program,) = blocks("python")
    used = {node.attr for node in ast.walk(ast.parse(program)) if isinstance(node, ast.Attribute)}
    assert {"together", "run"} <= used & set(tunesmith.__all__)
