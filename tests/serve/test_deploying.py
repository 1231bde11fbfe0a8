"""Deployment files: valid where a validator is at hand, and their command really serves the models that they copy."""

from __future__ import annotations

import ast
import json
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import urllib3
import yaml
from echo_engine import chat_body

from fakes import make_base
from tunesmith.api.deploying import deploy
from tunesmith.cli.main import main
from tunesmith.core.errors import EngineError, ModelError
from tunesmith.serve.deploying.templates import TEMPLATES

KEY = "a-key-of-more-than-sixteen"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("deploy")
    base = make_base(root / "tiny")
    for target in TEMPLATES:
        found = deploy([f"mine={base}"], target, root / target, name="my-voice", project=root)
        assert found.models == ("mine",) and found.memory_mib > 1536 and all(file.is_file() for file in found.files)
        assert (root / target / "models" / "mine" / "model.safetensors").is_file()
    return root


def manifests(made: Path) -> dict[str, Any]:
    text = (made / "kubernetes" / "kubernetes.yaml").read_text(encoding="utf-8")
    return {one["kind"]: one for one in yaml.safe_load_all(text)}


def drains(deployment: Any) -> bool:
    """Whether a pod is given the time that its command needs to end in order."""
    pod = deployment["spec"]["template"]["spec"]
    args = pod["containers"][0]["args"]
    needed = sum(float(args[args.index(flag) + 1]) for flag in ("--pause", "--drain"))
    return bool(pod["terminationGracePeriodSeconds"] > needed)


def test_a_pod_is_probed_drained_and_given_its_key_by_a_secret(made: Path) -> None:
    found = manifests(made)
    (container,) = found["Deployment"]["spec"]["template"]["spec"]["containers"]
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert paths == {"startup": "/healthz", "readiness": "/healthz?ready", "liveness": "/healthz"}
    assert drains(found["Deployment"])
    assert container["env"][0]["valueFrom"]["secretKeyRef"] == {"name": "my-voice", "key": "key"}
    assert found["Service"]["spec"]["selector"] == found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    found["Deployment"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 30  # planted: Kubernetes' default
    assert not drains(found["Deployment"])


def test_the_manifests_are_valid_by_the_schemas_of_kubernetes(made: Path) -> None:
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    for one in manifests(made).values():
        validate.validate(one, "1.31", strict=True)
    broken = manifests(made)["Deployment"]
    broken["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(validate.ValidationError):
        validate.validate(broken, "1.31", strict=True)


def test_the_unit_is_valid_by_systemd(made: Path, tmp_path: Path) -> None:
    if (program := shutil.which("systemd-analyze")) is None:
        pytest.skip("systemd-analyze is not installed")
    text = (made / "systemd" / "my-voice.service").read_text(encoding="utf-8")
    here = text.replace("/opt/tunesmith/bin/tunesmith", "/bin/true")
    for name, unit, fine in (("fine", here, True), ("broken", here.replace("Type=exec", "Type=often"), False)):
        file = tmp_path / f"{name}.service"
        file.write_text(unit, encoding="utf-8")
        done = subprocess.run([program, "verify", str(file)], capture_output=True, text=True, check=False)
        assert (str(file) not in done.stderr and name not in done.stderr) == fine, done.stderr


def test_the_compose_file_is_valid_by_the_schema_of_compose(made: Path, tmp_path: Path) -> None:
    pytest.importorskip("check_jsonschema", reason="check-jsonschema is not installed")
    text = (made / "docker" / "compose.yaml").read_text(encoding="utf-8")
    for name, content, fine in (("fine", text, True), ("broken", text.replace("mem_limit", "mem_limits"), False)):
        file = tmp_path / f"{name}.yaml"
        file.write_text(content, encoding="utf-8")
        command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode == 0) == fine, done.stdout
        assert fine or "mem_limits" in done.stdout


def test_hadolint_finds_nothing_in_the_dockerfile(made: Path) -> None:
    if (program := shutil.which("hadolint")) is None:
        pytest.skip("hadolint is not installed")
    text = (made / "docker" / "Dockerfile").read_text(encoding="utf-8")
    for content, found in ((text, ""), (text.replace("python:3.12.12-slim", "python"), "DL3006")):
        done = subprocess.run([program, "-"], input=content, capture_output=True, text=True, check=False)
        assert (done.stdout == "") == (found == "") and found in done.stdout, done.stdout


def test_the_app_for_modal_is_one_that_modal_reads(made: Path, tmp_path: Path) -> None:
    pytest.importorskip("modal", reason="modal is not installed")
    text = (made / "modal" / "modal_app.py").read_text(encoding="utf-8")
    for content, fine in ((text, True), (text.replace("startup_timeout", "startup_time"), False)):
        (tmp_path / "modal_app.py").write_text(content, encoding="utf-8")
        code = "import modal_app; print(modal_app.app.name)"
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert (done.stdout == "my-voice\n") == fine, done.stderr


def test_the_files_of_containers_are_pinned_want_a_key_and_run_as_no_root(made: Path) -> None:
    lines = (made / "docker" / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert any(re.fullmatch(r"FROM python:\d+\.\d+\.\d+-slim", line) for line in lines)
    assert lines.index("USER 10001") < next(at for at, line in enumerate(lines) if line.startswith("ENTRYPOINT"))
    for line in (line for line in lines if line.startswith(("CMD", "ENTRYPOINT"))):
        assert isinstance(json.loads(line.partition(" ")[2]), list)
    (service,) = yaml.safe_load((made / "docker" / "compose.yaml").read_text(encoding="utf-8"))["services"].values()
    assert service["ports"] == ["127.0.0.1:8000:8000"] and ":?" in service["environment"]["TUNESMITH_SERVE_KEY"]
    assert int(service["stop_grace_period"].removesuffix("s")) > 65
    app = ast.parse((made / "modal" / "modal_app.py").read_text(encoding="utf-8"))
    assert any(isinstance(node, ast.FunctionDef) and node.name == "serve" for node in app.body)
    template = json.loads((made / "runpod" / "runpod-template.json").read_text(encoding="utf-8"))
    assert "RUNPOD_SECRET" in template["env"]["TUNESMITH_SERVE_KEY"] and template["args"].startswith("mine=/models/mine --host")


def test_the_application_for_ray_builds_the_server_of_the_copied_models(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray is not installed here: a stand-in hands out what its decorators get. benchmarks/serve_ray.py runs the real one."""
    folder = made / "ray"
    found: dict[str, Any] = {}

    def ingress(build: Any) -> Any:
        found["build"] = build
        return lambda cls: cls

    def deployment(cls: Any) -> Any:
        cls.bind = classmethod(lambda cls: cls.__name__)
        return cls

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(serve=SimpleNamespace(ingress=ingress, deployment=deployment)))
    monkeypatch.setenv("TUNESMITH_SERVE_KEY", KEY)
    names = runpy.run_path(str(folder / "ray_app.py"))
    wanted = found["build"]()._wanted
    (model,) = wanted.references
    assert model.name == "mine" and (Path(model.reference) / "model.safetensors").is_file()
    assert wanted.keys and wanted.config.allow_hosts == ["*"] and wanted.traffic.database == folder / ".tunesmith" / "serve.db"
    config = yaml.safe_load((folder / "serve.yaml").read_text(encoding="utf-8"))
    (application,) = config["applications"]
    (server,) = application["deployments"]
    assert application["import_path"] == "ray_app:app" and server["name"] == names["app"]
    assert server["ray_actor_options"]["memory"] > 1536 * 2**20 and config["http_options"]["host"] == "127.0.0.1"
    monkeypatch.delenv("TUNESMITH_SERVE_KEY")
    with pytest.raises(EngineError, match="needs a key"):
        found["build"]()


def test_the_configuration_for_ray_is_valid_by_its_schema(made: Path) -> None:
    schema = pytest.importorskip("ray.serve.schema", reason="ray[serve] is not installed")
    config = yaml.safe_load((made / "ray" / "serve.yaml").read_text(encoding="utf-8"))
    schema.ServeDeploySchema.model_validate(config)
    config["applications"][0]["deployments"][0]["num_replicas"] = -2  # planted
    with pytest.raises(ValueError, match="num_replicas"):
        schema.ServeDeploySchema.model_validate(config)


def test_the_command_of_the_container_serves_takes_feedback_and_ends_in_order(made: Path, tmp_path: Path) -> None:
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    lines = (made / "docker" / "Dockerfile").read_text(encoding="utf-8").splitlines()
    (line,) = [one for one in lines if one.startswith("CMD")]
    words = [word.replace("/models/", f"{made}/docker/models/") for word in json.loads(line.partition(" ")[2])]
    words[words.index("--port") + 1], words[words.index("--pause") + 1] = "0", "0"
    words[words.index("--host") + 1] = "127.0.0.1"
    heard, said = os.pipe()
    child = os.fork()  # everything is imported already, which takes ten times as long as the rest
    if child == 0:
        os.environ["TUNESMITH_SERVE_KEY"] = KEY
        _serve([*words, "--project", str(tmp_path), "--json"], said)
    os.close(said)
    try:
        with os.fdopen(heard, "rb") as pipe:
            ready = orjson.loads(pipe.readline() or b"{}")
        head = {"Authorization": f"Bearer {KEY}"}
        body = chat_body("Tea?", "mine", max_tokens=4)
        answer = urllib3.request("POST", f"{ready['url']}/v1/chat/completions", json=body, headers=head).json()
        thumb = {"response_id": answer["id"], "thumb": "up"}
        assert urllib3.request("POST", f"{ready['url']}/v1/feedback", json=thumb, headers=head).status == 200
        assert urllib3.request("POST", f"{ready['url']}/v1/feedback", json=thumb).status == 401
    finally:
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0 and (tmp_path / ".tunesmith" / "serve.db").is_file()


def _serve(words: list[str], said: int) -> None:
    """`tunesmith serve` in this process, its output into the pipe."""
    code = 1
    try:
        sys.stdout = os.fdopen(said, "w", encoding="utf-8")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        main(["serve", *words])
        code = 0
    finally:
        os._exit(code)


def test_what_cannot_be_deployed_is_refused(made: Path, tmp_path: Path) -> None:
    base = str(made / "tiny")
    for target, out, name in (
        ("docker", made / "docker", "a"),
        ("heroku", tmp_path / "x", "a"),
        ("docker", tmp_path / "y", "A b"),
    ):
        with pytest.raises(EngineError):
            deploy([base], target, out, name=name, project=tmp_path)
    (tmp_path / "adapter").mkdir()
    with pytest.raises(ModelError, match="whole"):
        deploy([f"{base}+{tmp_path / 'adapter'}"], "docker", tmp_path / "z", project=tmp_path)
