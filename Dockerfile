# syntax=docker/dockerfile:1
# One image for web, worker, relay and migrations: the command decides.

FROM node:22-bookworm-slim AS node

FROM python:3.12-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
# npm only packs the front end; nothing of it stays but static/vendor.
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=node /usr/local/lib/node_modules/npm /usr/local/lib/node_modules/npm
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
RUN python -m venv /opt/venv
COPY requirements.txt ./
RUN /opt/venv/bin/pip install --no-cache-dir --requirement requirements.txt
COPY . .
RUN --mount=type=cache,target=/root/.npm /opt/venv/bin/python assets.py && rm -rf node_modules
RUN /opt/venv/bin/python -m compileall -q webapp tasks migrations wsgi.py

FROM python:3.12-slim-bookworm AS runtime
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    APP_ENV=production HOST=0.0.0.0 PORT=8000 VAR_DIR=/var/lib/holdfast
# A fixed number, so that nginx can read the blobs as the same user.
RUN groupadd --gid 10001 holdfast \
 && useradd --uid 10001 --gid holdfast --home-dir /var/lib/holdfast --no-create-home --shell /usr/sbin/nologin holdfast \
 && install --directory --owner holdfast --group holdfast --mode 0750 /var/lib/holdfast
WORKDIR /app
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
USER 10001:10001
VOLUME /var/lib/holdfast
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/health/live', timeout=2)"]
CMD ["python", "-m", "tasks.web"]
