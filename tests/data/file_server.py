"""A web server on this machine that misbehaves as told: for tests of downloads."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Files:
    """What is served (path without the slash -> bytes), how, and what was asked for."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.ranges = True  # whether it can send the rest of a file
        self.says_length = True
        self.breaks_after: list[int] = []  # bytes after which a connection is cut: one for each of the next answers
        self.codes: list[int] = []  # instead of the next answers
        self.asked: list[tuple[str, str]] = []  # path, Range
        self.address = ""
        self.slow: threading.Event | None = None  # waits for it after the first half


class Handler(http.server.BaseHTTPRequestHandler):
    files: Files

    def do_GET(self) -> None:
        files, name = self.files, self.path.lstrip("/")
        wanted = self.headers.get("Range", "")
        files.asked.append((name, wanted))
        if name in files.redirects:
            self.send_response(302)
            self.send_header("Location", files.redirects[name])
            self.end_headers()
            return
        if files.codes or name not in files.content:
            self.send_error(files.codes.pop(0) if files.codes else 404)
            return
        body = files.content[name]
        start = 0
        if wanted and files.ranges:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        else:
            self.send_response(200)
        body = body[start:]
        if files.says_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if files.breaks_after:
            body = body[: files.breaks_after.pop(0)]
        if files.slow is not None:
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            files.slow.wait(60)
            body = body[len(body) // 2 :]
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Files]:
    """The server, for as long as the block lasts."""
    files = Files()
    handler = type("Handler", (Handler,), {"files": files})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    files.address = f"http://127.0.0.1:{server.server_address[1]}/"
    try:
        yield files
    finally:
        if files.slow is not None:
            files.slow.set()
        server.shutdown()
        server.server_close()
