# One image for every role: `docker run hookstream router`. PYTHON_IMAGE may be any with Python >= 3.11 as `python3`. A
# deployment says which one by its digest, as a tag may be another image tomorrow: python:3.13-slim@sha256:...
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
RUN command -v cc >/dev/null && command -v strip >/dev/null \
 || { apt-get update && apt-get install --yes --no-install-recommends binutils gcc libc6-dev; }
WORKDIR /source
COPY . .
# The very files that the tests ran with. Our own wheel is built here from the source, by the setuptools and the mypy of the
# tests, and is compiled: the build needs a C compiler, which a slim image gets from its distribution's packages. What is
# installed has no pip, no symbols for debuggers, and bytecode of those modules alone that hookstream imports: half of
# what it would take.
RUN python3 -m venv --without-pip /opt/hookstream \
 && python3 -m venv /build \
 && /build/bin/python -m pip install --no-cache-dir --require-hashes --requirement requirements-build.lock \
 && HOOKSTREAM_COMPILE=1 /build/bin/python -m pip wheel --no-cache-dir --no-index --no-build-isolation --no-deps \
    --wheel-dir /wheels . \
 && install="/build/bin/python -m pip --python /opt/hookstream/bin/python install --no-cache-dir --no-compile" \
 && $install --require-hashes --requirement requirements.lock \
 && $install --no-index --no-deps /wheels/hookstream-*.whl \
 && find /opt/hookstream -type f \( -name '*.so' -o -name '*.so.*' \) -exec strip --strip-unneeded {} + \
 && cd / && /opt/hookstream/bin/python /source/.ci/import_all.py

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/hookstream /opt/hookstream
ENV PATH=/opt/hookstream/bin:$PATH PYTHONUNBUFFERED=1
# Nothing is written in the container, and its user has no rights.
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["hookstream"]
CMD ["--help"]
