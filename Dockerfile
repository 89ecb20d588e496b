# Whoever has looked at the image pins it: …-slim-trixie@sha256:… The registry may give a tag to another image.
FROM python:3.12.13-slim-trixie
# A volume that is mounted at /var/outputs for the first time belongs to whom this folder belongs.
RUN useradd --uid 10001 --create-home worker && install --directory --owner worker --mode 700 /var/outputs
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY workflow_state ./workflow_state
# The code is root's, and the worker only reads it.
RUN pip install --no-cache-dir --constraint constraints.txt '.[encryption,flower]'
# A number: Kubernetes can tell from it that this is not root (runAsNonRoot).
USER 10001
# Action definitions are mounted here. The root may be read-only: nothing but /tmp and /var/outputs is written to.
ENV WORKFLOW_STATE_ACTIONS=/app/actions PYTHONDONTWRITEBYTECODE=1
HEALTHCHECK --interval=30s --timeout=15s --start-period=20s \
    CMD ["sh", "-c", "celery -A workflow_state inspect ping --destination celery@$HOSTNAME --timeout 5"]
CMD ["celery", "-A", "workflow_state", "worker"]
