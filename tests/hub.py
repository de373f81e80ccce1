"""A small Hub of our own: files under the Hub's addresses and under plain ones, and what can go wrong with them."""

import hashlib
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "5" * 40


class Hub:
    """Serves a folder: PATH as /files/PATH, and OWNER/NAME/PATH as /OWNER/NAME/resolve/REVISION/PATH.

    `faults` maps a path to what goes wrong: an HTTP status (404, 401, 503), an error code of the Hub ("GatedRepo",
    "RepoNotFound", "EntryNotFound"), "cut" (the first answer ends half way), "flip" (one byte differs) or "short" (the
    announced checksum is right, the end is missing), "no range" (every answer is the whole file), or "cdn" (the Hub
    sends on to another host, as it does for large files, and offers Xet besides). `requests` lists (method, path,
    Range) as they came, `tokens` what each showed as its right to ask.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults: dict[str, int | str] = {}
        self.requests: list[tuple[str, str, str | None]] = []
        self.tokens: list[str | None] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                hub.answer(self, body=False)

            def do_GET(self) -> None:
                hub.answer(self, body=True)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request: BaseHTTPRequestHandler, body: bool) -> None:
        span = request.headers.get("Range")
        parts = request.path.strip("/").split("/")
        name = "/".join(parts[:2] + parts[4:]) if "resolve" in parts else "/".join(parts[1:])
        self.requests.append((request.command, name, span))
        self.tokens.append(request.headers.get("Authorization"))
        fault, path = self.faults.get(name), self.folder / name
        if isinstance(fault, int) or fault in ("GatedRepo", "RepoNotFound", "EntryNotFound") or not path.is_file():
            status = fault if isinstance(fault, int) else 404 if fault in (None, "EntryNotFound") else 401
            request.send_response(status)
            if isinstance(fault, str) or not path.is_file():
                request.send_header("X-Error-Code", fault or "EntryNotFound")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        content = bytearray(path.read_bytes())
        digest = hashlib.sha256(content).hexdigest()
        if fault == "cdn" and "resolve" in parts:
            request.send_response(302)
            request.send_header("Location", f"http://localhost:{self.server.server_port}/files/{name}")
            request.send_header("X-Linked-Etag", f'"{digest}"')
            request.send_header("X-Linked-Size", str(len(content)))
            request.send_header("X-Repo-Commit", COMMIT)
            request.send_header("X-Xet-Hash", digest)
            request.send_header("X-Xet-Refresh-Route", f"{self.url}/xet/token")
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        if fault == "no range":
            span = None
        if fault == "flip":
            content[len(content) // 2] ^= 1
        if fault == "short":
            del content[-10:]
        start = int(span.split("=")[1].split("-")[0]) if span else 0
        request.send_response(206 if span else 200)
        request.send_header("ETag", f'"{digest}"')
        request.send_header("X-Repo-Commit", COMMIT)
        request.send_header("Accept-Ranges", "bytes")
        request.send_header("Content-Type", "application/octet-stream")
        request.send_header("Content-Disposition", f'attachment; filename="{path.name}"')
        request.send_header("Content-Length", str(len(content) - start))
        if span:
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        request.end_headers()
        if body:
            end = len(content)
            if fault == "cut":
                del self.faults[name]
                end = len(content) // 2
                request.close_connection = True
            with suppress(ConnectionError):  # of a client that has gone
                request.wfile.write(content[start:end])
