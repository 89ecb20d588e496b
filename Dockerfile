FROM python:3.12-slim
# A volume that is mounted at /var/outputs for the first time belongs to whom this folder belongs.
RUN useradd --create-home worker && install --directory --owner worker --mode 700 /var/outputs
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY workflow_state ./workflow_state
RUN pip install --no-cache-dir --constraint constraints.txt '.[flower]'
USER worker
# Action definitions are mounted here.
ENV WORKFLOW_STATE_ACTIONS=/app/actions
CMD ["celery", "-A", "workflow_state", "worker"]
