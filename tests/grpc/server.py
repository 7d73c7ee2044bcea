"""A gRPC server for the tests: whatever is asked of it, and what it has seen.

    server.py PORT NAME [CERT KEY]

Messages are plain bytes: the library frames, compresses and carries them all the same. "ready" on stdout says that
it listens. It serves the health protocol too.

  weir.Test/Unary      the message back; metadata "x-status" and "x-message" end the call with that status instead
  weir.Test/Down       {"count", "size", "pause"} as JSON: so many messages of that size
  weir.Test/Up         how many messages came, and of how many bytes
  weir.Test/Both       each message back; it then goes on for "x-wait" seconds, unless the call ends before
  weir.Control/Set     {"serving": bool}, {"failing": status or null}
  weir.Control/Seen    what it has seen so far, as JSON
"""

import json
import sys
import threading
import time
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

STATUSES = {code.value[0]: code for code in grpc.StatusCode}


class Call:
    """Whether the server has come to its end of it."""

    whole = False


def wait(context, seconds):
    """Works so long, unless the call ends before."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and context.is_active():
        time.sleep(0.01)


class Test:
    def __init__(self, name, checks):
        self.name = name
        self.checks = checks
        self.lock = threading.Lock()
        self.failing = None
        self.seen = {"calls": 0, "failed": 0, "ended_early": [], "remaining": None, "metadata": []}

    def begin(self, context, method):
        """Notes a call, and its end if that comes before the server's own; answers as it was told to."""
        call = Call()
        with self.lock:
            self.seen["calls"] += 1
            self.seen["remaining"] = context.time_remaining()
            self.seen["metadata"] = sorted(item.key for item in context.invocation_metadata())
            failing = self.failing
            if failing is not None:
                self.seen["failed"] += 1

        def over():
            if not call.whole:
                with self.lock:
                    self.seen["ended_early"].append(method)

        context.add_callback(over)
        if failing is not None:
            call.whole = True
            context.abort(STATUSES[failing], f"{self.name} was told to fail")
        return call

    def unary(self, request, context):
        call = self.begin(context, "unary")
        metadata = {item.key: item.value for item in context.invocation_metadata()}
        echoed = [(key, metadata[key]) for key in ("x-text", "x-bytes-bin") if key in metadata]
        context.set_trailing_metadata([("x-trailing", self.name)] + echoed)
        wait(context, float(metadata.get("x-wait", "0")))
        call.whole = context.is_active()
        if "x-status" in metadata:
            context.abort(STATUSES[int(metadata["x-status"])], bytes(metadata.get("x-message-bin", b"")).decode())
        # Sent by itself, it begins the answer: a server that is killed before the rest has left breaks the call off.
        if echoed:
            context.send_initial_metadata([("x-initial", self.name)])
        return request

    def down(self, request, context):
        call = self.begin(context, "down")
        wish = json.loads(request)
        for number in range(wish["count"]):
            if number > 0:
                wait(context, wish.get("pause", 0))
            yield number.to_bytes(4, "big") + b"x" * wish["size"]
        call.whole = True
        if "status" in wish:
            context.abort(STATUSES[wish["status"]], "after all of them")

    def up(self, requests, context):
        call = self.begin(context, "up")
        count = size = 0
        for request in requests:
            count, size = count + 1, size + len(request)
        call.whole = True
        return json.dumps({"count": count, "size": size}).encode()

    def both(self, requests, context):
        call = self.begin(context, "both")
        context.send_initial_metadata([("x-initial", self.name)])
        for request in requests:
            yield request
        # A call that was cancelled may look for a moment as if the client had said its last: the library hears of
        # the missing message before it hears why.
        metadata = {item.key: item.value for item in context.invocation_metadata()}
        wait(context, float(metadata.get("x-wait", "0")))
        call.whole = context.is_active()

    def set(self, request, _):
        wish = json.loads(request)
        with self.lock:
            self.failing = wish.get("failing", self.failing)
        if "serving" in wish:
            states = health_pb2.HealthCheckResponse
            state = states.SERVING if wish["serving"] else states.NOT_SERVING
            for service in ("", "weir.Test"):
                self.checks.set(service, state)
        return b""

    def tell(self, _, __):
        with self.lock:
            return json.dumps(self.seen).encode()


def main():
    port, name, *sealed = sys.argv[1:]
    checks = health.HealthServicer()
    test = Test(name, checks)
    options = [
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),
        # Between 8 and 16 KiB of metadata, which are the limits otherwise, the library refuses some at random.
        ("grpc.max_metadata_size", 64 << 10),
        ("grpc.absolute_max_metadata_size", 64 << 10),
    ]
    server = grpc.server(futures.ThreadPoolExecutor(64), options=options, compression=grpc.Compression.Gzip)
    methods = {
        "Unary": grpc.unary_unary_rpc_method_handler(test.unary),
        "Down": grpc.unary_stream_rpc_method_handler(test.down),
        "Up": grpc.stream_unary_rpc_method_handler(test.up),
        "Both": grpc.stream_stream_rpc_method_handler(test.both),
    }
    control = {
        "Set": grpc.unary_unary_rpc_method_handler(test.set),
        "Seen": grpc.unary_unary_rpc_method_handler(test.tell),
    }
    for service, handlers in (("weir.Test", methods), ("weir.Control", control)):
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, handlers)])
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    checks.set("weir.Test", health_pb2.HealthCheckResponse.SERVING)
    if sealed:
        cert, key = (open(file, "rb").read() for file in sealed)
        server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials([(key, cert)]))
    else:
        server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    print("ready", flush=True)
    server.wait_for_termination()


main()
