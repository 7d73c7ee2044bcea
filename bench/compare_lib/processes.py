"""Starting programs on a core, accounting for what they use, and ending them whatever happens.

CPU time is the scheduler's run time in nanoseconds, of all threads of a program and of the processes it started:
sampled "user/system" ticks would be useless for programs that run for 20 µs at a time.
Not here: what the programs are (`proxies`) and what is done to them (`load`).
"""
import atexit
import ctypes
import fcntl
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
running = []


class Failed(Exception):
    """A program did not start, died, or answered wrongly."""


def raise_descriptor_limit():
    """Raises the soft limit to the hard one (inherited by everything started) and returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard > 1 << 20:
        hard = 1 << 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return hard


def descriptor_limit():
    """How many descriptors this process and its children may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def wait_until_alone():
    """Takes the lock that lets one comparison run at a time on a machine; closing the file gives it back."""
    lock = open(os.path.join(tempfile.gettempdir(), f"weir-compare.{os.getuid()}.lock"), "w", encoding="ascii")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("another bench/compare is running; waiting for its end", file=sys.stderr)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock


def on_core(core):
    """What a child does before exec: pins itself, and asks to be ended should this script be killed."""

    def prepare():
        os.sched_setaffinity(0, {core})
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)

    return prepare


class Program:
    """A running program with all its threads and descendants."""

    def __init__(self, argv, core, log, env=None):
        self.log = log
        with open(log, "ab") as output:
            self.popen = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,  # one group to signal; Ctrl-C reaches only this script
                preexec_fn=on_core(core),
            )
        running.append(self)

    def alive(self):
        return self.popen.poll() is None

    def last_words(self):
        """The end of its log, for error messages."""
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()[-600:].strip() or "(nothing in its log)"

    def members(self):
        """Process ids: the program and all its descendants."""
        children = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue  # it ended meanwhile
            children.setdefault(parent, []).append(int(pid))
        found, todo = [], [self.popen.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            todo += children.get(pid, [])
        return found

    def cpu_ns(self):
        """Run time of all threads so far, in nanoseconds; raises `Failed` when the program is gone."""
        if not self.alive():
            raise Failed(f"ended with status {self.popen.returncode}: {self.last_words()}")
        return sum(map(process_cpu_ns, self.members()))

    def rss_bytes(self):
        """Resident memory, summed over the processes (pages shared between them count in each)."""
        return sum(map(process_rss_bytes, self.members()))

    def stop(self):
        """Asks, waits three seconds, then kills the whole group."""
        if self in running:
            running.remove(self)
        for number, patience_s in ((signal.SIGTERM, 3), (signal.SIGKILL, 3)):
            try:
                os.killpg(self.popen.pid, number)
            except ProcessLookupError:
                break
            try:
                self.popen.wait(patience_s)
            except subprocess.TimeoutExpired:
                continue
        self.popen.poll()


def process_cpu_ns(pid):
    """Sum over /proc/PID/task/*/schedstat, or the process's CPU clock where that says more.

    Both are the scheduler's run time; the clock also keeps the time of threads that have ended
    (io_uring's workers come and go).
    """
    total = 0
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
    except OSError:
        pass
    try:
        return max(total, time.clock_gettime_ns((~pid << 3) | 2))  # clock_getcpuclockid(3)
    except OSError:
        return total


def process_rss_bytes(pid):
    """From smaps_rollup, which is exact; /proc/PID/statm may be off by some 100 KiB on recent kernels."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            for line in file:
                if line.startswith("Rss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def core_busy_ns(core):
    """Time that a core has not been idle since boot; steps of one tick (10 ms)."""
    with open("/proc/stat", encoding="ascii") as file:
        for line in file:
            fields = line.split()
            if fields[0] == f"cpu{core}":
                ticks = [int(field) for field in fields[1:9]]  # guest time is in user time already
                return (sum(ticks) - ticks[3] - ticks[4]) * 1_000_000_000 // TICKS_PER_S
    raise Failed(f"/proc/stat has no core {core}")


def stop_all():
    """Ends everything that was started and still runs."""
    for program in list(reversed(running)):
        program.stop()


def remove(folder):
    """Removes the working folder."""
    shutil.rmtree(folder, ignore_errors=True)


atexit.register(stop_all)
