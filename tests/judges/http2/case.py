"""The list of cases, and how one is run.

A case is a function that gets an open connection (or the server, if it opens its own) and returns when all is
as it should be; otherwise it raises `Wrong`. It is named by the section that it is about and by what must hold.
"""

import collections

from client import Skipped, Wrong

Case = collections.namedtuple("Case", "suite section behaviour run greeted")
CASES = []


class Suite:
    """Cases of one document."""

    def __init__(self, name):
        self.name = name

    def __call__(self, section, behaviour, greeted=True):
        def keep(run):
            CASES.append(Case(self.name, section, behaviour, run, greeted))
            return run

        return keep


def judge(case, server):
    """("ok" | "FAILED" | "skipped", what was seen)."""
    try:
        with server.connect(case.greeted) as connection:
            case.run(connection)
        return "ok", ", ".join(connection.seen[-2:])
    except Skipped as why:
        return "skipped", str(why)
    except Wrong as why:
        return "FAILED", str(why)
    except OSError as error:
        return "FAILED", f"{type(error).__name__}: {error}"
