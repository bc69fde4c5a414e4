"""An S3 server on this machine, with an empty bucket for each test."""

from __future__ import annotations

import urllib.request
import uuid
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """Address of moto's server, which keeps its objects in memory."""
    server_module = pytest.importorskip("moto.server")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def use_endpoint(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process find its S3 at ``endpoint``, with credentials that are not real."""
    import fsspec

    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("TLTOOL_OFFLINE", raising=False)
    fsspec.get_filesystem_class("s3").clear_instance_cache()  # they keep their endpoint


@pytest.fixture
def s3_bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a new bucket, which tltool reaches as ``s3://NAME``."""
    use_endpoint(s3_endpoint, monkeypatch)
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    request = urllib.request.Request(f"{s3_endpoint}/{name}", method="PUT")
    urllib.request.urlopen(request, timeout=30).close()
    return name
