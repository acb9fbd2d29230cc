# One image for every role: `docker run hookstream router`. PYTHON_IMAGE may be any with Python >= 3.11 as `python3`.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /source
COPY . .
# The versions that the tests ran with; without their hashes, which pip would then ask of our own wheel, too.
RUN grep -v -e '--hash=' requirements-dev.lock | sed -e 's/ *\\$//' > /constraints.txt \
 && python3 -m venv /opt/hookstream \
 && /opt/hookstream/bin/python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels . \
 && wheel=$(ls /wheels/hookstream-*.whl) \
 && /opt/hookstream/bin/python -m pip install --no-cache-dir --constraint /constraints.txt "${wheel}[server,otel]"

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/hookstream /opt/hookstream
ENV PATH=/opt/hookstream/bin:$PATH PYTHONUNBUFFERED=1
# Nothing is written in the container, and nobody in it is anybody.
USER 10001:10001
STOPSIGNAL SIGTERM
ENTRYPOINT ["hookstream"]
CMD ["--help"]
