"""Judges an HTTP/2 server: every case of h2spec's lists, and what a proxy must refuse, by a client of its own.

    python3 tests/judges/http2 127.0.0.1:8080 --origin 127.0.0.1:9000 [--tls] [--only TEXT] [--list]
    python3 tests/judges/http2 127.0.0.1:8080 --backend 127.0.0.1:9000 [--only TEXT] [--list]

A line a case: "ok", "FAILED" or "skipped", which case, what was seen. A line of sums. Exit code 1: one failed.
The server is a proxy to the origin, which is here. Without --origin it may be any server that answers GET, HEAD
and POST of "/" with a body of at least 5 octets; the cases of proxies are skipped then.

With --backend it is the proxy's own connections to an HTTP/2 backend that are judged; the backend is here, and the
proxy is asked in HTTP/1.1.
"""

import argparse
import concurrent.futures
import ssl
import sys

import frames
import generic
import messages
import proxy
import upstream
from case import CASES, judge
from client import Server
from origin import Origin

assert all((generic, frames, messages, proxy)), "they fill CASES"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server", help="ADDRESS:PORT of the server")
    parser.add_argument("--origin", help="ADDRESS:PORT on which to be the server's origin")
    parser.add_argument("--backend", help="ADDRESS:PORT on which to be the server's HTTP/2 backend")
    parser.add_argument("--name", default="localhost", help="the host in :authority, and the name of TLS's SNI")
    parser.add_argument("--tls", action="store_true", help="over TLS, chosen by ALPN")
    parser.add_argument("--only", default="", metavar="TEXT", help="only cases in whose name this is")
    parser.add_argument("--list", action="store_true", help="print the cases' names and do nothing")
    return parser.parse_args()


def main():
    given = arguments()
    cases = upstream.CASES if given.backend else CASES
    chosen = [case for case in cases if given.only in name(case)]
    if given.list:
        print(*map(name, chosen), sep="\n")
        return 0
    if given.backend:
        return sums(upstream.judge_all(address(given.server), address(given.backend), chosen))
    tls = None
    if given.tls:
        # Who the server is is judged elsewhere.
        tls = ssl._create_unverified_context()
        tls.set_alpn_protocols(["h2"])
    origin = given.origin and Origin(address(given.origin))
    server = Server(address(given.server), given.name, tls, origin)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        judged = pool.map(lambda case: (case, *judge(case, server)), chosen)
        return sums(judged)


def sums(judged):
    """Prints a line a case, and how many went how; the exit code."""
    verdicts = {"ok": 0, "FAILED": 0, "skipped": 0}
    for case, verdict, seen in judged:
        verdicts[verdict] += 1
        print(f"{verdict:7} {name(case)}{' | ' if seen else ''}{seen}", flush=True)
    count = sum(verdicts.values())
    print(f"{count} cases: {verdicts['ok']} ok, {verdicts['FAILED']} failed, {verdicts['skipped']} skipped")
    return 1 if verdicts["FAILED"] or not verdicts["ok"] else 0


def address(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


def name(case):
    return f"{case.suite} {case.section}: {case.behaviour}"


if __name__ == "__main__":
    sys.exit(main())
