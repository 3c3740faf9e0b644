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
# The native engine, for processors with AVX-512 VNNI; on others ONNX Runtime takes its place. On
# machines of another kind than x86-64 it isn't built.
RUN /opt/onelayer/bin/python -m onelayer.engines.native.library || test "$(uname -m)" != x86_64

FROM python:${PYTHON}-slim
COPY --from=build /opt/onelayer /opt/onelayer
# What is measured of the machine is kept here: a volume saves measuring it again.
RUN install -d -o 10001 -g 10001 /cache
ENV PATH=/opt/onelayer/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/cache
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s CMD \
    ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health/ready', timeout=2)"]
# 127.0.0.1 would be the container's own; what reaches it is decided by -p.
ENTRYPOINT ["onelayer", "serve", "--host", "0.0.0.0", "--port", "8080"]
CMD ["/models/model"]
