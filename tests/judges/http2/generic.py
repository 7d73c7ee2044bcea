"""What any server must take: the frames, requests and header representations of ordinary clients.

The sections are those of h2spec's list "generic"; what holds is in RFC 9113 and RFC 7541.
"""

from case import Suite
from client import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENABLE_PUSH,
    GOAWAY,
    HEADER_TABLE_SIZE,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    PADDED,
    PREFACE,
    PRIORITIZED,
    PRIORITY,
    Wrong,
    priority,
)

case = Suite("generic")


def preface(to):
    to.send(PREFACE)
    to.send_settings((INITIAL_WINDOW_SIZE, 65535))
    first = to.until("a frame", lambda came: True)
    if first.kind != "settings":
        raise Wrong(f"the first frame is {first.text}")


case("1", "the server's first frame is SETTINGS", greeted=False)(preface)


@case("2", "PRIORITY on an idle stream is taken")
def _(to):
    to.send_frame(PRIORITY, 0, 1, priority(0))
    to.ping()
    to.expect_pong()


@case("2", "WINDOW_UPDATE on a half-closed (remote) stream is taken")
def _(to):
    to.send_settings((INITIAL_WINDOW_SIZE, 0))
    to.headers(1, to.request())
    to.window_update(1, 1)
    to.expect_data()


@case("2", "PRIORITY on a half-closed (remote) stream is taken")
def _(to):
    to.send_settings((INITIAL_WINDOW_SIZE, 0))
    to.headers(1, to.request())
    to.send_frame(PRIORITY, 0, 1, priority(0))
    to.window_update(1, 1)
    to.expect_data()


@case("2", "RST_STREAM on a half-closed (remote) stream is taken")
def _(to):
    to.headers(1, to.request())
    to.reset(1)
    to.ping()
    to.expect_pong(or_closed=True)


@case("2", "PRIORITY on a closed stream is taken")
def _(to):
    to.headers(1, to.request())
    to.expect_end()
    to.send_frame(PRIORITY, 0, 1, priority(0))
    to.ping()
    to.expect_pong()


@case("3.1", "a DATA frame is taken")
def _(to):
    to.headers(1, to.request("POST"), end=False)
    to.data(1, b"test")
    to.expect_headers()


@case("3.1", "several DATA frames are taken")
def _(to):
    to.headers(1, to.request("POST"), end=False)
    to.data(1, b"test", end=False)
    to.data(1, b"test")
    to.expect_headers()


@case("3.1", "a padded DATA frame is taken")
def _(to):
    to.headers(1, to.request("POST"), end=False)
    to.send_frame(DATA, END_STREAM | PADDED, 1, b"\x05test" + bytes(5))
    to.expect_headers()


@case("3.2", "a HEADERS frame is taken")
def _(to):
    to.headers(1, to.request())
    to.expect_headers()


@case("3.2", "a padded HEADERS frame is taken")
def _(to):
    block = to.encode(to.request())
    to.open(1)
    to.send_frame(HEADERS, END_STREAM | END_HEADERS | PADDED, 1, b"\x05" + block + bytes(5))
    to.expect_headers()


@case("3.2", "a HEADERS frame with a priority is taken")
def _(to):
    block = to.encode(to.request())
    to.open(1)
    to.send_frame(HEADERS, END_STREAM | END_HEADERS | PRIORITIZED, 1, priority(0, 255, True) + block)
    to.expect_headers()


for behaviour, stream, five in [
    ("weight 1", 1, priority(0, 0)),
    ("weight 256", 1, priority(0, 255)),
    ("a dependency on a stream that is idle", 3, priority(1, 255)),
    ("the exclusive flag", 1, priority(0, 255, True)),
    ("an idle stream before HEADERS of a lower one", 5, priority(0, 255)),
]:

    @case("3.3", f"PRIORITY with {behaviour} is taken")
    def _(to, stream=stream, five=five):
        to.send_frame(PRIORITY, 0, stream, five)
        to.headers(1, to.request())
        to.expect_headers()


@case("3.4", "RST_STREAM is taken")
def _(to):
    to.headers(1, to.request(), end=False)
    to.reset(1)
    to.ping()
    to.expect_pong(or_closed=True)


@case("3.5", "SETTINGS with all parameters are acknowledged")
def _(to):
    to.settle(
        (HEADER_TABLE_SIZE, 4096),
        (ENABLE_PUSH, 1),
        (MAX_CONCURRENT_STREAMS, 100),
        (INITIAL_WINDOW_SIZE, 65535),
        (MAX_FRAME_SIZE, 16384),
        (MAX_HEADER_LIST_SIZE, 100),
    )


@case("3.7", "PING is answered")
def _(to):
    to.ping(b"generic!")
    to.expect_pong(b"generic!")


@case("3.8", "GOAWAY is taken")
def _(to):
    to.send_frame(GOAWAY, 0, 0, bytes(8) + b"that is all")
    to.ping(b"goodbye!")
    to.expect_pong(b"goodbye!", or_closed=True)


@case("3.9", "WINDOW_UPDATE of the connection is taken")
def _(to):
    to.window_update(0, 1)
    to.ping()
    to.expect_pong()


@case("3.9", "WINDOW_UPDATE of a stream is taken")
def _(to):
    to.headers(1, to.request())
    to.window_update(1, 1)
    to.expect_headers()


@case("3.10", "a CONTINUATION frame is taken")
def _(to):
    block = to.encode(to.request())
    to.headers(1, block[:5], whole=False)
    to.continuation(1, block[5:])
    to.expect_headers()


@case("3.10", "several CONTINUATION frames are taken")
def _(to):
    block = to.encode(to.request())
    to.headers(1, block[:5], whole=False)
    to.send_frame(CONTINUATION, 0, 1, block[5:10])
    to.continuation(1, block[10:])
    to.expect_headers()


@case("4", "GET is answered")
def _(to):
    to.headers(1, to.request())
    to.expect_headers()


@case("4", "HEAD is answered")
def _(to):
    to.headers(1, to.request("HEAD"))
    to.expect_headers()


@case("4", "POST is answered")
def _(to):
    to.headers(1, to.request("POST"), end=False)
    to.data(1, b"test")
    to.expect_headers()


@case("4", "POST with trailers is answered")
def _(to):
    to.headers(1, to.request("POST", more=[("trailer", "x-test")]), end=False)
    to.data(1, b"test", end=False)
    to.headers(1, [("x-test", "ok")])
    to.expect_headers()


def plain(text):
    return bytes([len(text)]) + text


def huffman(text):
    from hpack.huffman import HuffmanEncoder
    from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

    coded = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(text)
    return bytes([0x80 | len(coded)]) + coded


# 58 is user-agent in the static table (RFC 7541 appendix A): 6 bits of prefix hold it, 4 bits do not.
BY_INDEX = {0x40: b"\x7a", 0x00: b"\x0f\x2b", 0x10: b"\x1f\x2b"}
for kind, first in [("with incremental indexing", 0x40), ("without indexing", 0x00), ("never indexed", 0x10)]:
    for coding, string in [("plain", plain), ("Huffman", huffman)]:

        @case("5", f"a literal {kind}, indexed name, {coding}, is taken")
        def _(to, first=first, string=string):
            to.headers(1, to.encode(to.request()) + BY_INDEX[first] + string(b"judge"))
            to.expect_headers()

        @case("5", f"a literal {kind}, new name, {coding}, is taken")
        def _(to, first=first, string=string):
            to.headers(1, to.encode(to.request()) + bytes([first]) + string(b"x-test") + string(b"judge"))
            to.expect_headers()


@case("5", "an indexed field is taken")
def _(to):
    # 16 is accept-encoding: gzip, deflate.
    to.headers(1, to.encode(to.request()) + b"\x90")
    to.expect_headers()


@case("5", "a dynamic table size update is taken")
def _(to):
    to.encoder.header_table_size = 128
    to.headers(1, to.request())
    to.expect_headers()


@case("5", "several dynamic table size updates are taken")
def _(to):
    # 128, then 4096.
    to.headers(1, b"\x3f\x61\x3f\xe1\x1f" + to.encode(to.request()))
    to.expect_headers()
