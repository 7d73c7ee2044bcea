"""A gRPC client for the tests: scenarios that judge what stands before the server.

    client.py ADDRESS SCENARIO [ARGUMENTS] [--ca FILE --name SERVER_NAME]

Ends with 0 if all was as it must be; else an assertion says what was not.
"""

import json
import sys
import threading
import time

import grpc

OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", 64 << 10),
    ("grpc.absolute_max_metadata_size", 64 << 10),
    # What is tried again here would hide what is not tried again there.
    ("grpc.enable_retries", 0),
]

# Seconds that whatever ought to come at once is waited for: the machine may be busy.
PATIENCE = 60

# All but OK, by number.
FAILURES = sorted((code for code in grpc.StatusCode if code.value[0] > 0), key=lambda code: code.value[0])


class Client:
    def __init__(self, address, ca=None, name=None):
        options = list(OPTIONS)
        if name:
            options.append(("grpc.ssl_target_name_override", name))
        if ca:
            credentials = grpc.ssl_channel_credentials(open(ca, "rb").read())
            self.channel = grpc.secure_channel(address, credentials, options)
        else:
            self.channel = grpc.insecure_channel(address, options)
        self.unary = self.channel.unary_unary("/weir.Test/Unary")
        self.down = self.channel.unary_stream("/weir.Test/Down")
        self.up = self.channel.stream_unary("/weir.Test/Up")
        self.both = self.channel.stream_stream("/weir.Test/Both")

    def control(self, method, wish):
        return self.channel.unary_unary(f"/weir.Control/{method}")(json.dumps(wish).encode(), timeout=PATIENCE)


def expect(found, expected, what):
    assert found == expected, f"{what}: {found!r} instead of {expected!r}"


def failure(call):
    """How a call fails."""
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError("the call did not fail")


def pairs(metadata):
    return {item.key: item.value for item in metadata or ()}


def unary(client):
    """A message, its metadata, initial and trailing, text and bytes."""
    sent = [("x-text", "a, b; c=d"), ("x-bytes-bin", bytes(range(256))), ("x-long", "y" * 8000)]
    reply, call = client.unary.with_call(b"hello", metadata=sent, timeout=PATIENCE)
    expect(reply, b"hello", "the reply")
    expect(call.code(), grpc.StatusCode.OK, "the status")
    assert "x-initial" in pairs(call.initial_metadata()), call.initial_metadata()
    trailing = pairs(call.trailing_metadata())
    assert "x-trailing" in trailing, trailing
    expect(trailing["x-text"], "a, b; c=d", "text in the trailers")
    expect(trailing["x-bytes-bin"], bytes(range(256)), "bytes in the trailers")
    expect(client.unary(b"", timeout=PATIENCE), b"", "an empty message")
    # No HTTP/2 field may be so (RFC 9113, 8.2.1), and gRPC's library sends them all the same.
    _, call = client.unary.with_call(b"x", metadata=[("x-text", " spaces around ")], timeout=PATIENCE)
    expect(pairs(call.trailing_metadata())["x-text"].strip(), "spaces around", "text with spaces around")


def statuses(client):
    """Each status with its message and its trailers, before and behind messages."""
    message = "100 % wrong: ü, \"quoted\"\nand more"
    for code in FAILURES:
        sent = [("x-status", str(code.value[0])), ("x-message-bin", message.encode()), ("x-text", "kept")]
        error = failure(lambda: client.unary(b"x", metadata=sent, timeout=PATIENCE))
        expect((error.code(), error.details()), (code, message), "the status")
        expect(pairs(error.trailing_metadata()).get("x-text"), "kept", f"the trailers of {code}")
        wish = {"count": 3, "size": 10, "status": code.value[0]}
        call, got = client.down(json.dumps(wish).encode(), timeout=PATIENCE), []
        error = failure(lambda: got.extend(call))
        expect((len(got), error.code(), error.details()), (3, code, "after all of them"), "behind messages")


def streams(client):
    """Streams in either direction and in both, of small and of larger messages."""
    for count, size in ((0, 0), (1, 0), (2000, 10), (50, 100_000)):
        wish = json.dumps({"count": count, "size": size}).encode()
        got = list(client.down(wish, timeout=PATIENCE))
        expect([int.from_bytes(m[:4], "big") for m in got], list(range(count)), "the order")
        expect({len(m) for m in got} - {size + 4}, set(), "the sizes")
        sent = (b"u" * size for _ in range(count))
        expect(json.loads(client.up(sent, timeout=PATIENCE)), {"count": count, "size": count * size}, "going up")
        sent = [n.to_bytes(4, "big") + b"b" * size for n in range(count)]
        expect(list(client.both(iter(sent), timeout=PATIENCE)), sent, "both ways")


def talk(client, pause, turns=3):
    """A conversation: no message is sent before the last one's echo is here. `pause` seconds lie between them."""
    echoed = threading.Semaphore(0)

    def say():
        for turn in range(turns):
            yield f"turn {turn}".encode()
            assert echoed.acquire(timeout=PATIENCE), f"no echo of turn {turn}"
            time.sleep(pause)

    call, got = client.both(say()), []
    for message in call:
        got.append(message)
        echoed.release()
    expect(got, [f"turn {turn}".encode() for turn in range(turns)], "the echoes")
    expect(call.code(), grpc.StatusCode.OK, "the status")


def pauses(client, pause):
    """A stream down with long pauses, and beside it a conversation with them."""
    beside = threading.Thread(target=lambda: guarded(lambda: talk(client, float(pause), 2)))
    beside.start()
    wish = json.dumps({"count": 2, "size": 5, "pause": float(pause)}).encode()
    expect(len(list(client.down(wish))), 2, "messages")
    beside.join()
    expect(FAULTS, [], "the conversation beside it")


FAULTS = []


def guarded(work):
    try:
        work()
    except BaseException as fault:
        FAULTS.append(repr(fault))


def large(client):
    """Messages that fill every buffer on the way, several at once."""
    message = bytes(range(256)) * (8 << 12)
    threads = [threading.Thread(target=lambda: guarded(lambda: big(client, message))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(FAULTS, [], "large messages")


def big(client, message):
    assert client.unary(message, timeout=PATIENCE) == message, "a large message came back as another"


def compressed(client):
    """Messages that are compressed, each way."""
    message = b"again and again, " * 10_000
    for algorithm in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        reply, call = client.unary.with_call(message, compression=algorithm, timeout=PATIENCE)
        assert reply == message, "a compressed message came back as another"
        expect(call.code(), grpc.StatusCode.OK, "the status")
        assert list(client.both(iter([message] * 5), compression=algorithm, timeout=PATIENCE)) == [message] * 5


def deadline(client):
    """A deadline that passes: the client hears it in time, and not when the server is done."""
    # So that the call with the deadline need not connect first.
    client.unary(b"x", timeout=PATIENCE)
    began = time.monotonic()
    error = failure(lambda: client.unary(b"x", metadata=[("x-wait", "60")], timeout=1.5))
    expect(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED, "the status")
    assert time.monotonic() - began < 30, "late"


def deadlines(client):
    """Many deadlines that pass, as when servers hang, on one connection: a call beside them goes on."""
    beside = client.unary.future(b"beside", metadata=[("x-wait", "4")], timeout=60)
    for _ in range(4):
        # Fewer than may be open at once, and long enough that a busy machine sees them open before they end.
        calls = [
            client.unary.future(b"x", metadata=[("x-wait", "20")], timeout=0.5 + 0.004 * number) for number in range(120)
        ]
        codes = {call.code() for call in calls}
        expect(codes, {grpc.StatusCode.DEADLINE_EXCEEDED}, "how they end")
    expect(beside.result(), b"beside", "the call beside them")


def dies(client):
    """A stream whose server dies in the middle."""
    call = client.down(json.dumps({"count": 1000, "size": 5, "pause": 0.05}).encode())
    next(call)
    print("under way", flush=True)
    error = failure(lambda: list(call))
    expect(error.code(), grpc.StatusCode.UNAVAILABLE, "the status")
    assert "in the middle of its answer" in error.details(), error.details()


def cancel(client):
    """Calls that the client ends."""
    call = client.unary.future(b"x", metadata=[("x-wait", "60")])
    while json.loads(client.control("Seen", {}))["calls"] == 0:
        time.sleep(0.01)
    call.cancel()
    expect(call.code(), grpc.StatusCode.CANCELLED, "the status")
    wish = json.dumps({"count": 1000, "size": 5, "pause": 0.05}).encode()
    call = client.down(wish)
    next(call)
    call.cancel()
    waits = threading.Event()

    def say():
        yield b"one"
        waits.wait(PATIENCE)

    call = client.both(say(), metadata=[("x-wait", "60")])
    expect(next(call), b"one", "the echo")
    call.cancel()
    waits.set()


def many(client, count):
    """So many calls, none of which fails; who answered, by how often."""
    answered = {}
    for number in range(int(count)):
        _, call = client.unary.with_call(b"%d" % number, timeout=PATIENCE)
        name = pairs(call.trailing_metadata())["x-trailing"]
        answered[name] = answered.get(name, 0) + 1
    print(json.dumps(answered))


def tries(client, count):
    """So many calls, however they end."""
    for _ in range(int(count)):
        client.unary.future(b"x", timeout=PATIENCE).exception()


def fails(client, status, words, count=1):
    """So many calls that end with this status, and these words in its message."""
    for _ in range(int(count)):
        error = failure(lambda: client.unary(b"x", timeout=PATIENCE))
        expect(error.code(), getattr(grpc.StatusCode, status), "the status")
        assert words in error.details(), error.details()


def load(client):
    """Calls on 8 threads until stdin ends, none of which may fail. How many there were."""
    ends, counts = threading.Event(), []

    def work():
        count = 0
        while not ends.is_set():
            expect(client.unary(b"load", timeout=PATIENCE), b"load", "the reply")
            count += 1
        counts.append(count)

    threads = [threading.Thread(target=lambda: guarded(work)) for _ in range(8)]
    for thread in threads:
        thread.start()
    print("under way", flush=True)
    sys.stdin.read()
    ends.set()
    for thread in threads:
        thread.join()
    expect(FAULTS, [], "calls under load")
    print(json.dumps({"calls": sum(counts)}))


def control(client, method, wish="{}"):
    print(client.control(method, json.loads(wish)).decode())


SCENARIOS = [
    unary, statuses, streams, pauses, talk, large, compressed, deadline, deadlines, cancel, many, tries, fails, dies, load,
    control,
]


def main():
    address, scenario, *rest = sys.argv[1:]
    named = {"--ca": None, "--name": None}
    arguments = []
    while rest:
        word = rest.pop(0)
        if word in named:
            named[word] = rest.pop(0)
        else:
            arguments.append(word)
    run = {scenario.__name__: scenario for scenario in SCENARIOS}[scenario]
    if scenario == "talk":
        arguments = [float(arguments[0])]
    run(Client(address, named["--ca"], named["--name"]), *arguments)


main()
