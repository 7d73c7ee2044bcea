"""Whether a proxy answers rightly before it is measured, and connections that stay open after their answer.

Not here: load (`load`), and when what is checked (`measure`).
"""
import http.client
import socket
import ssl

from . import processes, proxies


def check(proxy, scenario, ports, h2load=None):
    """Raises `Failed` unless the proxy answers as this scenario takes for granted."""
    try:
        if scenario.listener != "h2c":  # where HTTP/1.1 need not be spoken
            check_http1(proxy, scenario, ports)
        if scenario.resumes:
            check_resumption(proxy, scenario)
        if scenario.streams:
            h2load.once(proxy.port, scenario)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise processes.Failed(f"{proxy.name} does not answer /{scenario.path}: {error!r}") from error


def check_http1(proxy, scenario, ports):
    """Four requests must each give 200 and the right body; both backends must be used, and X-Forwarded-For come."""
    connection = connected(proxy, scenario)
    try:
        for _ in range(4):
            answer(connection, f"/{scenario.path}", proxies.BODIES[scenario.path])
        seen = set()
        for _ in range(4):
            port, _, client = answer(connection, "/who").decode().partition(" ")
            seen.add(int(port))
            if proxy.names_client and not client:
                raise processes.Failed(f"{proxy.name} sent no X-Forwarded-For")
        if seen != set(ports):
            raise processes.Failed(f"{proxy.name} used backends {sorted(seen)} of {sorted(ports)}")
    finally:
        connection.close()


def connected(proxy, scenario):
    """A connection of HTTP/1.1, over TLS 1.3 where the scenario has TLS."""
    if not scenario.tls:
        return http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=5)
    return http.client.HTTPSConnection("127.0.0.1", proxy.port, timeout=5, context=trusting())


def trusting():
    """A client that believes every certificate: the one here is its own authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def check_resumption(proxy, scenario):
    """A second connection must resume the session of a first one: else this would measure full handshakes."""
    context, session = trusting(), None
    for expected in (False, True):
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as plain:
            with context.wrap_socket(plain, session=session) as tls:
                tls.sendall(f"GET /{scenario.path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
                while tls.recv(65536):
                    pass
                session = tls.session  # tickets come after the handshake
                if tls.session_reused != expected:
                    raise processes.Failed(f"{proxy.name} did not resume a session")


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
