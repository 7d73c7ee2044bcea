"""Driving a proxy: one wrk run, many idle connections, and the check that its answers are right.

Returns plain numbers. Not here: which proxy and how often (`measure`).
"""
import http.client
import json
import os
import resource
import socket
import subprocess

from . import processes, proxies

# wrk calls `done` once, after the run: exact microseconds instead of its rounded text. It sets no other hook, so
# the load itself does not go through Lua.
DONE_LUA = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\nRESULT {"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"max_us":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
    e.connect, e.read, e.write, e.status, e.timeout))
end
"""


class Wrk:
    """wrk on the load core, one thread."""

    def __init__(self, path, folder, core):
        self.path = path
        self.core = core
        self.script = proxies.written(folder, "done.lua", DONE_LUA)

    def run(self, port, scenario, seconds, halfway=None):
        """One run; calls `halfway()` in its middle. Returns wrk's own figures and the CPU time it took."""
        argv = [self.path, "-t1", f"-c{scenario.connections}", f"-d{seconds}s", "--timeout", "5s"]
        argv += ["-s", self.script]
        if scenario.close:
            argv += ["-H", "Connection: close"]
        argv.append(f"http://127.0.0.1:{port}/{scenario.path}")
        before = children_cpu_ns()
        child = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=processes.on_core(self.core)
        )
        try:
            if halfway:
                try:
                    child.wait(seconds / 2)
                except subprocess.TimeoutExpired:
                    halfway()
            output, _ = child.communicate(timeout=seconds + 30)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
        for line in output.splitlines():
            if line.startswith("RESULT "):
                return {**json.loads(line[len("RESULT ") :]), "wrk_cpu_ns": children_cpu_ns() - before}
        raise processes.Failed(f"wrk gave no result: {output.strip()[-300:]}")


def children_cpu_ns():
    """CPU time of the children that this script has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return int((used.ru_utime + used.ru_stime) * 1e9)


def check_answers(proxy, path, ports):
    """Four requests must each give 200 and the right body; both backends must be used, and X-Forwarded-For come."""
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)
    try:
        for _ in range(4):
            answer(connection, f"/{path}", proxies.BODIES[path])
        seen = set()
        for _ in range(4):
            port, _, client = answer(connection, "/who").decode().partition(" ")
            seen.add(int(port))
            if proxy.names_client and not client:
                raise processes.Failed(f"{proxy.name} sent no X-Forwarded-For")
        if seen != set(ports):
            raise processes.Failed(f"{proxy.name} used backends {sorted(seen)} of {sorted(ports)}")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise processes.Failed(f"{proxy.name} does not answer /{path}: {error!r}") from error
    finally:
        connection.close()


def answer(connection, target, body=None):
    """One exchange on a kept-alive connection; the body, after it was compared with what it must be."""
    connection.request("GET", target)
    response = connection.getresponse()
    got = response.read()
    if response.status != 200 or (body is not None and got != body):
        raise processes.Failed(f"{target}: status {response.status}, {len(got)} bytes")
    return got


class IdleConnections:
    """Keep-alive connections, each after one answered request; a context manager that closes them."""

    REQUEST = b"GET /128 HTTP/1.1\r\nHost: bench\r\n\r\n"

    def __init__(self, port, count):
        self.port = port
        self.count = count
        self.sockets = []

    def __enter__(self):
        try:
            for _ in range(self.count):
                self.sockets.append(self.open())
        except (OSError, processes.Failed) as error:
            opened = len(self.sockets)
            self.__exit__()
            raise processes.Failed(f"idle connection {opened + 1} of {self.count}: {error}") from error
        return self

    def open(self):
        opened = socket.create_connection(("127.0.0.1", self.port), timeout=5)
        opened.sendall(self.REQUEST)
        got = b""
        while not got.endswith(proxies.BODIES["128"]):
            more = opened.recv(4096)
            if not more:
                opened.close()
                raise processes.Failed(f"closed after {got[:60]!r}")
            got += more
        if not got.startswith(b"HTTP/1.1 200"):
            raise processes.Failed(f"answered {got[:60]!r}")
        return opened

    def closed_by_peer(self):
        """How many the proxy has closed: an idle connection that is not there costs nothing, and is an error."""
        gone = 0
        for opened in self.sockets:
            try:
                opened.setblocking(False)
                gone += opened.recv(1, socket.MSG_PEEK) == b""
            except BlockingIOError:
                pass
            except OSError:
                gone += 1
        return gone

    def __exit__(self, *_):
        for opened in self.sockets:
            opened.close()
        self.sockets = []
