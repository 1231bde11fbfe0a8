# vLLM with the merged folder. Not run by Tunesmith: checked for its instructions, pins and token alone.
#   docker build -f vllm.Dockerfile -t my-voice .               (next to the folder merged/)
#   docker run --rm --gpus all --ipc=host -p 127.0.0.1:8000:8000 -e VLLM_API_KEY="$(openssl rand -hex 24)" my-voice
# Adapters instead: copy the base to /model and add --enable-lora --lora-modules mine=/adapters/mine
FROM vllm/vllm-openai:v0.32.0
COPY merged /model
ENV VLLM_NO_USAGE_STATS=1 HF_HUB_OFFLINE=1
EXPOSE 8000
HEALTHCHECK --interval=30s --start-period=300s CMD ["curl", "-fsS", "http://127.0.0.1:8000/health"]
ENTRYPOINT ["/bin/sh", "-c", "exec vllm serve /model --served-model-name tuned --host 0.0.0.0 --port 8000 --max-model-len 512 --dtype bfloat16 --generation-config auto --api-key \"${VLLM_API_KEY:?set VLLM_API_KEY}\" \"$@\"", "sh"]
