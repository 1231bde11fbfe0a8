# llama.cpp's server with a GGUF file. Not run by Tunesmith: checked for its instructions, pins and token alone.
#   docker build -f llama-cpp.Dockerfile -t my-voice .          (next to model.gguf)
#   docker run --rm -p 127.0.0.1:8080:8080 -e LLAMA_API_KEY="$(openssl rand -hex 24)" my-voice
FROM ghcr.io/ggml-org/llama.cpp:server-b10488
COPY --chmod=0444 model.gguf /models/model.gguf
# num_ctx of export.json; template and end tokens are in the file
ENV LLAMA_ARG_MODEL=/models/model.gguf LLAMA_ARG_HOST=0.0.0.0 LLAMA_ARG_PORT=8080 LLAMA_ARG_CTX_SIZE=512
USER 65534
EXPOSE 8080
HEALTHCHECK --interval=30s --start-period=60s CMD ["curl", "-fsS", "http://127.0.0.1:8080/health"]
ENTRYPOINT ["/bin/sh", "-c", "exec /app/llama-server --jinja --api-key \"${LLAMA_API_KEY:?set LLAMA_API_KEY}\" \"$@\"", "sh"]
