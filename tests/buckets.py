"""A bucket for tests: moto's server, which speaks S3 over HTTP."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from moto.server import ThreadedMotoServer
from pydantic import SecretStr


@contextmanager
def bucket_server() -> Iterator[str]:
    """Its address."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def new_bucket(endpoint: str) -> dict[str, Any]:
    """Settings of a store in a fresh bucket there."""
    name = f"vault-{secrets.token_hex(4)}"
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="a",
                          aws_secret_access_key="b")  # fmt: skip
    client.create_bucket(Bucket=name)
    return {"storage_url": f"s3://{name}/some/where", "s3_endpoint": endpoint, "s3_region": "us-east-1",
            "s3_access_key": SecretStr("a"), "s3_secret_key": SecretStr("b")}  # fmt: skip
