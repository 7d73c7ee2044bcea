"""What a proxy must not let through: requests of RFC 9113 section 8 that would mean something else, or two
things, once they are written as HTTP/1.1. And what it must let through unchanged.

A request that is refused gets 400 or RST_STREAM of type PROTOCOL_ERROR, and the origin sees not a byte of it;
where its fault is only seen in the body, the origin sees no whole request. `SMUGGLED` is a request hidden in
some; the origin must see that never.
"""

import itertools
import os

from case import Suite
from client import CODES, DATA, END_STREAM, INITIAL_WINDOW_SIZE, PADDED, Skipped, Wrong
from origin import BODY, LARGE

case = Suite("proxy")
NUMBERS = itertools.count(1)
REFUSED = {CODES.index("PROTOCOL_ERROR")}
SMUGGLED = b"smuggled"


class Scene:
    """A case's connection, the origin, and a token by which the origin knows the case's request."""

    def __init__(self, to):
        if to.server.origin is None:
            raise Skipped("no --origin")
        self.to, self.origin = to, to.server.origin
        self.token = b"case-%d-%s" % (next(NUMBERS), os.urandom(4).hex().encode())
        # A request in HTTP/1.1, to be hidden in something.
        self.smuggled = b"GET /%s-%s HTTP/1.1\r\nHost: h\r\n\r\n" % (SMUGGLED, self.token)

    def fields(self, method="GET", path="/", more=(), **pseudo):
        return self.to.request(method, path, [("x-case", self.token), *more], **pseudo)

    def refused(self, statuses=(400,), whole_only=False):
        """The answer to stream 1 is a refusal, and the origin knows nothing of it."""
        to = self.to

        def wanted(came):
            if came.kind in ("reset", "goaway"):
                return came.kind == "goaway" or came.stream == 1
            return came.kind == "closed" or (came.kind == "headers" and came.stream == 1 and came.code != 100)

        came = to.until("a refusal", wanted)
        right = came.kind == "closed" or came.code in (statuses if came.kind == "headers" else REFUSED)
        # What the origin gets of it, it gets before this.
        with to.server.connect() as other:
            after = Scene(other)
            other.headers(1, after.fields())
            other.expect_end()
        if self.origin.saw(SMUGGLED + b"-" + self.token):
            raise Wrong(f"{came.text}, and the origin saw the smuggled request")
        seen = self.origin.whole(self.token) if whole_only else self.origin.saw(self.token)
        if seen:
            raise Wrong(f"{came.text}, and the origin saw {'all of ' if whole_only else ''}the request: {seen}")
        if not right:
            raise Wrong(f"expected a refusal; came {came.text}")

    def passed(self):
        """The response, and the one request that the origin has seen."""
        response = self.to.expect_end()
        seen = self.origin.whole(self.token)
        if len(seen) != 1:
            raise Wrong(f"status {response.status}, and the origin saw {seen}")
        return response, seen[0]


def refused(section, behaviour, make, **how):
    """A request without a body whose fields are what `make` makes of a scene."""

    @case(section, behaviour + " is refused")
    def _(to):
        scene = Scene(to)
        to.headers(1, make(scene))
        scene.refused(**how)


def more(*pairs):
    return lambda scene: scene.fields(more=pairs)


def pseudo(**changed):
    return lambda scene: scene.fields(**changed)


def hidden(before, name="x-a"):
    """A field whose value hides a request behind `before`."""
    return lambda scene: scene.fields(more=[(name, before + scene.smuggled)])


for behaviour, name in [
    ("in upper case", b"X-Upper"),
    ("that is empty", b""),
    ("with a space", b"x a"),
    ("with a space at its end", b"x-a "),
    ("with a colon", b"x:a"),
    ("with CR", b"x\ra"),
    ("with LF", b"x\na"),
    ("with NUL", b"x\0a"),
    ("with DEL", b"x\x7fa"),
    ("with an octet above 127", b"x\xe9a"),
    ("with a parenthesis", b"x(a"),
    ("with a whole field line", b"x-a: b\r\nx-b"),
]:
    refused("8.2.1", f"a name {behaviour}", more((name, b"1")))
for behaviour, value in [
    ("CR", b"a\rb"),
    ("LF", b"a\nb"),
    ("NUL", b"a\0b"),
    ("a space at its beginning", b" a"),
    ("a space at its end", b"a "),
    ("a tab at its beginning", b"\ta"),
    ("a tab at its end", b"a\t"),
]:
    refused("8.2.1", f"a value with {behaviour}", more((b"x-a", value)))
    if behaviour in ("CR", "LF", "NUL"):
        refused("8.2.3", f"a cookie with {behaviour}", more((b"cookie", value)))
refused("8.2.1", "a value that hides a request", hidden(b"a\r\n\r\n"))
refused("8.2.1", "a cookie that hides a request", hidden(b"a=b\r\n\r\n", "cookie"))

for name, value in [
    ("connection", "close"),
    ("connection", "x-case"),
    ("keep-alive", "timeout=5"),
    ("proxy-connection", "keep-alive"),
    ("transfer-encoding", "chunked"),
    ("transfer-encoding", "identity"),
    ("upgrade", "websocket"),
    ("te", "gzip"),
    ("te", "trailers, gzip"),
]:
    refused("8.2.2", f"{name}: {value}", more((name, value)))

for name in (":method", ":scheme", ":path", ":authority"):
    refused("8.3", f"a second {name}", lambda scene, name=name: twice(scene.fields(), name))
    refused("8.3", f"{name} after other fields", lambda scene, name=name: last(scene.fields(), name))
refused("8.3", ":status in a request", lambda scene: [(":status", "200"), *scene.fields()])
refused("8.3", "an unknown pseudo-header field", lambda scene: [(":proto", "x"), *scene.fields()])
refused("8.3", "an empty pseudo-header field", lambda scene: [(":", "x"), *scene.fields()])


def twice(fields, name):
    """Its second field stands where pseudo-header fields may stand."""
    return [field for field in fields if field[0] == name] + fields


def last(fields, name):
    return [field for field in fields if field[0] != name] + [field for field in fields if field[0] == name]


for behaviour, path in [
    ("empty", b""),
    ("without a slash", b"index.html"),
    ("of a whole URL", b"http://other.example/"),
    ("* of GET", b"*"),
    ("with a space", b"/a b"),
    ("with a tab", b"/a\tb"),
    ("with NUL", b"/a\0b"),
    ("with LF", b"/a\nb"),
    ("with a space and a version", b"/ HTTP/1.1"),
]:
    refused("8.3.1", f":path {behaviour}", pseudo(path=path))
for behaviour, method in [
    ("empty", b""),
    ("with a space", b"GET /x"),
    ("with CR", b"GET\r"),
    ("with a parenthesis", b"G(T"),
    ("with NUL", b"G\0T"),
]:
    refused("8.3.1", f":method {behaviour}", pseudo(method=method))
for behaviour, authority in [
    ("with userinfo", b"user@localhost"),
    ("with userinfo and a password", b"user:secret@localhost"),
    ("with a space", b"local host"),
    ("with a slash", b"localhost/a"),
    ("with LF", b"localhost\n"),
    ("with CRLF and a field", b"localhost\r\nX-A: b"),
    ("that is empty", b""),
    ("with a comma", b"localhost,other.example"),
    ("with a port that is none", b"localhost:http"),
]:
    refused("8.3.1", f":authority {behaviour}", pseudo(authority=authority))
for behaviour, scheme in [("with CRLF", b"http\r\nx"), ("that is empty", b""), ("with a space", b"ht tp")]:
    refused("8.3.1", f":scheme {behaviour}", pseudo(scheme=scheme))
refused("8.3.1", ":path that hides a request", lambda scene: scene.fields(path=b"/ HTTP/1.1\r\nHost: h\r\n\r\n" + scene.smuggled))
refused("8.3.1", ":method that hides a request", lambda scene: scene.fields(scene.smuggled + b"GET"))
refused("8.3.1", ":authority that hides a request", lambda scene: scene.fields(authority=b"h\r\n\r\n" + scene.smuggled))
refused("8.3.1", "Host other than :authority", more(("host", "other.example")))
refused("8.3.1", "a second Host", lambda scene: scene.fields(authority=None, more=[("host", "h"), ("host", "h2")]))
refused("8.3.1", "neither :authority nor Host", pseudo(authority=None))
refused("8.3.1", "Host with CRLF", lambda scene: scene.fields(authority=None, more=[("host", b"h\r\n\r\n" + scene.smuggled)]))

ANY = tuple(range(400, 600))
refused("8.5", "CONNECT", lambda scene: [(":method", "CONNECT"), (":authority", "h:443"), ("x-case", scene.token)], statuses=ANY)
refused("8.5", "CONNECT with :path", pseudo(method="CONNECT"), statuses=ANY)
refused("8441 4", ":protocol without CONNECT", lambda scene: [(":protocol", "websocket"), *scene.fields()], statuses=ANY)
refused("8441 4", "an unknown :protocol", lambda scene: [(":protocol", "nonsense"), *scene.fields("CONNECT")], statuses=ANY)

for behaviour, *values in [
    ("two that differ", "4", "5"),
    ("a list that differs", "4, 5"),
    ("with a sign", "+4"),
    ("negative", "-4"),
    ("with a blank", "4 4"),
    ("hexadecimal", "0x4"),
    ("empty", ""),
    ("with a letter", "4a"),
    ("of 30 digits", "4" * 30),
    ("of 2^64 + 4", str(2**64 + 4)),
]:

    @case("8.1.1", f"content-length: {behaviour} is refused")
    def _(to, values=values):
        scene = Scene(to)
        to.headers(1, scene.fields("POST", more=[("content-length", value) for value in values]), end=False)
        to.data(1, b"test")
        scene.refused()


refused("8.1.1", "a content-length of 4 without a body", lambda scene: scene.fields("POST", more=[("content-length", "4")]))


def body(section, behaviour, length, pieces, trailers=None, padding=False, more=()):
    """A request whose fault is seen in its body only."""

    @case(section, behaviour + " is refused")
    def _(to):
        scene = Scene(to)
        length_field = [] if length is None else [("content-length", str(length))]
        to.headers(1, scene.fields("POST", more=[*length_field, *more]), end=False)
        for number, piece in enumerate(pieces, 1):
            piece = piece(scene) if callable(piece) else piece
            end = number == len(pieces) and trailers is None
            if padding:
                to.send_frame(DATA, PADDED | (END_STREAM if end else 0), 1, b"\x04" + piece + bytes(4))
            else:
                to.data(1, piece, end)
        if trailers is not None:
            to.headers(1, trailers)
        scene.refused(whole_only=True)


body("8.1.1", "a body shorter than content-length", 10, [b"test"])
body("8.1.1", "an empty body shorter than content-length", 10, [b""])
body("8.1.1", "a body in pieces shorter than content-length", 10, [b"test", b"test"])
body("8.1.1", "a body shorter than content-length with trailers", 10, [b"test"], trailers=[("x-t", "1")])
body("8.1.1", "a padded body shorter than content-length", 8, [b"test"], padding=True)
body("8.1.1", "a body longer than content-length", 2, [b"test"])
body("8.1.1", "a body that hides a request behind content-length", 2, [lambda scene: b"ab" + scene.smuggled])
for behaviour, field in [
    ("connection", ("connection", "x-a")),
    ("a name in upper case", ("X-A", "1")),
    ("a value with CRLF", ("x-a", b"1\r\nx-b: 2")),
    ("a name with LF", (b"x\na", "1")),
]:
    body("8.1", f"a trailer: {behaviour}", None, [b"test"], trailers=[field])


def unseen(section, behaviour, length, first, rest):
    """A request that the origin may have had all of when the rest comes, which it must not get."""

    @case(section, behaviour + " reaches no origin")
    def _(to):
        scene = Scene(to)
        more = [] if length is None else [("content-length", str(length))]
        to.headers(1, scene.fields("POST", more=more), end=False)
        if first:
            to.data(1, first, end=False)
        rest(to, scene)
        to.until("an end of the stream", lambda came: came.kind in ("reset", "goaway", "closed") or came.end)
        with to.server.connect() as other:
            other.headers(1, Scene(other).fields())
            other.expect_end()
        if scene.origin.saw(SMUGGLED + b"-" + scene.token):
            raise Wrong("the origin saw it")


unseen("8.1.1", "what is behind a body of 4 octets", 4, b"test", lambda to, scene: to.data(1, scene.smuggled))
unseen("8.1.1", "what is behind a body of none", 0, b"", lambda to, scene: to.data(1, scene.smuggled))
for name in (":path", ":status", ":smuggled"):
    unseen(
        "8.1",
        f"{name} in trailers",
        None,
        b"test",
        lambda to, scene, name=name: to.headers(1, [(name, SMUGGLED + b"-" + scene.token)]),
    )


def fact(holds, what):
    if not holds:
        raise Wrong(what)


def field_of(request, name):
    return [value for given, value in request.fields if given.lower() == name]


@case("8.3", "an ordinary request reaches the origin once, with Host and names in Title-Case")
def _(to):
    scene = Scene(to)
    to.headers(1, scene.fields(path="/a/b?c=%20d", more=[("x-some-name", "some value"), ("te", "trailers")]))
    response, request = scene.passed()
    fact(response.status == 200 and response.body == BODY, f"{response}")
    fact(request.line == b"GET /a/b?c=%20d HTTP/1.1", f"{request}")
    fact(field_of(request, b"host") == [to.server.authority.encode()], f"{request}")
    fact((b"X-Some-Name", b"some value") in request.fields, f"{request}")
    fact(not field_of(request, b"transfer-encoding") and not field_of(request, b"content-length"), f"{request}")


@case("8.2.3", "crumbs of a cookie are put together")
def _(to):
    scene = Scene(to)
    to.headers(1, scene.fields(more=[("cookie", "a=1"), ("x-a", "1"), ("cookie", "b=2"), ("cookie", "c=3")]))
    _, request = scene.passed()
    fact(field_of(request, b"cookie") == [b"a=1; b=2; c=3"], f"{request}")


@case("8.2.1", "octets above 127 in a value are kept")
def _(to):
    scene = Scene(to)
    to.headers(1, scene.fields(more=[("x-a", b"\xe4 \xff"), ("x-empty", b"")]))
    _, request = scene.passed()
    fact(field_of(request, b"x-a") == [b"\xe4 \xff"] and field_of(request, b"x-empty") == [b""], f"{request}")


@case("8.3.1", "Host without :authority is taken")
def _(to):
    scene = Scene(to)
    to.headers(1, scene.fields(authority=None, more=[("host", "some.example")]))
    _, request = scene.passed()
    fact(field_of(request, b"host") == [b"some.example"], f"{request}")


@case("8.3.1", "Host equal to :authority is taken, and is one field")
def _(to):
    scene = Scene(to)
    to.headers(1, scene.fields(authority="some.example", more=[("host", "some.example")]))
    _, request = scene.passed()
    fact(field_of(request, b"host") == [b"some.example"], f"{request}")


@case("8.3.1", "OPTIONS * is taken")
def _(to):
    scene = Scene(to)
    to.headers(1, scene.fields("OPTIONS", "*"))
    _, request = scene.passed()
    fact(request.line == b"OPTIONS * HTTP/1.1", f"{request}")


@case("8.1", "a body with its content-length arrives whole")
def _(to):
    scene = Scene(to)
    to.headers(1, scene.fields("POST", more=[("content-length", "8")]), end=False)
    to.data(1, b"test", end=False)
    to.send_frame(DATA, END_STREAM | PADDED, 1, b"\x03test" + bytes(3))
    _, request = scene.passed()
    fact(request.body == b"testtest" and field_of(request, b"content-length") == [b"8"], f"{request}")


@case("8.1", "a body of unknown length arrives whole, with its trailers")
def _(to):
    scene = Scene(to)
    to.headers(1, scene.fields("POST", more=[("trailer", "x-sum")]), end=False)
    to.data(1, b"test", end=False)
    to.data(1, b"test", end=False)
    to.headers(1, [("x-sum", "8")])
    _, request = scene.passed()
    fact(request.body == b"testtest" and request.trailers == [(b"x-sum", b"8")], f"{request}")


@case("8.1", "an empty DATA frame ends a body")
def _(to):
    scene = Scene(to)
    to.headers(1, scene.fields("POST"), end=False)
    to.data(1, b"test", end=False)
    to.data(1, b"")
    _, request = scene.passed()
    fact(request.body == b"test", f"{request}")


@case("8.1", "Expect: 100-continue is answered before the body is sent")
def _(to):
    scene = Scene(to)
    to.headers(1, scene.fields("POST", more=[("expect", "100-continue")]), end=False)
    came = to.expect_headers()
    fact(came.code == 100 and not came.end, f"came {came.text}")
    to.data(1, b"test")
    response, request = scene.passed()
    fact(response.status == 200 and request.body == b"test", f"{response} {request}")


@case("8.1", "an interim response comes before the final one")
def _(to):
    to.headers(1, Scene(to).fields(path="/interim"))
    response = to.expect_end()
    fact((response.interim, response.status, response.body) == ([103], 200, BODY), f"{response}")


@case("8.1", "a chunked response comes whole, with its trailers")
def _(to):
    to.headers(1, Scene(to).fields(path="/chunked", more=[("te", "trailers")]))
    response = to.expect_end()
    fact(response.body == BODY * 2, f"{response}")
    fact(response.trailers and (b"x-sum", b"7") in response.trailers, f"{response}")


@case("8.2.2", "a response's fields of its connection do not come")
def _(to):
    to.headers(1, Scene(to).fields(path="/hop"))
    response = to.expect_end()
    fact(response.fields.get(b"x-upper") == b"Kept" and b"x-drop" not in response.fields, f"{response}")


for method, path, status, length in [
    ("HEAD", "/", 200, b"22"),
    ("GET", "/204", 204, None),
    ("GET", "/304", 304, b"22"),
]:

    @case("8.1", f"{method} {path} has no body")
    def _(to, method=method, path=path, status=status, length=length):
        to.headers(1, Scene(to).fields(method, path))
        response = to.expect_end()
        fact((response.status, response.body) == (status, b""), f"{response}")
        fact(length is None or response.fields.get(b"content-length") in (length, None), f"{response}")


for behaviour, path in [("a content-length", "/short"), ("chunks", "/cut")]:

    @case("8.1.1", f"a response cut off amid {behaviour} does not end as a whole one")
    def _(to, path=path):
        to.headers(1, Scene(to).fields(path=path))
        came = to.until("an end", lambda came: came.kind in ("reset", "goaway", "closed") or came.end or came.code == 502)
        fact(not came.end or came.code == 502, f"came {came.text}")


@case("5.2", "a response larger than the windows comes whole and keeps to them")
def _(to):
    to.headers(1, Scene(to).fields(path="/large"))
    got, end = b"", False
    while not end:
        came = to.until("DATA", lambda came: came.kind in ("data", "reset"))
        got, end = got + came.data, came.end
        if came.data and not end:
            to.window_update(0, len(came.data))
            to.window_update(1, len(came.data))
    fact(got == LARGE, f"{len(got)} octets came, not those of the origin")


@case("5.2", "a stream without a window holds up no other")
def _(to):
    to.settle((INITIAL_WINDOW_SIZE, 0))
    for stream in (1, 3, 5):
        to.headers(stream, Scene(to).fields(path="/large"))
        to.expect_headers(stream)
    to.headers(7, Scene(to).fields())
    to.window_update(7, 1000)
    fact(to.expect_end(7).body == BODY, "another body came")
    to.window_update(3, 10)
    fact(to.expect_data(10).stream == 3, "DATA of another stream came")


@case("5.1.2", "50 streams at once are all answered")
def _(to):
    streams = range(1, 101, 2)
    for stream in streams:
        to.headers(stream, Scene(to).fields())
    left = set(streams)
    while left:
        came = to.until("the rest of the responses", lambda came: came.end or came.kind in ("reset", "goaway"))
        fact(came.end, f"came {came.text}")
        left.discard(came.stream)


@case("8441 5", "a WebSocket goes over CONNECT with :protocol")
def _(to):
    if to.settings.get(8) != 1:
        raise Skipped("it sets no SETTINGS_ENABLE_CONNECT_PROTOCOL")
    scene = Scene(to)
    fields = scene.fields("CONNECT", "/chat", [("sec-websocket-version", "13")])
    to.headers(1, [(":protocol", "websocket"), *fields], end=False)
    came = to.expect_headers()
    fact(came.code == 200 and not came.end, f"came {came.text}")
    to.data(1, b"\x81\x84\1\2\3\4uest", end=False)
    fact(to.expect_data().data == b"\x81\x84\1\2\3\4uest", "something else came back")
