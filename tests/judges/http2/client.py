"""One HTTP/2 connection that sends whatever a case wants sent, right or wrong, and reads strictly what comes.

Frames go out as bytes made here; header blocks are made by the package hpack. What comes is taken apart by the
packages hyperframe and hpack. Three things hold in every case, whatever it is about, and end it as `Wrong`:
the server's frames and blocks can be read, it keeps to the windows that it was given, and its heads are those
of RFC 9113 section 8.3.2, without fields of the connection (8.2.2).
"""

import collections
import socket
import ssl
import struct
import time

import hpack
import hyperframe.exceptions
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
)

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITIZED = 0x1, 0x1, 0x4, 0x8, 0x20
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = (
    range(1, 7)
)
CODES = (
    "NO_ERROR PROTOCOL_ERROR INTERNAL_ERROR FLOW_CONTROL_ERROR SETTINGS_TIMEOUT STREAM_CLOSED FRAME_SIZE_ERROR "
    "REFUSED_STREAM CANCEL COMPRESSION_ERROR CONNECT_ERROR ENHANCE_YOUR_CALM INADEQUATE_SECURITY HTTP_1_1_REQUIRED"
).split()

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# Longest that anything is waited for that ought to come at once. What must not come is not waited for: a PING is
# sent after it, and its answer comes instead.
PATIENCE = 10.0
OF_THE_CONNECTION = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}


class Wrong(Exception):
    """What the server did is not what the case expects."""


class Skipped(Exception):
    """The case says nothing about this server."""


# What has come. kind: "settings", "settings ack", "ping", "ping ack", "headers", "data", "reset", "goaway",
# "window", "other", "closed", "silence".
Event = collections.namedtuple("Event", "kind stream code fields data end text")


def event(kind, stream=0, code=None, fields=(), data=b"", end=False, text=None):
    return Event(kind, stream, code, fields, data, end, text or kind)


def name_of(code):
    return CODES[code] if code < len(CODES) else f"code {code}"


def frame(kind, flags, stream, payload=b""):
    """A frame as bytes; a stream of more than 31 bits sets the reserved one."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def priority(depends_on, weight=255, exclusive=False):
    """The five octets of a priority."""
    return struct.pack(">IB", depends_on | (exclusive << 31), weight)


class Connection:
    """A connection to the server under test."""

    def __init__(self, server, greet=True):
        self.server = server
        self.start_over(socket.create_connection(server.address, timeout=PATIENCE))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if server.tls:
            self.socket = server.tls.wrap_socket(self.socket, server_hostname=server.name)
            if self.socket.selected_alpn_protocol() != "h2":
                raise Wrong(f"ALPN chose {self.socket.selected_alpn_protocol()}")
        if greet:
            self.greet()

    def start_over(self, connected):
        """A new connection, of which nothing has come."""
        self.socket = connected
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.buffer, self.seen, self.settings = b"", [], {}
        self.block = None
        self.initial_window, self.windows, self.promised = 65535, {0: 65535}, collections.deque()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    # What is sent.

    def greet(self):
        """The preface, and settings both ways."""
        self.send(PREFACE)
        self.send_settings()
        self.until("its SETTINGS", lambda event: event.kind == "settings")
        self.until("an ACK of SETTINGS", lambda event: event.kind == "settings ack")

    def send(self, *pieces):
        """Bytes as they are. That the server has closed is seen when reading."""
        try:
            self.socket.sendall(b"".join(pieces))
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            pass

    def send_frame(self, kind, flags, stream, payload=b""):
        self.send(frame(kind, flags, stream, payload))

    def send_settings(self, *pairs):
        for setting, value in pairs:
            if setting == INITIAL_WINDOW_SIZE:
                # More is allowed from now on, less when it is acknowledged.
                if value > self.initial_window:
                    self.resize(value)
        self.promised.append([value for setting, value in pairs if setting == INITIAL_WINDOW_SIZE])
        self.send_frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))

    def settle(self, *pairs):
        """Settings that are in force when this returns."""
        self.send_settings(*pairs)
        self.until("an ACK of SETTINGS", lambda event: event.kind == "settings ack")

    def resize(self, value):
        for stream in self.windows:
            if stream:
                self.windows[stream] += value - self.initial_window
        self.initial_window = value

    def window_update(self, stream, increment):
        if stream in self.windows:
            self.windows[stream] += increment
        self.send_frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))

    def request(self, method="GET", path="/", more=(), **pseudo):
        """The fields of an ordinary request; `scheme` and `authority` too can be others, None leaves one out."""
        fields = [
            (":method", method),
            (":scheme", pseudo.get("scheme", "https" if self.server.tls else "http")),
            (":path", path),
            (":authority", pseudo.get("authority", self.server.authority)),
        ]
        return [pair for pair in fields if pair[1] is not None] + list(more)

    def encode(self, fields, huffman=True):
        return self.encoder.encode(list(fields), huffman=huffman)

    def headers(self, stream, fields, end=True, whole=True):
        """HEADERS in one frame; `fields` may be an encoded block."""
        block = fields if isinstance(fields, bytes) else self.encode(fields)
        self.open(stream)
        flags = (END_STREAM if end else 0) | (END_HEADERS if whole else 0)
        self.send_frame(HEADERS, flags, stream, block)

    def open(self, stream):
        self.windows.setdefault(stream, self.initial_window)

    def continuation(self, stream, fields, whole=True):
        block = fields if isinstance(fields, bytes) else self.encode(fields)
        self.send_frame(CONTINUATION, END_HEADERS if whole else 0, stream, block)

    def data(self, stream, data, end=True):
        self.send_frame(DATA, END_STREAM if end else 0, stream, data)

    def reset(self, stream, code=CODES.index("CANCEL")):
        self.send_frame(RST_STREAM, 0, stream, struct.pack(">I", code))

    def ping(self, data=b"\0" * 8, ack=False):
        self.send_frame(PING, ACK if ack else 0, 0, data)

    # What comes.

    def until(self, what, wanted, patience=PATIENCE):
        """The first event for which `wanted` holds.

        Raises Wrong: the connection ended or fell silent before that.
        """
        seen = []
        deadline = time.monotonic() + patience
        while True:
            came = self.next(deadline)
            seen.append(came.text)
            self.seen.append(came.text)
            if wanted(came):
                return came
            if came.kind in ("closed", "silence"):
                raise Wrong(f"expected {what}; came {', '.join(seen)}")

    def next(self, deadline):
        """The next event; whole header blocks are one."""
        while True:
            taken = self.take()
            if taken is not None:
                return taken
            self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                piece = self.socket.recv(65536)
            except (TimeoutError, ssl.SSLWantReadError):
                return event("silence")
            except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
                piece = b""
            if not piece:
                return event("closed")
            self.buffer += piece

    def take(self):
        """The next event of the bytes that are here; None: there is none yet."""
        while len(self.buffer) >= 9:
            try:
                came, length = Frame.parse_frame_header(memoryview(self.buffer[:9]))
                if length > 16384:
                    raise Wrong(f"a frame of {length} octets came, and 16384 are the most")
                if len(self.buffer) < 9 + length:
                    return None
                came.parse_body(memoryview(self.buffer[9 : 9 + length]))
            except (hyperframe.exceptions.HyperframeError, ValueError) as error:
                raise Wrong(f"no frame can be read of {self.buffer[:24].hex()}: {error!r}") from error
            self.buffer = self.buffer[9 + length :]
            found = self.meaning(came)
            if found is not None:
                return found
        return None

    def meaning(self, came):
        """What a frame says; None: more belong to it."""
        stream = came.stream_id
        if self.block is not None and not isinstance(came, ContinuationFrame):
            raise Wrong(f"{came!r} came within a header block")
        if isinstance(came, (HeadersFrame, ContinuationFrame)):
            if isinstance(came, HeadersFrame):
                self.block = [b"", "END_STREAM" in came.flags]
            elif self.block is None:
                raise Wrong("CONTINUATION came without HEADERS")
            self.block[0] += came.data
            if "END_HEADERS" not in came.flags:
                return None
            (block, end), self.block = self.block, None
            return self.head(stream, block, end)
        if isinstance(came, SettingsFrame):
            if "ACK" in came.flags:
                for value in self.promised.popleft() if self.promised else ():
                    self.resize(value)
                return event("settings ack")
            self.settings.update(came.settings)
            self.send_frame(SETTINGS, ACK, 0)
            return event("settings")
        if isinstance(came, DataFrame):
            return self.came_data(came)
        if isinstance(came, PingFrame):
            return event("ping ack" if "ACK" in came.flags else "ping", data=came.opaque_data)
        if isinstance(came, RstStreamFrame):
            text = f"RST_STREAM({stream}) {name_of(came.error_code)}"
            return event("reset", stream, came.error_code, text=text)
        if isinstance(came, GoAwayFrame):
            text = f"GOAWAY(last {came.last_stream_id}) {name_of(came.error_code)}"
            return event("goaway", came.last_stream_id, came.error_code, text=text)
        if isinstance(came, PushPromiseFrame):
            raise Wrong("PUSH_PROMISE came")
        return event("other", stream, text=type(came).__name__)

    def came_data(self, came):
        stream, length = came.stream_id, came.flow_controlled_length
        for window in (0, stream):
            left = self.windows.get(window, 0) - length
            if left < 0 and length:
                raise Wrong(f"DATA of {length} octets on stream {stream} is {-left} more than window {window} has")
            self.windows[window] = left
        end = "END_STREAM" in came.flags
        text = f"DATA({stream}) {length}{' END_STREAM' if end else ''}"
        return event("data", stream, data=bytes(came.data), end=end, text=text)

    def head(self, stream, block, end):
        try:
            fields = [(bytes(name), bytes(value)) for name, value in self.decoder.decode(block, raw=True)]
        except hpack.HPACKError as error:
            raise Wrong(f"a block cannot be decoded: {error!r}") from error
        pseudo = [name for name, _ in fields if name.startswith(b":")]
        names = [name for name, _ in fields]
        if pseudo not in ([b":status"], []) or (pseudo and not names[0].startswith(b":")):
            raise Wrong(f"pseudo-header fields {pseudo} came in {names}")
        for name, value in fields:
            if name != name.lower() or name in OF_THE_CONNECTION:
                raise Wrong(f"field {name!r} came")
            if any(octet in value for octet in b"\r\n\0") or value != value.strip(b" \t"):
                raise Wrong(f"field {name!r} came with value {value!r}")
        status = int(dict(fields)[b":status"]) if pseudo else None
        text = f"HEADERS({stream}) {status or 'trailers'}{' END_STREAM' if end else ''}"
        return event("headers", stream, status, fields, end=end, text=text)

    # What a case expects.

    def expect_pong(self, data=b"\0" * 8, or_closed=False):
        """An answer to a PING that was sent with `data`."""

        def right(came):
            return (came.kind == "ping ack" and came.data == data) or (or_closed and came.kind == "closed")

        return self.until("an answer to PING", right)

    def expect_alive(self):
        """The connection still works."""
        self.ping(b"alive!!!")
        return self.expect_pong(b"alive!!!")

    def expect_headers(self, stream=1):
        return self.until(f"HEADERS on stream {stream}", lambda came: (came.kind, came.stream) == ("headers", stream))

    def expect_data(self, length=None):
        came = self.until("DATA", lambda came: came.kind == "data")
        if length is not None and len(came.data) != length:
            raise Wrong(f"expected DATA of {length}; came {came.text}")
        return came

    def expect_connection_error(self, *codes):
        """A GOAWAY with one of these codes, or the end of the connection."""
        numbers = [CODES.index(code) for code in codes]

        def right(came):
            return came.kind == "closed" or (came.kind == "goaway" and came.code in numbers)

        return self.until(f"GOAWAY {' or '.join(codes)}", right)

    def expect_stream_error(self, *codes):
        """RST_STREAM or GOAWAY with one of these codes, or the end of the connection."""
        numbers = [CODES.index(code) for code in codes]

        def right(came):
            return came.kind == "closed" or (came.kind in ("reset", "goaway") and came.code in numbers)

        return self.until(f"RST_STREAM {' or '.join(codes)}", right)

    def expect_end_of_bytes(self):
        """The end of the connection, whatever comes before it."""
        self.socket.settimeout(PATIENCE)
        try:
            while self.socket.recv(65536):
                pass
        except TimeoutError as error:
            raise Wrong("the connection stays open") from error
        except (ConnectionResetError, ssl.SSLError):
            pass

    def expect_end(self, stream=1):
        """A response to its end: status, fields, body, trailers."""
        status, fields, body, trailers, interim = None, [], b"", None, []
        while True:
            came = self.until(
                f"the end of stream {stream}",
                lambda came: came.stream == stream and came.kind in ("headers", "data", "reset"),
            )
            if came.kind == "reset":
                raise Wrong(f"expected a response; came {came.text}")
            if came.kind == "data":
                body += came.data
            elif status is None and came.code is not None and came.code < 200:
                interim.append(came.code)
            elif status is None:
                if came.code is None:
                    raise Wrong("a head without :status came")
                status, fields = came.code, came.fields
            else:
                trailers = came.fields
            if came.end:
                return Response(status, dict(fields), body, trailers, interim)


Response = collections.namedtuple("Response", "status fields body trailers interim")


class Server:
    """Where the server under test is."""

    def __init__(self, address, name, tls=None, origin=None):
        self.address, self.name, self.tls, self.origin = address, name, tls, origin
        self.authority = f"{name}:{address[1]}"

    def connect(self, greet=True):
        return Connection(self, greet)
