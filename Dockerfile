# A server for exported models: no torch, no compiler, not root, nothing that it writes.
#
#   docker build -t onelayer .
#   docker run -p 127.0.0.1:8080:8080 -v ./runs/sentiment-int8:/models/sentiment:ro \
#       onelayer /models/sentiment
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev
RUN python -m venv --without-pip /opt/onelayer
WORKDIR /source
COPY . .
# The final stage can't write, so bytecode is made here.
RUN pip --python /opt/onelayer install --no-cache-dir --compile -c constraints.txt '.[serve]'
# The native engine, for this machine's processor. On any other one ONNX Runtime takes its place.
RUN mkdir /cache && \
    (CC=cc XDG_CACHE_HOME=/cache /opt/onelayer/bin/python -m onelayer.runtime.native || true)

FROM python:${PYTHON}-slim
COPY --from=build /opt/onelayer /opt/onelayer
COPY --from=build /cache /cache
# CC is only a name here: a library is known by what compiled it.
ENV PATH=/opt/onelayer/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/cache \
    CC=cc
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s CMD \
    ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health/ready', timeout=2)"]
# 127.0.0.1 would be the container's own; what reaches it is decided by -p.
ENTRYPOINT ["onelayer", "serve", "--host", "0.0.0.0", "--port", "8080"]
CMD ["/models/model"]
