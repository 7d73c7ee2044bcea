"""Frames, streams and settings: what RFC 9113 sections 3 to 7 forbid, and what they want taken or ignored.

The sections are those of h2spec's list "http2", which follows RFC 7540; where RFC 9113 took a rule back it says
so here.
"""

from case import Suite
from client import (
    ACK,
    END_HEADERS,
    END_STREAM,
    DATA,
    ENABLE_PUSH,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    PADDED,
    PING,
    PRIORITIZED,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Skipped,
    Wrong,
    frame,
    priority,
)
from generic import preface

case = Suite("http2")
LARGEST_WINDOW = 2**31 - 1
MORE = [("x-more", "x" * 40)]

case("3.5", "the server's preface is SETTINGS", greeted=False)(preface)


@case("3.5", "an invalid preface ends the connection", greeted=False)
def _(to):
    to.send(b"INVALID CONNECTION PREFACE\r\n\r\n")
    # A server that speaks HTTP/1.1 too may say so in that.
    to.expect_end_of_bytes()


@case("4.1", "a frame of unknown type is ignored")
def _(to):
    to.send_frame(0x16, 0, 0, bytes(8))
    to.ping()
    to.expect_pong()


@case("4.1", "undefined flags are ignored")
def _(to):
    to.send_frame(PING, 0x16, 0, bytes(8))
    to.expect_pong()


@case("4.1", "the reserved bit is ignored")
def _(to):
    to.send_frame(PING, 0, 1 << 31, bytes(8))
    to.expect_pong()


@case("4.2", "DATA of 2^14 octets is taken")
def _(to):
    to.headers(1, to.request("POST"), end=False)
    to.data(1, b"x" * 16384)
    to.expect_headers()


@case("4.2", "DATA beyond SETTINGS_MAX_FRAME_SIZE is a FRAME_SIZE_ERROR")
def _(to):
    to.headers(1, to.request("POST"), end=False)
    to.data(1, b"x" * (to.settings.get(MAX_FRAME_SIZE, 16384) + 1))
    to.expect_stream_error("FRAME_SIZE_ERROR")


@case("4.2", "HEADERS beyond SETTINGS_MAX_FRAME_SIZE end the connection")
def _(to):
    largest = to.settings.get(MAX_FRAME_SIZE, 16384)
    block = to.encode(to.request(more=[(f"x-many-{n}", "x" * 4000) for n in range(largest // 4000 + 1)]), huffman=False)
    assert len(block) > largest
    to.headers(1, block)
    to.expect_connection_error("FRAME_SIZE_ERROR")


@case("4.3", "a block that cannot be decoded ends the connection")
def _(to):
    to.send_frame(HEADERS, END_STREAM | END_HEADERS, 1, b"\x40")
    to.expect_connection_error("COMPRESSION_ERROR")


def priority_in_a_block(to):
    to.headers(1, to.request(), end=False, whole=False)
    to.send_frame(PRIORITY, 0, 1, priority(0))
    to.continuation(1, MORE)
    to.expect_connection_error("PROTOCOL_ERROR")


def other_headers_in_a_block(to):
    to.headers(1, to.request(), end=False, whole=False)
    to.headers(3, to.request())
    to.continuation(1, MORE)
    to.expect_connection_error("PROTOCOL_ERROR")


for section in ("4.3", "6.2"):
    case(section, "PRIORITY within a header block ends the connection")(priority_in_a_block)
    case(section, "HEADERS of another stream within a header block end the connection")(other_headers_in_a_block)


@case("5.1", "idle: DATA ends the connection or the stream")
def _(to):
    to.data(1, b"test")
    to.expect_stream_error("PROTOCOL_ERROR", "STREAM_CLOSED")


def reset_of_an_idle_stream(to):
    to.reset(1)
    to.expect_connection_error("PROTOCOL_ERROR")


case("5.1", "idle: RST_STREAM ends the connection")(reset_of_an_idle_stream)
case("6.4", "RST_STREAM on an idle stream ends the connection")(reset_of_an_idle_stream)


@case("5.1", "idle: WINDOW_UPDATE ends the connection")
def _(to):
    to.window_update(1, 100)
    to.expect_connection_error("PROTOCOL_ERROR")


@case("5.1", "idle: CONTINUATION ends the connection")
def _(to):
    to.continuation(1, to.request())
    to.expect_connection_error("PROTOCOL_ERROR")


def after(end, codes, whole_connection=False):
    """Cases of what follows HEADERS that ended the stream (by themselves, by a reset, by the response)."""

    def open_and_end(to):
        to.headers(1, to.request(), end=end != "a reset")
        if end == "a reset":
            to.reset(1)
        if end == "the response":
            to.expect_end()

    def data(to):
        open_and_end(to)
        to.data(1, b"test")
        to.expect_stream_error(*codes)

    def headers(to):
        open_and_end(to)
        to.headers(1, to.request())
        (to.expect_connection_error if whole_connection else to.expect_stream_error)(*codes)

    def continuation(to):
        open_and_end(to)
        to.continuation(1, MORE)
        (to.expect_connection_error if whole_connection else to.expect_stream_error)(*codes, "PROTOCOL_ERROR")

    return data, headers, continuation


for state, cases in [
    ("half-closed (remote)", after("END_STREAM", ["STREAM_CLOSED"])),
    ("closed by our RST_STREAM", after("a reset", ["STREAM_CLOSED"])),
    ("closed", after("the response", ["STREAM_CLOSED"], whole_connection=True)),
]:
    for kind, run in zip(("DATA", "HEADERS", "CONTINUATION"), cases):
        case("5.1", f"{state}: {kind} is an error of type STREAM_CLOSED")(run)


@case("5.1.1", "an even stream identifier ends the connection")
def _(to):
    to.headers(2, to.request())
    to.expect_connection_error("PROTOCOL_ERROR")


@case("5.1.1", "a stream identifier below the last ends the connection")
def _(to):
    to.headers(5, to.request())
    to.headers(3, to.request())
    to.expect_connection_error("PROTOCOL_ERROR")


@case("5.1.2", "a stream beyond SETTINGS_MAX_CONCURRENT_STREAMS is refused")
def _(to):
    most = to.settings.get(MAX_CONCURRENT_STREAMS)
    if most is None:
        raise Skipped("it sets no SETTINGS_MAX_CONCURRENT_STREAMS")
    to.send_settings((INITIAL_WINDOW_SIZE, 0))
    for number in range(most + 1):
        to.headers(2 * number + 1, to.request())
    to.expect_stream_error("PROTOCOL_ERROR", "REFUSED_STREAM")


@case("5.3.1", "HEADERS that depend on themselves are an error, or their priority is ignored")
def _(to):
    # RFC 7540 has an error of the stream; RFC 9113 section 5.3 deprecates priorities and has none.
    block = to.encode(to.request())
    to.open(1)
    to.send_frame(HEADERS, END_STREAM | END_HEADERS | PRIORITIZED, 1, priority(1) + block)
    to.until(
        "RST_STREAM PROTOCOL_ERROR",
        lambda came: came.kind in ("closed", "headers") or (came.kind in ("reset", "goaway") and came.code == 1),
    )


@case("5.3.1", "PRIORITY that depends on itself is an error, or ignored")
def _(to):
    to.send_frame(PRIORITY, 0, 1, priority(1))
    to.ping()
    to.until(
        "RST_STREAM PROTOCOL_ERROR",
        lambda came: came.kind in ("closed", "ping ack") or (came.kind in ("reset", "goaway") and came.code == 1),
    )


@case("5.4.1", "the connection is closed after an error")
def _(to):
    to.send_frame(PING, 0, 3, bytes(8))
    to.until("the end of the connection", lambda came: came.kind == "closed")


@case("5.4.1", "GOAWAY tells of an error of the connection")
def _(to):
    to.send_frame(PING, 0, 3, bytes(8))
    to.until("GOAWAY PROTOCOL_ERROR", lambda came: (came.kind, came.code) == ("goaway", 1))


@case("5.5", "an unknown extension frame is ignored")
def _(to):
    to.send_frame(0x16, 0, 0, bytes(8))
    to.ping()
    to.expect_pong()


@case("5.5", "an unknown extension frame within a header block ends the connection")
def _(to):
    to.headers(1, to.request(), whole=False)
    to.send_frame(0x16, 0, 0, bytes(8))
    to.expect_connection_error("PROTOCOL_ERROR")


@case("6.1", "DATA on stream 0 ends the connection")
def _(to):
    to.data(0, b"test")
    to.expect_connection_error("PROTOCOL_ERROR")


@case("6.1", "DATA on a stream that is not open is an error of type STREAM_CLOSED")
def _(to):
    to.headers(1, to.request("POST"))
    to.data(1, b"test")
    to.expect_stream_error("STREAM_CLOSED")


@case("6.1", "DATA with more padding than payload ends the connection")
def _(to):
    to.headers(1, to.request("POST", more=[("content-length", "4")]), end=False)
    to.send_frame(DATA, END_STREAM | PADDED, 1, b"\x06Test")
    to.expect_connection_error("PROTOCOL_ERROR")


@case("6.2", "HEADERS on stream 0 end the connection")
def _(to):
    to.send_frame(HEADERS, END_STREAM | END_HEADERS, 0, to.encode(to.request()))
    to.expect_connection_error("PROTOCOL_ERROR")


@case("6.2", "HEADERS with more padding than payload are a PROTOCOL_ERROR")
def _(to):
    block = to.encode(to.request())
    to.send_frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, bytes([len(block) + 2]) + block)
    to.expect_stream_error("PROTOCOL_ERROR")


@case("6.3", "PRIORITY on stream 0 ends the connection")
def _(to):
    to.send_frame(PRIORITY, 0, 0, priority(0))
    to.expect_connection_error("PROTOCOL_ERROR")


@case("6.3", "PRIORITY that is not of 5 octets is a FRAME_SIZE_ERROR")
def _(to):
    to.headers(1, to.request())
    to.send_frame(PRIORITY, 0, 1, b"\x80\0\0\1")
    to.expect_stream_error("FRAME_SIZE_ERROR")


@case("6.4", "RST_STREAM on stream 0 ends the connection")
def _(to):
    to.reset(0)
    to.expect_connection_error("PROTOCOL_ERROR")


@case("6.4", "RST_STREAM that is not of 4 octets ends the connection")
def _(to):
    to.headers(1, to.request())
    to.send_frame(RST_STREAM, 0, 1, bytes(3))
    to.expect_stream_error("FRAME_SIZE_ERROR")


def error_of_the_connection(section, behaviour, sent, *codes):
    @case(section, behaviour)
    def _(to):
        to.send(sent)
        to.expect_connection_error(*codes)


def setting(parameter, value):
    return frame(SETTINGS, 0, 0, parameter.to_bytes(2, "big") + value.to_bytes(4, "big"))


for section, behaviour, sent, *codes in [
    ("6.5", "SETTINGS with ACK and payload end the connection", frame(SETTINGS, ACK, 0, b"\0"), "FRAME_SIZE_ERROR"),
    ("6.5", "SETTINGS on a stream end the connection", frame(SETTINGS, 0, 1, b"\0\3\0\0\0\x64"), "PROTOCOL_ERROR"),
    (
        "6.5",
        "SETTINGS not of a multiple of 6 octets end the connection",
        frame(SETTINGS, 0, 0, b"\0\3\0"),
        "PROTOCOL_ERROR",
        "FRAME_SIZE_ERROR",
    ),
    ("6.5.2", "SETTINGS_ENABLE_PUSH of 2 ends the connection", setting(ENABLE_PUSH, 2), "PROTOCOL_ERROR"),
    (
        "6.5.2",
        "SETTINGS_INITIAL_WINDOW_SIZE of 2^31 ends the connection",
        setting(INITIAL_WINDOW_SIZE, 2**31),
        "FLOW_CONTROL_ERROR",
    ),
    ("6.5.2", "SETTINGS_MAX_FRAME_SIZE of 16383 ends the connection", setting(MAX_FRAME_SIZE, 16383), "PROTOCOL_ERROR"),
    ("6.5.2", "SETTINGS_MAX_FRAME_SIZE of 2^24 ends the connection", setting(MAX_FRAME_SIZE, 2**24), "PROTOCOL_ERROR"),
    ("6.7", "PING on a stream ends the connection", frame(PING, 0, 1, bytes(8)), "PROTOCOL_ERROR"),
    ("6.7", "PING that is not of 8 octets ends the connection", frame(PING, 0, 0, bytes(6)), "FRAME_SIZE_ERROR"),
    ("6.8", "GOAWAY on a stream ends the connection", frame(GOAWAY, 0, 1, bytes(8)), "PROTOCOL_ERROR"),
    ("6.9", "WINDOW_UPDATE of 0 ends the connection", frame(WINDOW_UPDATE, 0, 0, bytes(4)), "PROTOCOL_ERROR"),
    (
        "6.9",
        "WINDOW_UPDATE that is not of 4 octets ends the connection",
        frame(WINDOW_UPDATE, 0, 0, b"\0\0\1"),
        "FRAME_SIZE_ERROR",
    ),
    (
        "6.9.2",
        "SETTINGS_INITIAL_WINDOW_SIZE beyond the largest window ends the connection",
        setting(INITIAL_WINDOW_SIZE, 2**31),
        "FLOW_CONTROL_ERROR",
    ),
]:
    error_of_the_connection(section, behaviour, sent, *codes)


@case("6.5.2", "an unknown setting is ignored")
def _(to):
    to.send(setting(0xFF, 1))
    to.ping()
    to.expect_pong()


@case("6.5.3", "of two values of one setting the last holds")
def _(to):
    to.settle((INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1))
    to.headers(1, to.request())
    to.expect_data(1)


@case("6.5.3", "SETTINGS are acknowledged")
def _(to):
    to.settle((ENABLE_PUSH, 0))


@case("6.7", "PING is answered")
def _(to):
    to.ping(b"judges!!")
    to.expect_pong(b"judges!!")


@case("6.7", "PING with ACK is not answered")
def _(to):
    to.ping(b"invalid!", ack=True)
    to.ping(b"judges!!")
    came = to.until("an answer to PING", lambda came: came.kind == "ping ack")
    if came.data != b"judges!!":
        raise Wrong(f"it answers {came.data!r}")


@case("6.9", "WINDOW_UPDATE of 0 on a stream is a PROTOCOL_ERROR")
def _(to):
    to.headers(1, to.request(), end=False)
    to.window_update(1, 0)
    to.expect_stream_error("PROTOCOL_ERROR")


@case("6.9.1", "no more DATA comes than a window of 1 allows")
def _(to):
    to.settle((INITIAL_WINDOW_SIZE, 1))
    to.headers(1, to.request())
    to.expect_data(1)


@case("6.9.1", "a window of the connection above 2^31-1 is a FLOW_CONTROL_ERROR")
def _(to):
    to.window_update(0, LARGEST_WINDOW)
    to.window_update(0, LARGEST_WINDOW)
    to.until("GOAWAY FLOW_CONTROL_ERROR", lambda came: (came.kind, came.code) == ("goaway", 3))


@case("6.9.1", "a window of a stream above 2^31-1 is a FLOW_CONTROL_ERROR")
def _(to):
    to.headers(1, to.request(), end=False)
    to.window_update(1, LARGEST_WINDOW)
    to.window_update(1, LARGEST_WINDOW)
    right = ("reset", 1, 3)
    to.until("RST_STREAM FLOW_CONTROL_ERROR", lambda came: (came.kind, came.stream, came.code) == right)


@case("6.9.2", "SETTINGS_INITIAL_WINDOW_SIZE changes the windows of open streams")
def _(to):
    to.settle((INITIAL_WINDOW_SIZE, 0))
    to.headers(1, to.request())
    to.send_settings((INITIAL_WINDOW_SIZE, 1))
    to.expect_data(1)


@case("6.9.2", "a window may be negative")
def _(to):
    to.settle((INITIAL_WINDOW_SIZE, 3))
    to.headers(1, to.request())
    to.expect_data(3)
    to.settle((INITIAL_WINDOW_SIZE, 2))
    to.window_update(1, 2)
    to.expect_data(1)


@case("6.10", "several CONTINUATION frames are taken")
def _(to):
    to.headers(1, to.request(), whole=False)
    to.continuation(1, MORE, whole=False)
    to.continuation(1, MORE)
    to.expect_headers()


@case("6.10", "another frame after a CONTINUATION frame ends the connection")
def _(to):
    to.headers(1, to.request("POST"), end=False, whole=False)
    to.continuation(1, MORE, whole=False)
    to.data(1, b"test")
    to.expect_connection_error("PROTOCOL_ERROR")


@case("6.10", "CONTINUATION on stream 0 ends the connection")
def _(to):
    to.headers(1, to.request(), whole=False)
    to.continuation(0, MORE)
    to.expect_connection_error("PROTOCOL_ERROR")


@case("6.10", "CONTINUATION after HEADERS with END_HEADERS ends the connection")
def _(to):
    to.headers(1, to.request())
    to.continuation(1, MORE)
    to.expect_connection_error("PROTOCOL_ERROR")


@case("6.10", "CONTINUATION after CONTINUATION with END_HEADERS ends the connection")
def _(to):
    to.headers(1, to.request(), whole=False)
    to.continuation(1, MORE)
    to.continuation(1, MORE)
    to.expect_connection_error("PROTOCOL_ERROR")


@case("6.10", "CONTINUATION after DATA ends the connection")
def _(to):
    to.headers(1, to.request("POST"), end=False, whole=False)
    to.data(1, b"test", end=False)
    to.continuation(1, MORE, whole=False)
    to.continuation(0, MORE)
    to.expect_connection_error("PROTOCOL_ERROR")


@case("7", "GOAWAY with an unknown code does nothing special")
def _(to):
    to.send_frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\xff")
    to.ping(b"goodbye!")
    to.expect_pong(b"goodbye!", or_closed=True)


@case("7", "RST_STREAM with an unknown code does nothing special")
def _(to):
    to.headers(1, to.request("POST"), end=False)
    to.reset(1, 0xFF)
    to.ping()
    to.expect_pong(or_closed=True)
