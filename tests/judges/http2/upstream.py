"""A proxy's own HTTP/2 connections to backends: what it must take of a backend, and what is no answer.

The cases of suite "client" are those of h2spec's list for clients; suite "answers" has what RFC 9113 section 8 calls
malformed and what must come through. A case says what its backend does, and what the client of the proxy gets:
a whole answer, or none: then 502, or an answer that is seen to be cut off.
"""

import collections
import re
import socket

from backend import Backend
from client import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    priority,
)
from frames import LARGEST_WINDOW, setting
from messages import NAME, size_update
from origin import BODY

Upstream = collections.namedtuple("Upstream", "suite section behaviour act wanted")
CASES = []
WHOLE, NONE, EITHER = "a whole answer", "no whole answer", "any"
OK = [(":status", "200")]


def case(suite, section, behaviour, wanted):
    def keep(act):
        CASES.append(Upstream(suite, section, behaviour, act, wanted))
        return act

    return keep


def taken(section, behaviour, act):
    """The backend does this before it answers, and that is right."""

    @case("client", section, behaviour + " is taken", WHOLE)
    def _(to, stream):
        act(to, stream)
        to.ping(b"upstream")
        to.expect_pong(b"upstream")
        to.answer(stream)
        to.expect_alive()


def ends(section, behaviour, act, *codes, wanted=EITHER, stream_only=False):
    """The backend does this, and the connection ends; or the stream, if that is enough."""

    @case("client", section, behaviour + " is an error", wanted)
    def _(to, stream):
        act(to, stream)
        (to.expect_stream_error if stream_only else to.expect_connection_error)(*codes)


taken("1", "SETTINGS as the preface", lambda to, stream: None)
taken("4.1", "a frame of unknown type", lambda to, stream: to.send_frame(0x16, 0, 0, bytes(8)))
taken("5.5", "an unknown extension frame", lambda to, stream: to.send_frame(0x16, 0, stream, bytes(8)))
taken("6.5.2", "an unknown setting", lambda to, stream: to.send(setting(0xFF, 1)))
taken("6.5.3", "SETTINGS that change windows", lambda to, stream: to.settle((INITIAL_WINDOW_SIZE, 100)))
taken("6.9", "WINDOW_UPDATE", lambda to, stream: (to.window_update(0, 1), to.window_update(stream, 1)))
taken("6.7", "PING with ACK", lambda to, stream: to.ping(b"invalid!", ack=True))


@case("client", "4.1", "undefined flags and the reserved bit are ignored", WHOLE)
def _(to, stream):
    to.send_frame(PING, 0x16, 1 << 31, bytes(8))
    to.expect_pong()
    to.answer(stream)
    to.expect_alive()


@case("client", "4.2", "DATA of 2^14 octets is taken", WHOLE)
def _(to, stream):
    to.answer(stream, body=b"x" * 16384)
    to.expect_alive()


@case("client", "6.10", "several CONTINUATION frames are taken", WHOLE)
def _(to, stream):
    to.headers(stream, OK, whole=False)
    to.continuation(stream, [("x-a", "1")], whole=False)
    to.continuation(stream, [("x-b", "1")])
    to.expect_alive()


def largest(to):
    return to.settings.get(MAX_FRAME_SIZE, 16384)


def head_then(*frames):
    """The head of an answer, and frames made of its stream's number."""

    def act(to, stream):
        to.headers(stream, OK, end=False)
        to.send(*(make(stream) for make in frames))

    return act


def block_then(*frames):
    """HEADERS without END_HEADERS, and frames made of its stream's number."""

    def act(to, stream):
        to.headers(stream, OK, end=False, whole=False)
        to.send(*(make(stream) for make in frames))

    return act


def answered_then(make):
    def act(to, stream):
        to.answer(stream)
        to.expect_alive()
        to.send(make(to, stream))

    return act


def reset_then(make):
    def act(to, stream):
        to.reset(stream)
        to.send(make(to, stream))

    return act


def more(to, stream):
    return frame(HEADERS, END_STREAM | END_HEADERS, stream, to.encode(OK))


ends(
    "4.2",
    "DATA beyond SETTINGS_MAX_FRAME_SIZE",
    lambda to, stream: to.answer(stream, body=b"x" * (largest(to) + 1)),
    "FRAME_SIZE_ERROR",
    stream_only=True,
    wanted=NONE,
)
ends(
    "4.2",
    "HEADERS beyond SETTINGS_MAX_FRAME_SIZE",
    lambda to, stream: to.send_frame(HEADERS, END_HEADERS, stream, to.encode(OK) + bytes(largest(to))),
    "FRAME_SIZE_ERROR",
    wanted=NONE,
)
ends(
    "4.3",
    "a block that cannot be decoded",
    lambda to, stream: to.headers(stream, b"\x40"),
    "COMPRESSION_ERROR",
    wanted=NONE,
)
for kind, make in [
    ("DATA", lambda stream: frame(DATA, END_STREAM, stream + 2, b"test")),
    ("RST_STREAM", lambda stream: frame(RST_STREAM, 0, stream + 2, bytes(4))),
    ("WINDOW_UPDATE", lambda stream: frame(WINDOW_UPDATE, 0, stream + 2, b"\0\0\0\x64")),
    ("CONTINUATION", lambda stream: frame(CONTINUATION, END_HEADERS, stream + 2, b"\x88")),
]:
    codes = ["PROTOCOL_ERROR"] + (["STREAM_CLOSED"] if kind == "DATA" else [])
    ends("5.1", f"idle: {kind}", lambda to, stream, make=make: to.send(make(stream)), *codes, wanted=NONE)
for state, then in [("closed by RST_STREAM", reset_then), ("closed", answered_then)]:
    ends("5.1", f"{state}: HEADERS", then(more), "STREAM_CLOSED", "PROTOCOL_ERROR", stream_only=True)
    ends(
        "5.1",
        f"{state}: DATA",
        then(lambda to, stream: frame(DATA, END_STREAM, stream, b"test")),
        "STREAM_CLOSED",
        "PROTOCOL_ERROR",
        stream_only=True,
    )
    ends(
        "5.1",
        f"{state}: CONTINUATION",
        then(lambda to, stream: frame(CONTINUATION, END_HEADERS, stream, to.encode(OK))),
        "STREAM_CLOSED",
        "PROTOCOL_ERROR",
    )
ends("5.1.1", "HEADERS on an even stream", lambda to, stream: to.headers(2, OK), "PROTOCOL_ERROR", wanted=NONE)
ends(
    "6.1",
    "DATA with more padding than payload",
    head_then(lambda stream: frame(DATA, END_STREAM | PADDED, stream, b"\x06Test")),
    "PROTOCOL_ERROR",
    wanted=NONE,
)
ends(
    "6.2",
    "PRIORITY within a header block",
    block_then(lambda stream: frame(PRIORITY, 0, stream, priority(0))),
    "PROTOCOL_ERROR",
    wanted=NONE,
)
ends(
    "5.5",
    "an extension frame within a header block",
    block_then(lambda stream: frame(0x16, 0, 0, bytes(8))),
    "PROTOCOL_ERROR",
    wanted=NONE,
)
ends(
    "6.2",
    "HEADERS with more padding than payload",
    lambda to, stream: to.send_frame(HEADERS, END_STREAM | END_HEADERS | PADDED, stream, b"\x09\x88"),
    "PROTOCOL_ERROR",
    stream_only=True,
    wanted=NONE,
)
ends(
    "6.10",
    "CONTINUATION on stream 0",
    block_then(lambda stream: frame(CONTINUATION, END_HEADERS, 0, b"")),
    "PROTOCOL_ERROR",
    wanted=NONE,
)
ends(
    "6.10",
    "DATA within a header block",
    block_then(lambda stream: frame(DATA, END_STREAM, stream, b"test")),
    "PROTOCOL_ERROR",
    wanted=NONE,
)
ends(
    "6.10",
    "CONTINUATION after END_HEADERS",
    head_then(lambda stream: frame(CONTINUATION, END_HEADERS, stream, b"")),
    "PROTOCOL_ERROR",
    wanted=NONE,
)
ends(
    "8.4",
    "PUSH_PROMISE",
    lambda to, stream: to.send_frame(PUSH_PROMISE, END_HEADERS, stream, b"\0\0\0\2\x82\x84\x86"),
    "PROTOCOL_ERROR",
    wanted=NONE,
)
ends(
    "6.3",
    "PRIORITY that is not of 5 octets",
    lambda to, stream: to.send_frame(PRIORITY, 0, stream, bytes(4)),
    "FRAME_SIZE_ERROR",
    stream_only=True,
)
ends(
    "6.4",
    "RST_STREAM that is not of 4 octets",
    lambda to, stream: to.send_frame(RST_STREAM, 0, stream, bytes(3)),
    "FRAME_SIZE_ERROR",
    stream_only=True,
)
ends(
    "6.9",
    "WINDOW_UPDATE of 0 on a stream",
    lambda to, stream: to.window_update(stream, 0),
    "PROTOCOL_ERROR",
    stream_only=True,
)
ends(
    "6.9.1",
    "a window of a stream above 2^31-1",
    lambda to, stream: [to.window_update(stream, LARGEST_WINDOW) for _ in range(2)],
    "FLOW_CONTROL_ERROR",
    stream_only=True,
)
ends(
    "6.9.1",
    "a window of the connection above 2^31-1",
    lambda to, stream: [to.window_update(0, LARGEST_WINDOW) for _ in range(2)],
    "FLOW_CONTROL_ERROR",
)
for section, behaviour, sent, code in [
    ("6.1", "DATA on stream 0", frame(DATA, END_STREAM, 0, b"test"), "PROTOCOL_ERROR"),
    ("6.2", "HEADERS on stream 0", frame(HEADERS, END_STREAM | END_HEADERS, 0, b"\x88"), "PROTOCOL_ERROR"),
    ("6.3", "PRIORITY on stream 0", frame(PRIORITY, 0, 0, priority(0)), "PROTOCOL_ERROR"),
    ("6.4", "RST_STREAM on stream 0", frame(RST_STREAM, 0, 0, bytes(4)), "PROTOCOL_ERROR"),
    ("6.5", "SETTINGS with ACK and payload", frame(SETTINGS, ACK, 0, b"\0"), "FRAME_SIZE_ERROR"),
    ("6.5", "SETTINGS on a stream", frame(SETTINGS, 0, 1, b"\0\3\0\0\0\x64"), "PROTOCOL_ERROR"),
    ("6.5", "SETTINGS not of a multiple of 6 octets", frame(SETTINGS, 0, 0, b"\0\3\0"), "FRAME_SIZE_ERROR"),
    ("6.5.2", "SETTINGS_INITIAL_WINDOW_SIZE of 2^31", setting(INITIAL_WINDOW_SIZE, 2**31), "FLOW_CONTROL_ERROR"),
    ("6.5.2", "SETTINGS_MAX_FRAME_SIZE of 16383", setting(MAX_FRAME_SIZE, 16383), "PROTOCOL_ERROR"),
    ("6.5.2", "SETTINGS_MAX_FRAME_SIZE of 2^24", setting(MAX_FRAME_SIZE, 2**24), "PROTOCOL_ERROR"),
    ("6.7", "PING on a stream", frame(PING, 0, 1, bytes(8)), "PROTOCOL_ERROR"),
    ("6.7", "PING that is not of 8 octets", frame(PING, 0, 0, bytes(6)), "FRAME_SIZE_ERROR"),
    ("6.8", "GOAWAY on a stream", frame(GOAWAY, 0, 1, bytes(8)), "PROTOCOL_ERROR"),
    ("6.9", "WINDOW_UPDATE of 0", frame(WINDOW_UPDATE, 0, 0, bytes(4)), "PROTOCOL_ERROR"),
    ("6.9", "WINDOW_UPDATE that is not of 4 octets", frame(WINDOW_UPDATE, 0, 0, b"\0\0\1"), "FRAME_SIZE_ERROR"),
]:
    ends(section, behaviour, lambda to, stream, sent=sent: to.send(sent), code)
for section, behaviour, make in [
    ("2.3.3", "an index that no table has", lambda block: block + b"\xc6"),
    ("4.2", "a size update at the end of a block", lambda block: block + size_update(1)),
    ("5.2", "EOS within a string", lambda block: block + NAME + b"\x87\x49\x51\xff\xff\xff\xfa\x7f"),
    ("6.1", "index 0", lambda block: block + b"\x80"),
]:
    ends(
        f"7541 {section}",
        behaviour,
        lambda to, stream, make=make: to.headers(stream, make(to.encode(OK))),
        "COMPRESSION_ERROR",
        wanted=NONE,
    )


def malformed(section, behaviour, fields, pieces=(BODY,), trailers=None):
    """No answer; the connection may stay."""

    @case("answers", section, behaviour + " is no answer", NONE)
    def _(to, stream):
        to.headers(stream, fields, end=not pieces and trailers is None)
        for number, piece in enumerate(pieces, 1):
            to.data(stream, piece, end=number == len(pieces) and trailers is None)
        if trailers is not None:
            to.headers(stream, trailers)
        # So that it is read before the connection ends.
        to.ping(b"upstream")
        to.expect_pong(b"upstream", or_closed=True)


for behaviour, field in [
    ("a name in upper case", (b"X-Upper", b"1")),
    ("a name with LF", (b"x\na", b"1")),
    ("a name with a space", (b"x a", b"1")),
    ("an empty name", (b"", b"1")),
    ("a value with CR", (b"x-a", b"a\rb")),
    ("a value with LF", (b"x-a", b"a\nb")),
    ("a value with NUL", (b"x-a", b"a\0b")),
    ("a value that hides an answer", (b"x-a", b"a\r\n\r\nHTTP/1.1 200 OK\r\nX-Smuggled: 1\r\n\r\n")),
]:
    malformed("8.2.1", behaviour, [*OK, field])
for name, value in [
    ("connection", "close"),
    ("keep-alive", "timeout=5"),
    ("proxy-connection", "close"),
    ("transfer-encoding", "chunked"),
    ("upgrade", "h2c"),
]:
    malformed("8.2.2", f"{name}: {value}", [*OK, (name, value)])
malformed("8.3.2", "no :status", [("x-a", "1")])
malformed("8.3.2", "a second :status", [*OK, *OK])
malformed("8.3.2", ":status after another field", [("x-a", "1"), *OK])
malformed("8.3.2", "an empty :status", [(":status", "")])
malformed("8.3.2", ":status of four digits", [(":status", "2000")])
malformed("8.3.2", ":status that is no number", [(":status", "2OO")])
malformed("8.3.2", ":status of 099", [(":status", "099")])
malformed("8.3.2", ":status that hides an answer", [(":status", b"200\r\nX-Smuggled: 1")])
malformed("8.6", "101", [(":status", "101")])
malformed("8.1.1", "a body shorter than content-length", [*OK, ("content-length", "100")])
malformed("8.1.1", "a body longer than content-length", [*OK, ("content-length", "4")])
malformed("8.1.1", "a content-length of 4 without a body", [*OK, ("content-length", "4")], pieces=())
malformed("8.1.1", "two lengths", [*OK, ("content-length", "22"), ("content-length", "23")])
malformed("8.1.1", "a length that is no number", [*OK, ("content-length", "+22")])
malformed("8.1", "an interim answer that ends the stream", [(":status", "103")], pieces=())
malformed("8.1", "a trailer with CRLF", OK, trailers=[("x-a", b"1\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")])
malformed("8.1", "a trailer in upper case", OK, trailers=[("X-A", "1")])


@case("answers", "8.3", ":path in an answer does not come through", EITHER)
def _(to, stream):
    to.answer(stream, (":path", "/smuggled"))
    to.ping(b"upstream")
    to.expect_pong(b"upstream", or_closed=True)


@case("answers", "8.1", "a reset amid the body is no whole answer", NONE)
def _(to, stream):
    to.answer(stream, body=b"x" * 10000, end=False)
    to.expect_alive()
    to.reset(stream, 2)


@case("answers", "8.1", "an end of the connection amid the body is no whole answer", NONE)
def _(to, stream):
    to.answer(stream, body=b"x" * 10000, end=False)
    to.expect_alive()


@case("answers", "8.1", "an answer without content-length comes whole", WHOLE)
def _(to, stream):
    to.answer(stream)
    to.expect_alive()


@case("answers", "8.1", "an answer after interim ones comes whole", WHOLE)
def _(to, stream):
    to.headers(stream, [(":status", "103"), ("link", "</a>")], end=False)
    to.answer(stream)
    to.expect_alive()


@case("answers", "8.1", "an answer with trailers comes whole", WHOLE)
def _(to, stream):
    to.answer(stream, end=False)
    to.headers(stream, [("x-sum", "7")])
    to.expect_alive()


@case("answers", "6.8", "GOAWAY lets the answer come whole", WHOLE)
def _(to, stream):
    to.send_frame(GOAWAY, 0, 0, stream.to_bytes(4, "big") + bytes(4))
    to.answer(stream)
    to.until("the end of the connection", lambda came: came.kind in ("closed", "goaway"))


def ask(proxy, number):
    """Whether the client of the proxy gets a whole answer, and what it gets."""
    with socket.create_connection(proxy, timeout=30) as client:
        client.sendall(b"GET /%d HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" % number)
        came = b""
        while piece := client.recv(65536):
            came += piece
    while (head := came.partition(b"\r\n\r\n"))[0].startswith(b"HTTP/1.1 1"):
        came = head[2]
    lines, _, body = head
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", lines)
    chunked = b"chunked" in lines.lower()
    whole = body.endswith(b"0\r\n\r\n") or b"\r\n0\r\n" in body if chunked else length and len(body) == int(length[1])
    return lines.startswith(b"HTTP/1.1 200 ") and bool(whole), came


def judge_all(proxy, address, chosen):
    """(case, verdict, what was seen), case by case."""
    backend = Backend(address, chosen)
    for number, case in enumerate(chosen):
        try:
            whole, came = ask(proxy, number)
        except OSError as error:
            yield case, "FAILED", f"the proxy's client: {error!r}"
            continue
        first = came.split(b"\r\n")[0].decode("latin-1")
        why = backend.verdict(number)
        if b"smuggled" in came.lower() or came.count(b"HTTP/1.1 ") > 2:
            why = f"the client got {came!r}"
        elif case.wanted == WHOLE and not whole:
            why = why or f"the client got {came[:200]!r}"
        elif case.wanted == NONE and whole:
            why = f"the client got {came[:200]!r}"
        yield case, "FAILED" if why else "ok", why or first
