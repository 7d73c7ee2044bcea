"""What is measured: the scenarios, and the targets for weir.

Data only. Read by `measure` (what to run), `report` (what to print) and the command line (names).
"""
import dataclasses
import typing

KIB = 1024
SIZES = {"128": 128, "16k": 16 * KIB, "1m": 1024 * KIB}  # paths of the backends, and how much they answer


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One way of loading a proxy; `connections` of 0 stands for the idle scenario, which has no load."""

    name: str
    title: str
    connections: int
    path: str = "128"
    close: bool = False  # a new connection for each request
    listener: str = "plain"  # how the proxy is started: "plain", "tls" (HTTP/1.1 and 2 by ALPN), "h2c"
    load: str = "wrk"  # the program that makes the load: "wrk", "h2load", "s_time"
    streams: int = 0  # of HTTP/2, at once on each connection; 0: HTTP/1.1
    resumes: bool = False  # each new connection resumes a session of TLS by a ticket

    @property
    def idle(self):
        return self.connections == 0

    @property
    def tls(self):
        return self.listener == "tls"


def handshakes(name, title, resumes):
    return Scenario(name, title, 16, close=True, listener="tls", load="s_time", resumes=resumes)


def http2(name, title, connections, streams, listener="tls"):
    return Scenario(name, title, connections, listener=listener, load="h2load", streams=streams)


ALL = [
    Scenario("128b-1", "Keep-alive, 1 connection, 128 B", 1),
    Scenario("128b-64", "Keep-alive, 64 connections, 128 B", 64),
    Scenario("128b-512", "Keep-alive, 512 connections, 128 B", 512),
    Scenario("16k-1", "Keep-alive, 1 connection, 16 KiB", 1, "16k"),
    Scenario("16k-64", "Keep-alive, 64 connections, 16 KiB", 64, "16k"),
    Scenario("16k-512", "Keep-alive, 512 connections, 16 KiB", 512, "16k"),
    Scenario("new", "A new connection per request, 64 at a time, 128 B", 64, "128", close=True),
    Scenario("1m-16", "Keep-alive, 16 connections, 1 MiB", 16, "1m"),
    Scenario("idle", "Idle keep-alive connections", 0),
    Scenario("tls-1", "TLS 1.3, keep-alive, 1 connection, 128 B", 1, listener="tls"),
    Scenario("tls-64", "TLS 1.3, keep-alive, 64 connections, 128 B", 64, listener="tls"),
    handshakes("tls-new", "TLS 1.3, a full handshake per request, 16 at a time, 128 B", resumes=False),
    handshakes("tls-resume", "TLS 1.3, a resumed session per request, 16 at a time, 128 B", resumes=True),
    http2("h2-1", "HTTP/2 over TLS, 64 connections of 1 stream, 128 B", 64, 1),
    http2("h2-10", "HTTP/2 over TLS, 16 connections of 10 streams, 128 B", 16, 10),
    http2("h2-100", "HTTP/2 over TLS, 4 connections of 100 streams, 128 B", 4, 100),
    http2("h2c-10", "HTTP/2 in the clear, 16 connections of 10 streams, 128 B", 16, 10, listener="h2c"),
]
NAMES = [scenario.name for scenario in ALL]


class Target(typing.NamedTuple):
    """At most `at_most` times the best peer's figure; `absolute`: at most that figure itself."""

    measure: str
    scenario: str
    key: str
    at_most: float
    row: str = "weir"
    absolute: bool = False


TARGETS = [
    Target("CPU per request, 1 connection, 128 B", "128b-1", "cpu_us", 0.95),
    Target("CPU per request, 64 connections, 128 B", "128b-64", "cpu_us", 0.82),
    Target("CPU per request, 512 connections, 128 B", "128b-512", "cpu_us", 0.68),
    Target("CPU per request, 1 connection, 16 KiB", "16k-1", "cpu_us", 0.90),
    Target("CPU per request, 64 connections, 16 KiB", "16k-64", "cpu_us", 0.90),
    Target("CPU per request, 512 connections, 16 KiB", "16k-512", "cpu_us", 0.90),
    Target("CPU per request, new connection per request", "new", "cpu_us", 0.90),
    Target("CPU per request, 1 MiB", "1m-16", "cpu_us", 0.90),
    Target("CPU per request, TLS, 1 connection", "tls-1", "cpu_us", 0.85),
    Target("CPU per request, TLS, 64 connections", "tls-64", "cpu_us", 0.85),
    Target("CPU per request with a full handshake", "tls-new", "cpu_us", 1.0),
    Target("CPU per request, HTTP/2, 1 stream", "h2-1", "cpu_us", 1.0),
    Target("CPU per request, HTTP/2, 10 streams", "h2-10", "cpu_us", 1.0),
    Target("CPU per request, HTTP/2, 100 streams", "h2-100", "cpu_us", 1.0),
    Target("p99, 64 connections, 128 B", "128b-64", "p99_us", 1.0),
    Target("p99, 512 connections, 128 B", "128b-512", "p99_us", 1.0),
    Target("p99, 64 connections, 16 KiB", "16k-64", "p99_us", 1.0),
    Target("p99, 512 connections, 16 KiB", "16k-512", "p99_us", 1.0),
    Target("p50, 1 connection, 128 B", "128b-1", "p50_us", 1.0),
    Target("p50, 1 connection, 16 KiB", "16k-1", "p50_us", 1.0),
    Target("p50, 1 connection, 128 B, spin 50us", "128b-1", "p50_us", 0.45, "weir spin 50us"),
    Target("p50, 1 connection, 16 KiB, spin 50us", "16k-1", "p50_us", 0.45, "weir spin 50us"),
    Target("memory per idle connection, bytes", "idle", "bytes_each", 1 * KIB, absolute=True),
    Target("CPU of an idle weir, % of a core", "idle", "idle_none_pct", 0.5, absolute=True),
    Target("CPU of weir with only idle connections, % of a core", "idle", "idle_pct", 0.5, absolute=True),
]
