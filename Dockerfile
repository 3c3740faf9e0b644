# A server for exported models. The image has no torch and no compiler. The server runs without root
# and writes only its cache.
#
#   docker build -t onelayer .
#   docker run -p 127.0.0.1:8080:8080 -v ./runs/sentiment-int8:/models/sentiment:ro \
#       onelayer /models/sentiment
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends g++ libc6-dev
RUN python -m venv --without-pip /opt/onelayer
WORKDIR /source
COPY . .
# Builds libonelayer into the package. The server can't write bytecode at run time, so it is compiled
# here.
RUN pip --python /opt/onelayer install --no-cache-dir --compile -c constraints.txt '.[serve]'
# The native engine was compiled into the wheel: the image has no compiler to make up for it.
RUN /opt/onelayer/bin/python -c "from onelayer.engines.native.library import PREBUILT as p; p.stat()"

FROM python:${PYTHON}-slim
COPY --from=build /opt/onelayer /opt/onelayer
# Measurements of the machine are cached here. With a volume they outlive the container.
RUN install -d -o 10001 -g 10001 /cache
ENV PATH=/opt/onelayer/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/cache
USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s CMD \
    ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health/ready', timeout=2)"]
# Inside the container 127.0.0.1 can't be reached from outside. The -p flag decides who can connect.
ENTRYPOINT ["onelayer", "serve", "--host", "0.0.0.0", "--port", "8080"]
CMD ["/models/model"]
