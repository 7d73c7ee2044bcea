"""Requests that RFC 9113 section 8 calls malformed, and header blocks that RFC 7541 calls undecodable.

The sections are those of h2spec's lists "http2" (it numbers as RFC 7540 does) and "hpack".
"""

from case import Suite
from client import END_HEADERS, HEADER_TABLE_SIZE, PUSH_PROMISE

case = Suite("http2")


def malformed(section, behaviour, change):
    """A request whose fields are `change`d is a PROTOCOL_ERROR of its stream."""

    @case(section, behaviour)
    def _(to):
        to.headers(1, change(to.request()))
        to.expect_stream_error("PROTOCOL_ERROR")


def without(name):
    return lambda fields: [field for field in fields if field[0] != name]


def twice(name):
    return lambda fields: fields + [field for field in fields if field[0] == name]


for section, behaviour, change in [
    ("8.1.2", "a name in upper case is malformed", lambda fields: fields + [("X-TEST", "ok")]),
    ("8.1.2.1", "an unknown pseudo-header field is malformed", lambda fields: fields + [(":test", "ok")]),
    ("8.1.2.1", ":status in a request is malformed", lambda fields: fields + [(":status", "200")]),
    ("8.1.2.1", "pseudo-header fields after others are malformed", lambda fields: [("x-test", "ok")] + fields),
    ("8.1.2.2", "a connection field is malformed", lambda fields: fields + [("connection", "keep-alive")]),
    (
        "8.1.2.2",
        "te with more than trailers is malformed",
        lambda fields: fields + [("trailers", "test"), ("te", "trailers, deflate")],
    ),
    ("8.1.2.3", "an empty :path is malformed", lambda fields: without(":path")(fields) + [(":path", "")]),
    ("8.1.2.3", "no :method is malformed", without(":method")),
    ("8.1.2.3", "no :scheme is malformed", without(":scheme")),
    ("8.1.2.3", "no :path is malformed", without(":path")),
    ("8.1.2.3", "two :method are malformed", twice(":method")),
    ("8.1.2.3", "two :scheme are malformed", twice(":scheme")),
    ("8.1.2.3", "two :path are malformed", twice(":path")),
]:
    malformed(section, behaviour, change)


@case("8.1", "HEADERS amid a body without END_STREAM are malformed")
def _(to):
    to.headers(1, to.request("POST"), end=False)
    to.data(1, b"test", end=False)
    to.headers(1, [("x-test", "ok")], end=False)
    to.expect_stream_error("PROTOCOL_ERROR")


@case("8.1.2.1", "a pseudo-header field in trailers is malformed")
def _(to):
    to.headers(1, to.request("POST"), end=False)
    to.data(1, b"test", end=False)
    to.headers(1, [(":method", "POST")], end=False)
    to.expect_stream_error("PROTOCOL_ERROR")


for behaviour, pieces in [("DATA", [b"test"]), ("several DATA", [b"test", b"test"])]:

    @case("8.1.2.6", f"a content-length other than that of {behaviour} is malformed")
    def _(to, pieces=pieces):
        to.headers(1, to.request("POST", more=[("content-length", "1")]), end=False)
        for number, piece in enumerate(pieces, 1):
            to.data(1, piece, end=number == len(pieces))
        to.expect_stream_error("PROTOCOL_ERROR")


@case("8.2", "PUSH_PROMISE ends the connection")
def _(to):
    to.send_frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\3" + to.encode(to.request()))
    to.expect_connection_error("PROTOCOL_ERROR")


case_of_hpack = Suite("hpack")


def size_update(size):
    """A dynamic table size update (RFC 7541 section 6.3)."""
    if size < 31:
        return bytes([0x20 | size])
    octets, rest = [0x3F], size - 31
    while rest >= 128:
        octets.append(0x80 | (rest & 0x7F))
        rest >>= 7
    return bytes(octets + [rest])


def undecodable(section, behaviour, make):
    @case_of_hpack(section, behaviour)
    def _(to):
        to.headers(1, make(to, to.encode(to.request())))
        to.expect_connection_error("COMPRESSION_ERROR")


# x-test in Huffman's code, and values "test" with a whole octet of padding, "test" with 7 bits of zeros, and "tes",
# EOS, "t".
NAME = b"\x00\x85\xf2\xb2\x4a\x84\xff"
for section, behaviour, make in [
    ("2.3.3", "an index that no table has ends the connection", lambda to, block: block + b"\xc6"),
    ("2.3.3", "a literal whose name no table has ends the connection", lambda to, block: block + b"\x7f\x07\x00"),
    ("4.2", "a size update at the end of a block ends the connection", lambda to, block: block + size_update(1)),
    ("5.2", "Huffman padding of more than 7 bits ends the connection", lambda to, block: block + NAME + b"\x84\x49\x50\x9f\xff"),
    ("5.2", "Huffman padding of zeros ends the connection", lambda to, block: block + NAME + b"\x83\x49\x50\x90"),
    ("5.2", "EOS within a string ends the connection", lambda to, block: block + NAME + b"\x87\x49\x51\xff\xff\xff\xfa\x7f"),
    ("6.1", "index 0 ends the connection", lambda to, block: block + b"\x80"),
    (
        "6.3",
        "a size update beyond SETTINGS_HEADER_TABLE_SIZE ends the connection",
        lambda to, block: size_update(to.settings.get(HEADER_TABLE_SIZE, 4096) + 1) + block,
    ),
]:
    undecodable(section, behaviour, make)
