# The controller in a container. It reaches its nodes over SSH, so it needs neither Docker nor a privilege of any kind.
#
#   pip wheel --wheel-dir wheels . && pip download --dest wheels pip
#   docker build --tag playbook-kernel .
#   docker run --rm -v "$PWD/config:/workspace/playbook/config" -v "$PWD/results:/workspace/playbook/results" playbook-kernel status
#
# Nothing is downloaded while it is built: all packages lie in wheels/. BASE: any image with Python 3.11 or later, of the
# version that the wheels were made for.
ARG BASE=python:3.11-slim
FROM ${BASE} AS build
COPY wheels /wheels
# pip runs from its own wheel, so the base needs neither pip nor ensurepip.
RUN python3 -m venv --without-pip /opt/playbook-kernel \
 && PYTHONPATH="$(echo /wheels/pip-*.whl)" /opt/playbook-kernel/bin/python3 -m pip install \
    --no-cache-dir --no-index --find-links /wheels playbook-kernel

FROM ${BASE}
COPY --from=build /opt/playbook-kernel /opt/playbook-kernel
ENV PATH=/opt/playbook-kernel/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /workspace/playbook
# Mount points; and whoever runs it (--user) may write beside them.
RUN mkdir -p config results logs && chmod 1777 . results logs
ENTRYPOINT ["playbook-kernel"]
CMD ["--help"]
