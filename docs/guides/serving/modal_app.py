"""vLLM with the merged folder on Modal. Not run by Tunesmith: compiled and linted alone.

modal secret create tuned-key VLLM_API_KEY=…            the token that clients send
modal volume create tuned && modal volume put tuned ./merged /merged
modal deploy modal_app.py
"""

import os
import subprocess

import modal

PORT = 8000
CONTEXT = 512  # num_ctx of export.json

image = (
    modal.Image.debian_slim(python_version="3.12")
    .uv_pip_install("vllm==0.32.0")
    .env({"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"})
)
app = modal.App("tuned")
weights = modal.Volume.from_name("tuned")


@app.function(
    image=image,
    gpu="L4",
    volumes={"/weights": weights.read_only()},
    secrets=[modal.Secret.from_name("tuned-key", required_keys=["VLLM_API_KEY"])],
    scaledown_window=300,
    timeout=600,
)
@modal.concurrent(max_inputs=32)
@modal.web_server(port=PORT, startup_timeout=600)
def serve() -> None:
    """Start the server; Modal forwards its port to an address of its own."""
    settings = ["--served-model-name", "tuned", "--dtype", "bfloat16", "--max-model-len", str(CONTEXT)]
    where = ["--host", "0.0.0.0", "--port", str(PORT), "--api-key", os.environ["VLLM_API_KEY"]]
    subprocess.Popen(["vllm", "serve", "/weights/merged", *settings, *where])
