"""Servers of object stores on this machine's loopback, and the settings by which their libraries find them."""

import contextlib
import http.server
import logging
import os
import threading
import uuid

import fsspec

# As `infoxlm_keras.files.storage` sets it, before gcsfs is imported.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
ACCOUNT = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
BUCKET = "bucket"


@contextlib.contextmanager
def settings(**variables):
    """Environment variables for the block; the libraries' clients are made anew in it and after it."""
    before = {name: os.environ.get(name) for name in variables}
    _set(variables)
    try:
        yield
    finally:
        _set(before)


def _set(variables):
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    for scheme in ("s3", "gs"):
        fsspec.get_filesystem_class(scheme).clear_instance_cache()


@contextlib.contextmanager
def s3():
    """Yields the address of a bucket in moto's S3 server."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        with settings(AWS_ENDPOINT_URL="http://{}:{}".format(*server.get_host_and_port()), **ACCOUNT):
            # Servers in one process share their objects.
            bucket = f"{BUCKET}-{uuid.uuid4().hex}"
            fsspec.filesystem("s3").mkdir(bucket)
            yield f"s3://{bucket}"
    finally:
        server.stop()


@contextlib.contextmanager
def gcs():
    """Yields the address of a bucket in an emulator of Google Cloud Storage."""
    from gcp_storage_emulator.server import create_server

    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket=BUCKET)
    server.start()
    fsspec.config.conf["gcs"] = {"token": "anon"}
    try:
        with settings(STORAGE_EMULATOR_HOST="http://{}:{}".format(*server._api._httpd.server_address)):
            yield f"gs://{BUCKET}"
    finally:
        del fsspec.config.conf["gcs"]
        server.stop()


@contextlib.contextmanager
def answering(status, code):
    """A server that answers everything with an error of S3: `status` (int), `code` (str)."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self):
            body = f"<Error><Code>{code}</Code><Message>{code} it is</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

        def log_message(self, *arguments):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with settings(AWS_ENDPOINT_URL=f"http://127.0.0.1:{server.server_address[1]}", **ACCOUNT):
            yield
    finally:
        server.shutdown()
        server.server_close()


def objects(address):
    """dict of name to bytes of every object below `address`."""
    files, path = fsspec.url_to_fs(address)
    files.invalidate_cache()
    return {name[len(path) :].lstrip("/"): files.cat_file(name) for name in files.find(path)}


def put(address, directory):
    """Copies the files of `directory` (path) below `address`."""
    files, path = fsspec.url_to_fs(address)
    for file in sorted(directory.rglob("*")):
        if file.is_file():
            files.pipe_file(f"{path}/{file.relative_to(directory).as_posix()}", file.read_bytes())
