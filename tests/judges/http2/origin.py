"""An HTTP/1.1 origin for a proxy under test: keeps every byte that reaches it, and reads requests strictly.

What it answers is by the path; all else gets `BODY`. Where a request makes no sense it says 400 and closes.
"""

import base64
import collections
import hashlib
import re
import socket
import threading

BODY = b"hello from the origin\n"
LARGE = bytes(range(256)) * 1200

Request = collections.namedtuple("Request", "line fields body trailers")
HEAD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*\Z")


def answer(status, *fields, body=None):
    lines = [f"HTTP/1.1 {status}".encode(), *fields]
    if body is not None:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + (body or b"")


def chunked(*chunks):
    return b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)


# (what is sent, whether the connection ends then)
ANSWERS = {
    b"/large": (answer("200 OK", body=LARGE), False),
    b"/chunked": (
        answer("200 OK", b"Transfer-Encoding: chunked") + chunked(BODY, BODY) + b"0\r\nX-Sum: 7\r\n\r\n",
        False,
    ),
    b"/interim": (answer("103 Early Hints", b"Link: </a>") + answer("200 OK", body=BODY), False),
    b"/hop": (
        answer(
            "200 OK",
            b"Connection: close, X-Drop",
            b"X-Drop: 1",
            b"Keep-Alive: timeout=5",
            b"Proxy-Connection: close",
            b"X-Upper: Kept",
            body=BODY,
        ),
        True,
    ),
    b"/short": (answer("200 OK", b"Content-Length: 100000") + bytes(50000), True),
    b"/cut": (answer("200 OK", b"Transfer-Encoding: chunked") + chunked(bytes(50000)), True),
    b"/204": (answer("204 No Content"), False),
    b"/304": (answer("304 Not Modified", b"Content-Length: 22"), False),
}


class Origin:
    """Listens until the process ends."""

    def __init__(self, address):
        self.raw, self.requests, self.lock = [], [], threading.Lock()
        self.listener = socket.create_server(address, backlog=1024)
        threading.Thread(target=self.accept, daemon=True).start()

    def saw(self, token):
        """Whether a byte string is in anything that came."""
        with self.lock:
            return any(token in bytes(stream) for stream in self.raw)

    def whole(self, token):
        """The whole requests whose head has a byte string."""
        with self.lock:
            return [
                request
                for request in self.requests
                if token in request.line or any(token in value for _, value in request.fields)
            ]

    def accept(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        stream = bytearray()
        with self.lock:
            self.raw.append(stream)
        with connection:
            try:
                reader = Reader(connection, stream, self.lock)
                while self.exchange(reader, connection):
                    pass
            except (OSError, EOFError):
                pass
            except ValueError as error:
                connection.sendall(answer("400 Bad Request", b"Connection: close", body=str(error).encode()))

    def exchange(self, reader, connection):
        """One request and its answer; whether another may follow."""
        lines = reader.until(b"\r\n\r\n")[:-4].split(b"\r\n")
        line, fields = lines[0], [field(text) for text in lines[1:]]
        if not re.fullmatch(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+ [\x21-\x7e\x80-\xff]+ HTTP/1\.1", line):
            raise ValueError(f"request line {line!r}")
        method, target, _ = line.split(b" ")
        if dict(fields).get(b"expect", b"").lower() == b"100-continue":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body, trailers = read_body(reader, fields)
        with self.lock:
            self.requests.append(Request(line, [pair for pair in named(lines[1:])], body, trailers))
        if dict(fields).get(b"upgrade", b"").lower() == b"websocket":
            return tunnel(reader, connection, dict(fields))
        sent, ends = ANSWERS.get(target.split(b"?")[0], (answer("200 OK", body=BODY), False))
        if method == b"HEAD":
            sent = sent.split(b"\r\n\r\n")[0] + b"\r\n\r\n"
        connection.sendall(sent)
        return not ends


class Reader:
    """A connection's bytes, each of which is kept."""

    def __init__(self, connection, stream, lock):
        self.connection, self.stream, self.lock, self.at = connection, stream, lock, 0

    def more(self):
        piece = self.connection.recv(65536)
        if not piece:
            raise EOFError
        with self.lock:
            self.stream += piece
        return piece

    def until(self, end):
        while (found := self.stream.find(end, self.at)) < 0:
            self.more()
        return self.take(found + len(end) - self.at)

    def take(self, count):
        while len(self.stream) < self.at + count:
            self.more()
        taken = bytes(self.stream[self.at : self.at + count])
        self.at += count
        return taken


def field(text):
    found = HEAD.fullmatch(text)
    if not found:
        raise ValueError(f"field line {text!r}")
    return found[1].lower(), found[2]


def named(lines):
    """Fields with their names as they came."""
    return [tuple(HEAD.fullmatch(text).groups()) for text in lines]


def read_body(reader, fields):
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    if lengths and codings:
        raise ValueError("two framings")
    if codings:
        if codings != [b"chunked"]:
            raise ValueError(f"codings {codings!r}")
        body = b""
        while size := int(reader.until(b"\r\n")[:-2], 16):
            body += reader.take(size)
            if reader.take(2) != b"\r\n":
                raise ValueError("a chunk does not end where it says")
        trailers = []
        while line := reader.until(b"\r\n")[:-2]:
            trailers.append(field(line))
        return body, trailers
    if len(lengths) > 1 or (lengths and not re.fullmatch(rb"[0-9]+", lengths[0])):
        raise ValueError(f"lengths {lengths!r}")
    return reader.take(int(lengths[0])) if lengths else b"", []


def tunnel(reader, connection, fields):
    """Switches to WebSocket, and gives back what comes."""
    key = fields.get(b"sec-websocket-key", b"") + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key).digest())
    upgraded = [b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Accept: " + accept]
    connection.sendall(answer("101 Switching Protocols", *upgraded))
    while True:
        connection.sendall(reader.more())
