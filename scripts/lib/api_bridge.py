"""Gives the local API, which is on a Unix socket, a port of this machine: `api_bridge.py SOCKET PORT`.

A test tool: whoever reaches the port speaks as the user. scripts/api-fuzz runs it in a network of its own. A stream of
events has no end, and the tools that test an API wait for one: the bridge ends it after a moment.
"""

import http.client
import http.server
import socket
import sys
import time

# Time that a stream of events is read, seconds.
STREAM = 0.3
# Time that an answer may take, seconds: look-ups of devices that are nowhere take up to twenty.
PATIENCE = 60
# Headers of one connection only (RFC 9110, 7.6.1), and those that the bridge sets itself.
OWN = {"connection", "keep-alive", "transfer-encoding", "content-length", "date"}


class Unix(http.client.HTTPConnection):
    """A connection to the socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)

    def send(self, data):
        # A request may be refused before all of it was taken: the answer is there to be read.
        try:
            super().send(data)
        except (BrokenPipeError, ConnectionResetError):
            pass


def stream(answer, connection):
    """What a stream of events brings within the moment that it is read."""
    end = time.monotonic() + STREAM
    body = b""
    try:
        while (left := end - time.monotonic()) > 0:
            connection.sock.settimeout(left)
            piece = answer.read1(65536)
            if not piece:
                break
            body += piece
    except TimeoutError:
        pass
    # An event that was cut is none.
    whole = body.rfind(b"\n\n")
    return body[: whole + 2] if whole >= 0 else b""


class Bridge(http.server.BaseHTTPRequestHandler):
    """Passes each request on, and its answer back."""

    protocol_version = "HTTP/1.1"

    def pass_on(self):
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length) if length else None
        headers = {name: value for name, value in self.headers.items() if name.lower() not in OWN}
        connection = Unix(self.server.path)
        try:
            connection.request(self.command, self.path, body, headers)
            # The socket is kept: an answer that ends with its connection takes it from there.
            connection_socket = connection.sock
            answer = connection.getresponse()
            connection.sock = connection_socket
            of_events = answer.headers.get_content_type() == "text/event-stream"
            content = stream(answer, connection) if of_events else answer.read()
        except OSError as error:
            self.send_error(502, f"the daemon: {error}")
            return
        finally:
            connection.close()
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.headers.items():
            if name.lower() not in OWN:
                self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.pass_on
        raise AttributeError(name)

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Bridge)
    server.path = sys.argv[1]
    server.serve_forever()
