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
USER tunesmith
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
  "imageName": "registry.example.com/$name:$version",
  "category": "CPU",
  "isPublic": false,
  "isServerless": false,
  "containerDiskInGb": $disk_gb,
  "volumeInGb": 10,
  "volumeMountPath": "/data",
  "ports": ["8000/http"],
  "env": {"TUNESMITH_SERVE_KEY": "{{ RUNPOD_SECRET_tunesmith_serve_key }}"},
  "dockerStartCmd": [$runpod_command],
  "readme": "Build the Dockerfile and push it first. Not run by Tunesmith: the keys and the pins are checked alone."
}
"""

TEMPLATES: Mapping[str, Mapping[str, str]] = {
    "docker": {"Dockerfile": _DOCKERFILE, "compose.yaml": _COMPOSE},
    "systemd": {"$name.service": _UNIT},
    "kubernetes": {"Dockerfile": _DOCKERFILE, "kubernetes.yaml": _KUBERNETES},
    "modal": {"modal_app.py": _MODAL},
    "runpod": {"Dockerfile": _DOCKERFILE, "runpod-template.json": _RUNPOD},
}
"""Files of each target, by name."""


def filled(target: str, values: Mapping[str, str]) -> dict[str, str]:
    """The files of a target. KeyError for a target or a value that is missing."""
    known = {"probe": _PROBE, **values}
    return {Template(name).substitute(known): Template(text).substitute(known) for name, text in TEMPLATES[target].items()}
