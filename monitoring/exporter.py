"""`python -m monitoring.exporter`: the metrics of one node on a port of its own, for Prometheus alone.

Behind Serve's proxy a scrape reaches a replica of any node, so that one node's counters were told as all nodes'. This
process reads the folder that the node's processes write to, and nothing else: it needs no secret and no database.
"""

from __future__ import annotations

import argparse
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from monitoring import instruments

PORT = 9464


class Exporter(ThreadingHTTPServer):
    """Answers GET /metrics and GET /healthz."""

    daemon_threads = True

    def __init__(self, folder: Path, host: str, port: int) -> None:
        super().__init__((host, port), _Handler)
        self.folder = folder


class _Handler(BaseHTTPRequestHandler):
    timeout = 10
    server: Exporter

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._respond(HTTPStatus.OK, *instruments.render(self.server.folder))
        elif path == "/healthz":
            self._respond(HTTPStatus.OK, b"ok\n")
        else:
            self._respond(HTTPStatus.NOT_FOUND, b"there is /metrics here, and /healthz\n")

    def _respond(self, status: HTTPStatus, body: bytes, content_type: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        return "quantis"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing of answers; errors are logged."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m monitoring.exporter", description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="the node's PROMETHEUS_MULTIPROC_DIR")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: this machine alone)"
    )
    parser.add_argument("--port", type=int, default=PORT, help=f"port to listen on (default {PORT})")
    arguments = parser.parse_args()
    Exporter(arguments.folder, arguments.host, arguments.port).serve_forever()


if __name__ == "__main__":
    main()
