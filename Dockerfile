FROM python:3.12-slim
RUN useradd --create-home worker
WORKDIR /app
COPY pyproject.toml README.md LICENSE ./
COPY workflow_state ./workflow_state
RUN pip install --no-cache-dir '.[flower]'
USER worker
# Action definitions are mounted here.
ENV WORKFLOW_STATE_ACTIONS=/app/actions
CMD ["celery", "-A", "workflow_state", "worker"]
