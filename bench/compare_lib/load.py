"""The programs that load a proxy: wrk, h2load, and several `openssl s_time`; one run of one of them.

Returns plain numbers. What TLS they speak is settled here and so the same for all proxies: version 1.3, one cipher
suite, one group. Not here: which proxy and how often (`measure`).
"""
import json
import os
import re
import resource
import subprocess
import tempfile
import time

from . import binaries, processes, proxies, scenarios

CIPHER, GROUP = "TLS_AES_128_GCM_SHA256", "X25519"
# Read by OpenSSL in all three programs: none of them has an option for all of it.
OPENSSL_CONFIG = f"""
openssl_conf = all
[all]
ssl_conf = contexts
[contexts]
system_default = each
[each]
MinProtocol = TLSv1.3
Ciphersuites = {CIPHER}
Groups = {GROUP}
"""
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


class Load:
    """A program on the load's core; subclasses say how it is called and what its words mean."""

    program = name = remedy = ""

    def __init__(self, folder, core):
        self.path = binaries.required(self.program, self.remedy)
        self.version = binaries.version(self.path)
        self.core = core
        self.environment = {**os.environ, "OPENSSL_CONF": proxies.written(folder, "openssl.cnf", OPENSSL_CONFIG)}

    def at_once(self, scenario):
        """How many of them run at once."""
        return 1

    def arguments(self, port, scenario, seconds):
        """What follows the program's path."""
        raise NotImplementedError

    def figures(self, outputs, scenario, lasted_us):
        """What the processes have written, as `requests`, `duration_us`, `errors`, and more where they tell it."""
        raise NotImplementedError

    def run(self, port, scenario, seconds, halfway=None):
        """One run; calls `halfway()` in its middle. Returns the program's own figures and the CPU time it took."""
        argv = [self.path, *self.arguments(port, scenario, seconds)]
        before, began = children_cpu_ns(), time.monotonic()
        children = []
        try:
            for _ in range(self.at_once(scenario)):
                children.append(self.started(argv))
            if halfway:
                time.sleep(seconds / 2)
                halfway()
            for child, _ in children:
                child.wait(timeout=max(1, began + seconds + 30 - time.monotonic()))
            lasted_us = (time.monotonic() - began) * 1e6
            outputs = [ended(output) for _, output in children]
            return {**self.figures(outputs, scenario, lasted_us), "load_cpu_ns": children_cpu_ns() - before}
        except subprocess.TimeoutExpired as error:
            raise processes.Failed(f"{self.name} did not end") from error
        finally:
            for child, output in children:
                if child.poll() is None:
                    child.kill()
                    child.wait()
                output.close()

    def started(self, argv):
        """A process, and the file that it writes to: nobody has to read along."""
        output = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=self.environment,
            preexec_fn=processes.on_core(self.core),
        )
        return child, output

    def failed(self, output):
        """What to raise when its words are not those of a run."""
        return processes.Failed(f"{self.name} gave no result: {output.strip()[-300:]}")


class Wrk(Load):
    """wrk, one thread."""

    program = name = "wrk"
    remedy = "apt-get install wrk"

    def __init__(self, folder, core):
        super().__init__(folder, core)
        self.script = proxies.written(folder, "done.lua", DONE_LUA)

    def arguments(self, port, scenario, seconds):
        argv = ["-t1", f"-c{scenario.connections}", f"-d{seconds}s", "--timeout", "5s", "-s", self.script]
        if scenario.close:
            argv += ["-H", "Connection: close"]
        return [*argv, url(port, scenario)]

    def figures(self, outputs, scenario, lasted_us):
        for line in outputs[0].splitlines():
            if line.startswith("RESULT "):
                told = json.loads(line[len("RESULT ") :])
                return {**told, "errors": sum(told[kind] for kind in ("connect", "read", "write", "status", "timeout"))}
        raise self.failed(outputs[0])


class H2load(Load):
    """h2load, one thread: HTTP/2."""

    program = name = "h2load"
    remedy = "apt-get install nghttp2-client"

    def arguments(self, port, scenario, seconds):
        argv = ["-t1", f"-c{scenario.connections}", f"-D{seconds}", f"--tls13-ciphers={CIPHER}", f"--groups={GROUP}"]
        return [*argv, f"-m{scenario.streams}", url(port, scenario)]

    def once(self, port, scenario):
        """One request on one connection; raises `Failed` unless it is answered rightly, over what was asked for."""
        argv = [self.path, "-t1", "-c1", "-n1", url(port, scenario)]
        try:
            asked = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False, env=self.environment)
        except subprocess.TimeoutExpired as error:
            raise processes.Failed("a request of HTTP/2 is not answered") from error
        told = self.figures([asked.stdout], scenario, 0)
        if told["errors"] or told["requests"] != 1 or told["body_bytes"] != scenarios.SIZES[scenario.path]:
            raise processes.Failed(f"HTTP/2 is answered wrongly: {asked.stdout.strip()[-600:]}")

    def figures(self, outputs, scenario, lasted_us):
        text = outputs[0]
        ended_in = re.search(r"finished in ([\d.]+)(us|ms|s|min)", text)
        requests = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", text)
        body = re.search(r"headers \(.*\), \S+ \((\d+)\) data", text)
        if not (ended_in and requests and body):
            raise self.failed(text)
        if scenario.tls and "Application protocol: h2" not in text:
            raise processes.Failed(f"h2load did not get its protocol: {text.strip()[:300]}")
        unit = {"us": 1, "ms": 1e3, "s": 1e6, "min": 6e7}[ended_in.group(2)]
        answered, failed, _, _ = map(int, requests.groups())
        return {
            "requests": answered,
            "duration_us": float(ended_in.group(1)) * unit,
            "body_bytes": int(body.group(1)),
            "errors": failed,
        }


class STime(Load):
    """As many `openssl s_time` as there are connections at a time, each makes one after the other.

    The two other programs resume sessions whenever they connect again; they neither tell nor can be told not to.
    """

    program = "openssl"
    name = "openssl s_time"
    remedy = "apt-get install openssl"

    def __init__(self, folder, core):
        super().__init__(folder, core)
        self.version = binaries.output(self.path, "version").split()[1]

    def at_once(self, scenario):
        return scenario.connections

    def arguments(self, port, scenario, seconds):
        # It writes "GET " + this + " HTTP/1.0": the rest of that line becomes a field of a request of HTTP/1.1.
        target = f"/{scenario.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\nX-Rest:"
        # It ends at the turn of the second after the last one.
        how = "-reuse" if scenario.resumes else "-new"
        return ["s_time", how, "-connect", f"127.0.0.1:{port}", "-www", target, "-time", str(max(1, seconds - 1))]

    def figures(self, outputs, scenario, lasted_us):
        answered, errors = 0, 0
        for output in outputs:
            told = re.search(r"(\d+) connections in \d+ real seconds, (\d+) bytes read per connection", output)
            if not told:
                raise self.failed(output)
            if int(told.group(2)) < scenarios.SIZES[scenario.path]:
                raise processes.Failed(f"answers of {told.group(2)} bytes: {output.strip()[-300:]}")
            answered += int(told.group(1))
            marks = "".join(re.findall(r"^[*r]+$", output, re.MULTILINE))  # one for each handshake: full, resumed
            errors += marks.count("*" if scenario.resumes else "r")
        return {"requests": answered, "duration_us": lasted_us, "errors": errors}


KINDS = {"wrk": Wrk, "h2load": H2load, "s_time": STime}


def for_scenarios(wanted, folder, core):
    """The programs that these scenarios need, by their names in `Scenario.load`."""
    return {name: kind(folder, core) for name, kind in KINDS.items() if name in {each.load for each in wanted}}


def url(port, scenario):
    return f"{'https' if scenario.tls else 'http'}://127.0.0.1:{port}/{scenario.path}"


def ended(output):
    """All that an ended process has written."""
    output.seek(0)
    return output.read()


def children_cpu_ns():
    """CPU time of the children that this script has waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return int((used.ru_utime + used.ru_stime) * 1e9)
