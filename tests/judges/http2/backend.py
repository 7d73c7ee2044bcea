"""An HTTP/2 backend of a proxy under test that answers as a case wants it, right or wrong.

A request's path says which case it is for; the case then has the connection to itself, and it ends with it. Used
by `upstream.py`.
"""

import socket
import threading
import time

from client import (
    OF_THE_CONNECTION,
    PATIENCE,
    PREFACE,
    Connection,
    Wrong,
    event,
)
from origin import BODY

PSEUDO = {b":method", b":scheme", b":path", b":authority", b":protocol"}


class Serving(Connection):
    """A connection that a proxy made; frames go both ways as in `Connection`."""

    def __init__(self, accepted):
        self.start_over(accepted)
        accepted.settimeout(PATIENCE)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def greet(self):
        came = b""
        while len(came) < len(PREFACE):
            piece = self.socket.recv(len(PREFACE) - len(came))
            if not piece:
                raise EOFError
            came += piece
        if came != PREFACE:
            raise Wrong(f"{came!r} came instead of the preface")
        self.send_settings()

    def head(self, stream, block, end):
        """A request's, as RFC 9113 sections 8.2 and 8.3.1 want it."""
        fields = [(bytes(name), bytes(value)) for name, value in self.decoder.decode(block, raw=True)]
        names = [name for name, _ in fields]
        pseudo = [name for name in names if name.startswith(b":")]
        if names[: len(pseudo)] != pseudo or len(set(pseudo)) != len(pseudo) or not set(pseudo) <= PSEUDO:
            raise Wrong(f"a request with {names} came")
        for name, value in fields:
            if name != name.lower() or name in OF_THE_CONNECTION or (name == b"te" and value != b"trailers"):
                raise Wrong(f"field {name!r}: {value!r} came")
            if any(octet in value for octet in b"\r\n\0") or value != value.strip(b" \t"):
                raise Wrong(f"field {name!r} came with value {value!r}")
        self.open(stream)
        return event("headers", stream, None, fields, end=end, text=f"HEADERS({stream})")

    def answer(self, stream, *more, status="200", body=BODY, end=True):
        """A response; without `body`: its head."""
        self.headers(stream, [(":status", status), *more], end=body is None and end)
        if body is not None:
            self.data(stream, body, end=end)


class Backend:
    """Listens until the process ends; keeps how each case went on its side."""

    def __init__(self, address, cases):
        self.cases, self.verdicts, self.requests = cases, {}, {}
        self.listener = socket.create_server(address, backlog=1024)
        threading.Thread(target=self.accept, daemon=True).start()

    def verdict(self, case, patience=2 * PATIENCE):
        """Why a case's backend is not content; None: it is. The proxy may have answered before it knows."""
        deadline = time.monotonic() + patience
        while case not in self.verdicts:
            if time.monotonic() > deadline:
                return "the backend saw no request" if case not in self.requests else "the backend still waits"
            time.sleep(0.005)
        return self.verdicts[case]

    def accept(self):
        while True:
            accepted, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(accepted,), daemon=True).start()

    def serve(self, accepted):
        connection = Serving(accepted)
        case = None
        with connection:
            try:
                connection.greet()
                while case is None:
                    came = connection.until("a request", lambda came: came.kind in ("headers", "closed"), 60)
                    if came.kind == "closed":
                        return
                    case = int(dict(came.fields)[b":path"].strip(b"/") or b"-1")
                    if case < 0:
                        connection.answer(came.stream)
                        case = None
                self.requests[case] = self.requests.get(case, 0) + 1
                self.cases[case].act(connection, came.stream)
                self.verdicts.setdefault(case, None)
            except (EOFError, OSError):
                pass
            except Wrong as why:
                if case is not None:
                    self.verdicts.setdefault(case, str(why))
            except Exception as error:  # a case's own fault must be seen
                self.verdicts.setdefault(case, f"{type(error).__name__}: {error}")
