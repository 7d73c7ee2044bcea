"""The contenders and the backends: how each is configured, as its own users would for this purpose.

All of them: one worker, round robin over two backends, keep-alive to the backends, X-Forwarded-For added, no access
log (but for the weir that is asked for with one), long idle timeouts; with TLS the same certificate, and sessions
that resume by tickets. bench/README.md says why each setting is there.
Not here: finding the programs (`binaries`), measuring them (`measure`).
"""
import json
import os
import re
import socket
import subprocess
import time

from . import binaries, processes, scenarios

BODIES = {path: (b"weir" * (size // 4))[:size] for path, size in scenarios.SIZES.items()}
ports_given = set()


def free_port():
    """A free TCP port below the ephemeral range, so that no client's connection can take it meanwhile."""
    for port in range(19000, 32000):
        if port in ports_given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        ports_given.add(port)
        return port
    raise processes.Failed("no free port from 19000 to 31999")


def written(folder, name, text):
    """Writes a configuration file and returns its path."""
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def certificate(folder):
    """The certificate (ECDSA P-256, its own authority) and its key, PEM; made when they are first asked for."""
    cert, key = os.path.join(folder, "site.crt"), os.path.join(folder, "site.key")
    if not os.path.exists(cert):
        argv = [binaries.required("openssl", "apt-get install openssl"), "req", "-x509", "-nodes", "-days", "2"]
        argv += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=bench"]
        argv += ["-addext", "subjectAltName=DNS:bench,IP:127.0.0.1", "-keyout", key, "-out", cert]
        made = subprocess.run(argv, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            raise processes.Failed(f"openssl makes no certificate: {made.stderr.strip()[-300:]}")
    return cert, key


class Server:
    """A program that listens on `port`; subclasses say how it is configured and started."""

    peer = False  # may be "the best peer"
    names_client = True  # adds X-Forwarded-For

    def __init__(self, path, name, version=None):
        self.path = path
        self.name = name
        self.version = version or binaries.version(path)
        self.port = 0
        self.program = None
        self.listener = "plain"  # as in `Scenario`
        self.certificate = None  # two paths, with the listener "tls"

    def command(self, folder, backends, core):
        """Writes its configuration; returns the arguments and the environment to start it with."""
        raise NotImplementedError

    def serves(self, scenario):
        """Whether this contender takes part in a scenario."""
        return True

    def start(self, folder, core, backends=None, listener="plain"):
        """Starts it (afresh) on a new port and waits until it accepts connections."""
        self.stop()
        self.listener = listener
        self.certificate = certificate(folder) if listener == "tls" else None
        self.port = free_port()
        mine = os.path.join(folder, f"{self.name.replace(' ', '-')}-{self.port}")
        os.mkdir(mine)
        argv, env = self.command(mine, backends, core)
        self.program = processes.Program(argv, core, os.path.join(mine, "log"), env)
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            if not self.program.alive():
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        words = self.program.last_words()
        self.stop()
        raise processes.Failed(f"{self.name} does not start: {words}")

    def before_run(self):
        """What is done before each run, outside of what is measured."""

    def stop(self):
        if self.program:
            self.program.stop()
            self.program = None

    def alive(self):
        return self.program is not None and self.program.alive()


def connections():
    """How many client connections a proxy may hold: each may need a descriptor towards a backend, and half a pipe."""
    return min(16000, (processes.descriptor_limit() - 500) * 2 // 5)


class Weir(Server):
    def __init__(self, path, spin, name=None, access_log=None):
        super().__init__(path, name or ("weir" if spin == "0us" else f"weir spin {spin}"))
        self.spin = spin
        self.access_log = access_log  # the format; its lines go to a file in the folder
        self.log = None

    def serves(self, scenario):
        return self.spin == "0us" or scenario.connections == 1

    def command(self, folder, backends, core):
        config = f"""
[runtime]
cores = "{core}"
spin = "{self.spin}"
max_connections = {connections()}

[admin]
listen = ["127.0.0.1:{free_port()}"]

[log]
level = "warn"

[[listener]]
name = "bench"
address = "127.0.0.1:{self.port}"
pool = "app"
idle_timeout = "10m"
{self.spoken()}
[pool.app]
policy = "round_robin"

[pool.app.upstream]
idle_per_backend = 512
"""
        for port in backends.ports:
            config += f'\n[[pool.app.backend]]\naddress = "127.0.0.1:{port}"\n'
        if self.access_log:
            self.log = os.path.join(folder, "access.log")
            config += f"\n[access_log]\nformat = {json.dumps(self.access_log)}\nto = {json.dumps(self.log)}\n"
        return [self.path, "run", "--config", written(folder, "weir.toml", config)], None

    def spoken(self):
        """The keys of the listener that make it speak TLS, or HTTP/2 in the clear."""
        if self.listener == "h2c":
            return "h2c = true\n"
        if not self.certificate:
            return ""
        cert, key = map(json.dumps, self.certificate)
        return f"\n[listener.tls]\ncertificates = [{{ cert = {cert}, key = {key} }}]\n"

    def before_run(self):
        if self.log:
            os.truncate(self.log, 0)  # some hundred MB a run


NGINX_HEAD = """
daemon off;
worker_processes 1;
worker_rlimit_nofile {descriptors};
pid {folder}/nginx.pid;
error_log stderr error;
events {{ worker_connections {connections}; }}
http {{
  access_log off;
  default_type text/plain;
  keepalive_timeout 600s;
  keepalive_requests 1000000000;
  client_body_temp_path {folder}/client;
  proxy_temp_path {folder}/proxy;
  sendfile on;
  tcp_nopush on;
"""


def nginx_head(folder):
    """What nginx as a proxy and nginx as a backend have in common."""
    descriptors = processes.descriptor_limit()
    return NGINX_HEAD.format(folder=folder, descriptors=descriptors, connections=min(32768, descriptors - 100))


class Nginx(Server):
    peer = True

    def __init__(self, path):
        super().__init__(path, "nginx")

    def command(self, folder, backends, core):
        servers = " ".join(f"server 127.0.0.1:{port};" for port in backends.ports)
        config = nginx_head(folder) + f"""
  upstream app {{
    {servers}
    keepalive 512;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
  }}
  server {{
    listen 127.0.0.1:{self.port} reuseport backlog=4096{self.spoken()}
    location / {{
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_buffer_size 16k;
      proxy_buffers 8 16k;
      proxy_busy_buffers_size 32k;
      proxy_max_temp_file_size 0;
    }}
  }}
}}
"""
        return [self.path, "-p", folder, "-c", written(folder, "nginx.conf", config)], None

    def spoken(self):
        """The rest of the line `listen`, and what TLS needs. No cache of sessions: tickets do without, for less."""
        if self.listener == "plain":
            return ";"
        newer = binaries.numbers(self.path) >= (1, 25, 1)
        words = (" ssl" if self.certificate else "") + ("; http2 on;" if newer else " http2;")
        if self.certificate:
            cert, key = self.certificate
            words += f"\n    ssl_certificate {cert}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;"
            words += "\n    ssl_session_cache none; ssl_session_tickets on;"
        return words


class HAProxy(Server):
    peer = True

    def __init__(self, path):
        super().__init__(path, "HAProxy")

    def command(self, folder, backends, core):
        config = f"""
global
  nbthread 1
  maxconn {connections()}
  tune.bufsize 32768
  tune.ssl.cachesize 0
defaults
  mode http
  option http-keep-alive
  option forwardfor
  option splice-response
  http-reuse always
  timeout connect 5s
  timeout client 10m
  timeout server 10m
  timeout http-keep-alive 10m
listen bench
  bind 127.0.0.1:{self.port} backlog 4096{self.spoken(folder)}
  balance roundrobin
"""
        for number, port in enumerate(backends.ports):
            config += f"  server backend{number} 127.0.0.1:{port}\n"
        return [self.path, "-db", "-f", written(folder, "haproxy.cfg", config)], None

    def spoken(self, folder):
        """The rest of the line `bind`."""
        if not self.certificate:
            return " proto h2" if self.listener == "h2c" else ""
        both = ""
        for path in self.certificate:
            with open(path, encoding="ascii") as file:
                both += file.read()
        return f" ssl crt {written(folder, 'site.pem', both)} alpn h2,http/1.1"


class Envoy(Server):
    peer = True

    def __init__(self, path):
        super().__init__(path, "Envoy", version=envoy_version(path))

    def command(self, folder, backends, core):
        config = written(folder, "envoy.json", json.dumps(self.bootstrap(backends)))
        argv = [self.path, "-c", config, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
        return argv, None

    def bootstrap(self, backends):
        types = "type.googleapis.com/envoy.extensions"
        manager = {
            "@type": f"{types}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "bench",
            "codec_type": "HTTP1" if self.listener == "plain" else "AUTO",
            "use_remote_address": True,  # appends X-Forwarded-For
            "generate_request_id": False,
            "common_http_protocol_options": {"idle_timeout": "600s"},
            "http_filters": [
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {
                        "@type": f"{types}.filters.http.router.v3.Router",
                        "suppress_envoy_headers": True,
                    },
                }
            ],
            "route_config": {
                "virtual_hosts": [
                    {
                        "name": "all",
                        "domains": ["*"],
                        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app", "timeout": "0s"}}],
                    }
                ]
            },
        }
        chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        if self.certificate:
            chain["transport_socket"] = envoy_tls(*self.certificate, types)
        most = 1 << 20
        limits = {name: most for name in ("max_connections", "max_pending_requests", "max_requests", "max_retries")}
        return {
            "static_resources": {
                "listeners": [
                    {
                        "name": "bench",
                        "address": envoy_address(self.port),
                        "tcp_backlog_size": 4096,
                        "filter_chains": [chain],
                    }
                ],
                "clusters": [
                    {
                        "name": "app",
                        "type": "STATIC",
                        "connect_timeout": "5s",
                        "lb_policy": "ROUND_ROBIN",
                        "circuit_breakers": {"thresholds": [limits]},
                        "load_assignment": {
                            "cluster_name": "app",
                            "endpoints": [
                                {
                                    "lb_endpoints": [
                                        {"endpoint": {"address": envoy_address(port)}} for port in backends.ports
                                    ]
                                }
                            ],
                        },
                    }
                ],
            }
        }


def envoy_tls(cert, key, types):
    files = {"certificate_chain": {"filename": cert}, "private_key": {"filename": key}}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{types}.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": {"tls_certificates": [files], "alpn_protocols": ["h2", "http/1.1"]},
        },
    }


def envoy_address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def envoy_version(path):
    """`envoy --version` says "PATH  version: COMMIT/1.40.0/Clean/...": the number between slashes."""
    told = binaries.output(path, "--version").rpartition("version:")[2]
    found = re.search(r"/(\d+\.\d+\.\d+[^/]*)/", told)
    return found.group(1) if found else told.strip()


class Prototype(Server):
    """Takes one receive for one message, so that it can do small messages only."""

    names_client = False

    def __init__(self, path, spin_us):
        path = binaries.given("prototype", os.path.abspath(path))
        super().__init__(path, "prototype" + (f" spin {spin_us}us" if spin_us else ""), version="its source")
        self.spin_us = spin_us

    def serves(self, scenario):
        small = scenario.path == "128" and not scenario.close and not scenario.idle and scenario.listener == "plain"
        return small and (self.spin_us == 0 or scenario.connections == 1)

    def command(self, folder, backends, core):
        ports = ",".join(map(str, backends.ports))
        env = {"PORT": str(self.port), "BACKENDS": ports, "SPIN_US": str(self.spin_us), "PARK": "ring"}
        return [self.path], env


class Backends(Server):
    """Two servers in one nginx: the answers, and `/who`, which shows what a proxy sent."""

    def __init__(self, path):
        super().__init__(path, "backends", version=f"nginx {binaries.version(path)}")
        self.ports = []

    def command(self, folder, _, core):
        self.ports = [self.port, free_port()]
        root = os.path.join(folder, "files")
        os.mkdir(root)
        for path, body in BODIES.items():
            with open(os.path.join(root, path), "wb") as file:
                file.write(body)
        config = nginx_head(folder)
        config += "  open_file_cache max=100;\n  open_file_cache_valid 1h;\n"
        for port in self.ports:
            config += f"""
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    root {root};
    location = /128 {{ return 200 "{BODIES["128"].decode()}"; }}
    location = /who {{ return 200 "$server_port $http_x_forwarded_for"; }}
  }}
"""
        config += "}\n"
        return [self.path, "-p", folder, "-c", written(folder, "nginx.conf", config)], None


def tell_apart(chosen):
    """Adds the version to names that would be the same otherwise (two nginx, say)."""
    names = [proxy.name for proxy in chosen]
    for proxy in chosen:
        if names.count(proxy.name) > 1:
            proxy.name += f" {proxy.version}"
