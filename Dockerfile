FROM python:3.13-slim AS builder

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_ROOT_USER_ACTION=ignore
WORKDIR /srv/eventstore

# Before the project's own files, so that a change of code does not install the packages again.
COPY requirements-runtime.lock ./
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --require-hashes -r requirements-runtime.lock

# Editable: the migrations are found beside the package, as in a checkout. The tools that
# installed have no use in a running service.
COPY pyproject.toml LICENSE ./
RUN /opt/venv/bin/pip install --no-deps --no-build-isolation --editable . \
    && /opt/venv/bin/python -m pip uninstall --yes setuptools pip


FROM python:3.13-slim

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0
WORKDIR /srv/eventstore

COPY --from=builder /opt/venv /opt/venv
COPY LICENSE pyproject.toml alembic.ini ./
COPY alembic ./alembic
COPY app ./app
# Now, because the service's user may not write here later.
RUN python -m compileall -q app alembic

# A number, so that an orchestrator can tell that it is not root; without a home or a shell.
USER 10001:10001

EXPOSE 8000
# http.client, unlike urllib and httpx, asks no proxy that the environment may name.
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 \
    CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('localhost', int(os.environ.get('PORT') or 8000), timeout=4); c.request('GET', '/health/live'); sys.exit(c.getresponse().status != 200)"]
CMD ["eventstore", "serve"]
