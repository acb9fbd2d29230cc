# One image for every role: `docker run hookstream router`. PYTHON_IMAGE may be any with Python >= 3.11 as `python3`. A
# deployment says which one by its digest, as a tag may be another image tomorrow: python:3.13-slim@sha256:...
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /source
COPY . .
# The very files that the tests ran with. Our own wheel is built here from the source, by the setuptools and the mypy of the
# tests, and is compiled: the build needs a C compiler, which a slim image gets from its distribution's packages.
RUN command -v cc >/dev/null || { apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev; } \
 && python3 -m venv /opt/hookstream \
 && /opt/hookstream/bin/python -m pip install --no-cache-dir --require-hashes --requirement requirements.lock \
 && python3 -m venv /build \
 && /build/bin/python -m pip install --no-cache-dir --require-hashes --requirement requirements-build.lock \
 && HOOKSTREAM_COMPILE=1 /build/bin/python -m pip wheel --no-cache-dir --no-index --no-build-isolation --no-deps \
    --wheel-dir /wheels . \
 && /opt/hookstream/bin/python -m pip install --no-cache-dir --no-index --no-deps /wheels/hookstream-*.whl

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/hookstream /opt/hookstream
ENV PATH=/opt/hookstream/bin:$PATH PYTHONUNBUFFERED=1
# Nothing is written in the container, and its user has no rights.
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["hookstream"]
CMD ["--help"]
