"""The texts of deployment files. `$NAME` is replaced; `$$` is a dollar."""

from __future__ import annotations

from collections.abc import Mapping
from string import Template

__all__ = ["TEMPLATES", "filled"]

_DOCKERFILE = """\
# docker build -t $name . && docker run --rm -p 127.0.0.1:8000:8000 -v $name-data:/data -e TUNESMITH_SERVE_KEY="$$KEY" $name
# Not run by Tunesmith: its instructions, pins and key are checked.
FROM python:3.12.12-slim
RUN pip install --no-cache-dir 'tunesmith[serve]==$version' && useradd --uid 10001 --create-home tunesmith \\
    && mkdir /data && chown tunesmith /data
COPY --chown=tunesmith models /models
USER 10001
WORKDIR /data
VOLUME /data
ENV HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --start-period=300s CMD ["python", "-c", "$probe"]
ENTRYPOINT ["tunesmith", "serve"]
CMD [$docker_command]
"""

_PROBE = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz?ready', timeout=5)"

_COMPOSE = """\
# TUNESMITH_SERVE_KEY=… docker compose up --build
services:
  $name:
    build: .
    environment:
      TUNESMITH_SERVE_KEY: $${TUNESMITH_SERVE_KEY:?set a key of 16 characters or more}
    ports: ["127.0.0.1:8000:8000"]
    volumes: ["data:/data"]
    read_only: true
    tmpfs: [/tmp]
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    mem_limit: ${memory_mib}m
    stop_grace_period: ${grace}s
    restart: unless-stopped
volumes:
  data: {}
"""

_UNIT = """\
# /etc/systemd/system/$name.service. Copy models/ to /srv/$name/models, and write the key to /etc/$name.env (mode 0600):
#   TUNESMITH_SERVE_KEY=…
[Unit]
Description=Tunesmith: $models
After=network-online.target
Wants=network-online.target

[Service]
Type=exec
DynamicUser=yes
StateDirectory=$name
WorkingDirectory=/var/lib/$name
EnvironmentFile=/etc/$name.env
Environment=HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1 TUNESMITH_CACHE=/var/lib/$name/cache
ExecStart=/opt/tunesmith/bin/tunesmith serve $unit_command
KillSignal=SIGTERM
TimeoutStopSec=$grace
Restart=on-failure
RestartSec=5
MemoryMax=${memory_mib}M
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictSUIDSGID=yes
LockPersonality=yes
CapabilityBoundingSet=
SystemCallArchitectures=native

[Install]
WantedBy=multi-user.target
"""

_KUBERNETES = """\
# Build the image of the Dockerfile, push it, set `image`; then:
#   kubectl create secret generic $name --from-literal=key="$$KEY" && kubectl apply -f kubernetes.yaml
# One replica, because SQLite is on its volume; for more, give --database postgresql://… and take the volume out.
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: $name}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 10Gi}}
---
apiVersion: v1
kind: Service
metadata: {name: $name}
spec:
  selector: {app: $name}
  ports: [{name: http, port: 8000, targetPort: http}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: $name}
spec:
  replicas: 1
  strategy: {type: Recreate}
  selector: {matchLabels: {app: $name}}
  template:
    metadata: {labels: {app: $name}}
    spec:
      terminationGracePeriodSeconds: $grace
      automountServiceAccountToken: false
      securityContext: {runAsNonRoot: true, runAsUser: 10001, fsGroup: 10001, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: server
          image: registry.example.com/$name:$version
          args: [$kubernetes_command]
          env:
            - name: TUNESMITH_SERVE_KEY
              valueFrom: {secretKeyRef: {name: $name, key: key}}
          ports: [{name: http, containerPort: 8000}]
          startupProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 5, failureThreshold: 120}
          readinessProbe: {httpGet: {path: "/healthz?ready", port: http}, periodSeconds: 2, failureThreshold: 1}
          livenessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 10, failureThreshold: 6}
          resources:
            requests: {cpu: "1", memory: ${memory_mib}Mi}
            limits: {memory: ${memory_mib}Mi}
          securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
          volumeMounts: [{name: data, mountPath: /data}, {name: tmp, mountPath: /tmp}]
      volumes:
        - {name: data, persistentVolumeClaim: {claimName: $name}}
        - {name: tmp, emptyDir: {}}
"""

_MODAL = '''\
"""Tunesmith on Modal. Not run by Tunesmith: compiled alone.

modal secret create $name-key TUNESMITH_SERVE_KEY=…
modal deploy modal_app.py
"""

import subprocess

import modal

image = (
    modal.Image.debian_slim(python_version="3.12")
    .uv_pip_install("tunesmith[serve]==$version")
    .env({"HF_HUB_OFFLINE": "1"})
    .add_local_dir("models", "/models")
)
app = modal.App("$name")
data = modal.Volume.from_name("$name-data", create_if_missing=True)


@app.function(
    image=image,
    memory=$memory_mib,
    max_containers=1,
    volumes={"/data": data},
    secrets=[modal.Secret.from_name("$name-key", required_keys=["TUNESMITH_SERVE_KEY"])],
    scaledown_window=300,
    timeout=600,
)
@modal.concurrent(max_inputs=32)
@modal.web_server(port=8000, startup_timeout=600)
def serve() -> None:
    """Start the server; Modal forwards its port to an address of its own."""
    subprocess.Popen(["tunesmith", "serve", $modal_command], cwd="/data")
'''

_RUNPOD = """\
{
  "name": "$name-$version",
  "image": "registry.example.com/$name:$version",
  "args": "$runpod_command",
  "category": "CPU",
  "public": false,
  "serverless": false,
  "startJupyter": false,
  "startSsh": false,
  "disk": $disk_gb,
  "mounts": {"persistent": {"size": 10, "path": "/data"}},
  "ports": ["8000/http"],
  "env": {"TUNESMITH_SERVE_KEY": "{{ RUNPOD_SECRET_tunesmith_serve_key }}"}
}
"""

_RAY_APP = '''\
"""Tunesmith on Ray Serve: replicas of one server behind Ray's proxies. Every machine needs this folder under the same path.

pip install -r requirements.txt
export TUNESMITH_SERVE_KEY=…                on every machine, before Ray is started: the replicas inherit it
ray start --head                            on the others: ray start --address HEAD:6379
serve run serve.yaml                        in this folder

Feedback is in SQLite in this folder. On more than one machine set TUNESMITH_SERVE_DATABASE=postgresql://… as well.
"""

import os
from pathlib import Path

from ray import serve

from tunesmith import AsgiApp, asgi_app

HERE = Path(__file__).resolve().parent


def build() -> AsgiApp:
    """The server of one replica, which opens the models when it starts."""
    return asgi_app(
        [$ray_models],
        project=HERE,
        database=os.environ.get("TUNESMITH_SERVE_DATABASE", ""),
        allow_hosts=["*"],
    )


@serve.deployment
@serve.ingress(build)
class Server:
    """A replica."""

    async def check_health(self) -> None:
        """Ray replaces a replica of which an engine cannot work."""
        await self.app.check_health()


app = Server.bind()
'''

_RAY_CONFIG = """\
# serve run serve.yaml (see ray_app.py). To be reached from other machines: host 0.0.0.0
proxy_location: EveryNode
http_options: {host: 127.0.0.1, port: 8000, keep_alive_timeout_s: 75}
applications:
  - name: $name
    route_prefix: /
    import_path: ray_app:app
    deployments:
      - name: Server
        num_replicas: 2
        max_ongoing_requests: 64
        graceful_shutdown_wait_loop_s: 1
        graceful_shutdown_timeout_s: $grace
        health_check_period_s: 10
        health_check_timeout_s: 30
        ray_actor_options: {num_cpus: 1, memory: $memory_bytes}
"""

_RAY_REQUIREMENTS = """\
tunesmith[serve]==$version
ray[serve]==2.60.0
"""

TEMPLATES: Mapping[str, Mapping[str, str]] = {
    "docker": {"Dockerfile": _DOCKERFILE, "compose.yaml": _COMPOSE},
    "systemd": {"$name.service": _UNIT},
    "kubernetes": {"Dockerfile": _DOCKERFILE, "kubernetes.yaml": _KUBERNETES},
    "modal": {"modal_app.py": _MODAL},
    "ray": {"ray_app.py": _RAY_APP, "serve.yaml": _RAY_CONFIG, "requirements.txt": _RAY_REQUIREMENTS},
    "runpod": {"Dockerfile": _DOCKERFILE, "runpod-template.json": _RUNPOD},
}
"""Files of each target, by name."""


def filled(target: str, values: Mapping[str, str]) -> dict[str, str]:
    """The files of a target. KeyError for a target or a value that is missing."""
    known = {"probe": _PROBE, **values}
    return {Template(name).substitute(known): Template(text).substitute(known) for name, text in TEMPLATES[target].items()}
