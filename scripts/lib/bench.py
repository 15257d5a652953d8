"""The measurements behind scripts/bench. Standard library only.

Two namespaces, one veth pair (MTU 1500), everything on tmpfs. Tools take turns within a repetition, so that a drift of the
machine meets all of them. Wall times are of whole commands, as a user would wait; CPU is user + system of the two daemons.
"""
import json, os, shutil, signal, statistics, subprocess, sys, tempfile, time

BIN = os.environ["HITHER_BIN"]
REPS = int(sys.argv[1])
GIB = 1 << 30
HZ = os.sysconf("SC_CLK_TCK")


def run(*argv, **kw):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw).stdout.decode()


def have(tool):
    if shutil.which(tool):
        return True
    print(f"({tool} is not installed: its row is left out)", file=sys.stderr)
    return False


class Net:
    """Two namespaces and the cable between them."""

    def __init__(self):
        tag = f"hb{os.getpid()}"
        self.ns = [f"{tag}a", f"{tag}b"]
        for ns in self.ns:
            run("ip", "netns", "add", ns)
            run("ip", "-n", ns, "link", "set", "lo", "up")
        run("ip", "link", "add", "cable0", "netns", self.ns[0], "type", "veth", "peer", "name", "cable0", "netns", self.ns[1])
        for i, ns in enumerate(self.ns):
            run("ip", "-n", ns, "addr", "add", f"10.98.0.{i + 1}/24", "dev", "cable0")
            run("ip", "-n", ns, "link", "set", "cable0", "up")

    def argv(self, side, *argv):
        return ["ip", "netns", "exec", self.ns[side], *argv]

    def shape(self, mbit):
        for ns in self.ns:
            run("tc", "-n", ns, "qdisc", "replace", "dev", "cable0", "root", "tbf", "rate", f"{mbit}mbit", "burst", "64kb", "latency", "50ms")

    def unshape(self):
        for ns in self.ns:
            subprocess.run(["tc", "-n", ns, "qdisc", "del", "dev", "cable0", "root"], stderr=subprocess.DEVNULL)

    def sent(self, side):
        return int(run("ip", "netns", "exec", self.ns[side], "cat", "/sys/class/net/cable0/statistics/tx_bytes"))

    def close(self):
        for ns in self.ns:
            subprocess.run(["ip", "netns", "del", ns])


class Device:
    """One daemon in one namespace."""

    def __init__(self, net, side, home, **env):
        self.net, self.side, self.home = net, side, home
        self.env = {**os.environ, "HITHER_HOME": home, "HITHER_DEVICE_NAME": f"side{side}", **env}
        os.makedirs(home)
        self.hither("up")
        self.pid = json.loads(self.hither("status", "--json"))["pid"]

    def hither(self, *argv):
        return run(*self.net.argv(self.side, f"{BIN}/hither", *argv), env=self.env)

    def last(self, *argv):
        event = json.loads(self.hither(*argv).strip().splitlines()[-1])
        assert event["event"] == "done", event
        return event

    def cpu(self):
        with open(f"/proc/{self.pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / HZ

    def memory(self, key="VmHWM"):
        with open(f"/proc/{self.pid}/status") as f:
            return next(int(line.split()[1]) // 1024 for line in f if line.startswith(key))

    def close(self):
        subprocess.run(self.net.argv(self.side, f"{BIN}/hither", "down"), env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


class Bench:
    def __init__(self):
        self.work = tempfile.mkdtemp(prefix="hither-bench.", dir="/dev/shm")
        self.net = Net()
        self.rows, self.servers, self.count = {}, [], 0

    def path(self, *parts):
        return os.path.join(self.work, *parts)

    def note(self, table, tool, **figures):
        for key, value in figures.items():
            self.rows.setdefault(table, {}).setdefault(tool, {}).setdefault(key, []).append(value)

    def timed(self, argv, **kw):
        start = time.monotonic()
        run(*argv, **kw)
        return time.monotonic() - start

    def pair(self, **env):
        self.count += 1
        return [Device(self.net, side, self.path(f"home{self.count}-{side}"), **env) for side in (0, 1)]

    def same(self, a, b):
        run("diff", "-r", a, b)

    def drop(self, path):
        shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)

    # --- data ---

    def big(self, name, size):
        path = self.path("data", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            for _ in range(size >> 20):
                f.write(os.urandom(1 << 20))
        return path

    def small(self, name, count):
        import random
        rng = random.Random(7)
        for i in range(count):
            folder = self.path("data", name, f"d{i // 100}")
            os.makedirs(folder, exist_ok=True)
            with open(f"{folder}/f{i}", "wb") as f:
                f.write(rng.randbytes(rng.randint(1024, 16384)))
        return self.path("data", name)

    # --- yardsticks ---

    def start_servers(self):
        conf = self.path("nginx.conf")
        if have("nginx") and have("curl") and have("openssl"):
            run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                "-subj", "/CN=10.98.0.1", "-keyout", self.path("key.pem"), "-out", self.path("cert.pem"))
            with open(conf, "w") as f:
                f.write(f"""daemon off; user root; worker_processes 2; pid {self.path('nginx.pid')}; error_log /dev/null;
events {{}} http {{ access_log off; sendfile on; server {{ listen 10.98.0.1:8443 ssl; ssl_protocols TLSv1.3;
ssl_certificate {self.path('cert.pem')}; ssl_certificate_key {self.path('key.pem')}; root {self.path('data')}; }} }}""")
            self.servers.append(subprocess.Popen(self.net.argv(0, "nginx", "-c", conf), stderr=subprocess.DEVNULL))
        if have("rsync"):
            with open(self.path("rsyncd.conf"), "w") as f:
                f.write(f"use chroot = no\nuid = root\ngid = root\n[data]\npath = {self.path('data')}\n")
            self.servers.append(subprocess.Popen(self.net.argv(0, "rsync", "--daemon", "--no-detach", "--config", self.path("rsyncd.conf"), "--address", "10.98.0.1")))
        time.sleep(1)

    def curl(self, table, name):
        if shutil.which("nginx") and shutil.which("curl"):
            target = self.path("got-curl")
            seconds = self.timed(self.net.argv(1, "curl", "-sk", "--tlsv1.3", f"https://10.98.0.1:8443/{name}", "-o", target))
            self.note(table, "curl, nginx, TLS 1.3", fetch=seconds, total=seconds)
            os.unlink(target)

    def rsync(self, table, name, keep=False):
        if shutil.which("rsync"):
            before = self.net.sent(0)
            seconds = self.timed(self.net.argv(1, "rsync", "-a", f"rsync://10.98.0.1/data/{name}", self.path("got-rsync/")))
            self.note(table, "rsync", fetch=seconds, total=seconds, wire=(self.net.sent(0) - before) / 1e6)
            if not keep:
                self.drop(self.path("got-rsync"))

    # --- Hither ---

    def round(self, table, tool, name, *options, devices=None, **env):
        """One share and one fetch by daemons that run already."""
        own = devices is None
        a, b = devices or self.pair(**env)
        got = self.path("got-hither")
        cpu = a.cpu(), b.cpu()
        start = time.monotonic()
        ticket = a.last("share", "--json", "--no-upload", self.path("data", name))["ticket"]
        shared = time.monotonic() - start
        middle = a.cpu()
        before = self.net.sent(0)
        start = time.monotonic()
        b.last("fetch", "--json", "--yes", "-o", got, *options, ticket)
        fetched = time.monotonic() - start
        self.note(table, tool, share=shared, fetch=fetched, total=shared + fetched, wire=(self.net.sent(0) - before) / 1e6,
                  cpu_share=middle - cpu[0], cpu_from=a.cpu() - middle, cpu_to=b.cpu() - cpu[1], rss_from=a.memory(), rss_to=b.memory())
        self.same(self.path("data", os.path.basename(name)), os.path.join(got, os.path.basename(name)))
        if own:
            self.drop(got)
            a.close(), b.close()

    def import_only(self):
        table = "Import of 1 GiB (in the page cache)"
        if shutil.which("b3sum"):
            self.note(table, "b3sum, all cores", total=self.timed(["b3sum", self.path("data/big")]))

    def delta(self):
        table = "New version of 256 MiB (1 KiB inserted, 100 × 4 KiB overwritten)"
        import random
        path = self.big("version", 256 << 20)
        a, b = devices = self.pair()
        rng = random.Random(len(self.rows.get(table, {}).get("Hither", {}).get("total", [])))
        self.round("(first version)", "Hither", "version", devices=devices)
        if shutil.which("rsync"):
            run(*self.net.argv(1, "rsync", "-a", "rsync://10.98.0.1/data/version", self.path("got-rsync/")))
        with open(path, "rb") as f:
            data = bytearray(f.read())
        data[len(data) // 2:len(data) // 2] = rng.randbytes(1024)
        for _ in range(100):
            at = rng.randrange(len(data) - 4096)
            data[at:at + 4096] = rng.randbytes(4096)
        with open(path, "wb") as f:
            f.write(data)
        self.round(table, "Hither", "version", "--overwrite", devices=devices)
        if shutil.which("rsync"):
            self.rsync(table, "version")
        self.drop(self.path("got-hither"))
        a.close(), b.close()

    def rest(self):
        a, b = self.pair()
        before = a.cpu()
        time.sleep(20)
        self.note("A daemon at rest, another one nearby", "hitherd", cpu_percent=100 * (a.cpu() - before) / 20, rss=a.memory("VmRSS"))
        a.close(), b.close()

    def large(self):
        """Memory: a million chunks known, and 10 GiB moved (on disk, where the temporary folder is)."""
        table = "Memory at size (MiB)"
        os.makedirs(self.path("data", "many"))
        seed = self.big("seed", 256 << 20)
        for i in range(256):
            os.link(seed, self.path("data", "many", f"f{i}"))  # 64 GiB to read, 256 MiB to store
        a, b = self.pair()
        shared = a.last("share", "--json", self.path("data", "many"))
        self.note(table, f"{shared['chunks']:,} chunks known", rss_from=a.memory("VmRSS"), peak_from=a.memory())
        a.close(), b.close()
        self.drop(self.path("data", "many"))
        a, b = self.pair()
        with tempfile.TemporaryDirectory(prefix="hither-bench.") as disk:
            with open(f"{disk}/large", "wb") as f:
                for _ in range(10 << 10):
                    f.write(os.urandom(1 << 20))
            ticket = a.last("share", "--json", f"{disk}/large")["ticket"]
            start = time.monotonic()
            b.last("fetch", "--json", "--yes", "-o", f"{disk}/got", ticket)
            self.note(table, "10 GiB moved", peak_from=a.memory(), peak_to=b.memory(), seconds=time.monotonic() - start)
            run("cmp", f"{disk}/large", f"{disk}/got/large")
        a.close(), b.close()

    def all(self):
        self.big("big", GIB)
        self.small("small", 10000)
        self.big("quarter", 256 << 20)
        self.start_servers()
        lan, small, shaped = "LAN, 1 GiB", "10,000 files of 1–16 KiB", "256 MiB over 200 Mbit/s"
        for rep in range(REPS):
            print(f"repetition {rep + 1} of {REPS}…", file=sys.stderr)
            self.import_only()
            self.curl(lan, "big")
            self.rsync(lan, "big")
            self.round(lan, "Hither", "big")
            self.round(lan, "Hither, QUIC alone", "big", HITHER_TCP="false")
            self.rsync(small, "small")
            self.round(small, "Hither", "small")
            self.delta()
            if rep < 2:
                self.net.shape(200)
                self.curl(shaped, "quarter")
                self.round(shaped, "Hither", "quarter")
                self.round(shaped, "Hither, QUIC alone", "quarter", HITHER_TCP="false")
                self.net.unshape()
        self.rows.setdefault("Import of 1 GiB (in the page cache)", {})["hither share"] = {
            "total": self.rows[lan]["Hither"]["share"], "cpu": self.rows[lan]["Hither"]["cpu_share"]}
        self.rest()
        if os.environ.get("HITHER_BENCH_LARGE"):
            self.large()

    def report(self):
        self.rows.pop("(first version)", None)
        for table, tools in self.rows.items():
            keys = list(dict.fromkeys(key for figures in tools.values() for key in figures))
            print(f"\n### {table}\n\n| | " + " | ".join(keys) + " |\n|---|" + "---|" * len(keys))
            for tool, figures in tools.items():
                cells = []
                for key in keys:
                    values = figures.get(key)
                    cells.append("" if not values else f"{statistics.median(values):.3g} ({min(values):.3g} … {max(values):.3g})")
                print(f"| {tool} | " + " | ".join(cells) + " |")

    def close(self):
        for server in self.servers:
            server.send_signal(signal.SIGTERM)
            server.wait()
        self.net.close()
        shutil.rmtree(self.work)


def main():
    bench = Bench()
    try:
        with open("/proc/cpuinfo") as f:
            model = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), "?")
        print(f"{os.cpu_count()} × {model}, Linux {os.uname().release}, {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') >> 30} GiB; "
              f"seconds, MB on the wire from the origin, CPU seconds, MiB; {REPS} repetitions: median (minimum … maximum)")
        bench.large() if os.environ.get("HITHER_BENCH_LARGE") == "only" else bench.all()
        bench.report()
    finally:
        bench.close()


main()
