"""The measurements behind scripts/swarm-bench: one network of namespaces, several tools on it in turns.

Devices hang on one switch; what they send is shaped with tbf. "Ideal" is the time that the file takes over the shaped links
by what one plain TCP connection carries over them, measured before each scenario. Origin bytes are those on its cable.
"""
import http.server, json, os, shutil, signal, socket, socketserver, statistics, struct, subprocess, sys, tempfile, threading, time
import urllib.parse

BIN = os.environ["HITHER_BENCH_BIN"]
TOOLS = os.environ.get("HITHER_BENCH_TOOLS", "hither,libtorrent,aria2").split(",")
MIB = 1 << 20
TAG = f"sb{os.getpid()}"
HERE = os.path.dirname(os.path.abspath(__file__))
# Name: MiB, Mbit/s of the sources, fetchers. The first source is the origin.
SCENARIOS = {"one-to-four": (64, [50], 4), "one-to-sixteen": (64, [50], 16), "unequal": (128, [25, 25, 50, 100], 1)}
PATIENCE = 300


def run(*argv):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE).stdout.decode()


class Place:
    """A namespace with a cable to the switch. Cables of namespaces that are gone go a moment later: no name is used twice."""
    made = 0

    def __init__(self, number):
        Place.made += 1
        port = f"port{Place.made}"
        self.ns, self.address, self.children = f"{TAG}-{Place.made}", f"10.96.0.{number + 10}", []
        run("ip", "netns", "add", self.ns)
        run("ip", "link", "add", port, "netns", TAG, "type", "veth", "peer", "name", "net0", "netns", self.ns)
        run("ip", "-n", TAG, "link", "set", port, "master", "switch", "up")
        for line in (f"addr add {self.address}/24 dev net0", "link set net0 up", "link set lo up"):
            run("ip", "-n", self.ns, *line.split())

    def shape(self, mbit):
        run("tc", "-n", self.ns, "qdisc", "replace", "dev", "net0", "root", "tbf", "rate", f"{mbit}mbit", "burst", "128kb", "latency", "50ms")

    def sent(self):
        return int(run("ip", "netns", "exec", self.ns, "cat", "/sys/class/net/net0/statistics/tx_bytes"))

    def argv(self, *argv):
        return ["ip", "netns", "exec", self.ns, *argv]

    def start(self, *argv, **kw):
        child = subprocess.Popen(self.argv(*argv), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **kw)
        self.children.append(child)
        return child

    def close(self):
        for child in self.children:
            child.kill()
            child.wait()
        run("ip", "netns", "del", self.ns)


def goodput(source, reader, size=6 * MIB):
    """Bytes per second of one plain TCP connection."""
    code = ("import socket,sys,time\ns=socket.create_server((sys.argv[1],5001));print('up',flush=True);c,_=s.accept();n=len(c.recv(1<<18));t=time.time();f=n\n"
            "while n<int(sys.argv[2]):\n  b=c.recv(1<<18)\n  if not b: break\n  n+=len(b)\nprint((n-f)/(time.time()-t),flush=True)")
    read = reader.start("python3", "-c", code, reader.address, str(size))
    read.stdout.readline()
    send = "import socket,sys\nc=socket.create_connection((sys.argv[1],5001));c.sendall(bytes(int(sys.argv[2])))"
    run(*source.argv("python3", "-c", send, reader.address, str(size)))
    return float(read.stdout.readline())


class Hither:
    def __init__(self, root, file, sources, fetchers):
        self.root, self.fetchers = root, fetchers
        self.env = {place: dict(os.environ, HITHER_HOME=os.path.join(root, place.ns)) for place in sources + fetchers}
        for place in sources + fetchers:
            self.cli(place, "up")
        done = self.cli(sources[0], "share", file)[-1]
        self.ticket = done["ticket"]
        for place in sources[1:]:
            self.cli(place, "fetch", self.ticket, "--yes", "-o", os.path.join(root, place.ns, "got"))
        wanted = len(sources) + len(fetchers) - 1
        for place in fetchers:
            until = time.time() + 30
            while self.cli(place, "status")[-1]["nearby"] < wanted and time.time() < until:
                time.sleep(0.1)

    def cli(self, place, *argv):
        argv = place.argv(os.path.join(BIN, "hither"), "--json", *argv)
        out = subprocess.run(argv, check=True, stdout=subprocess.PIPE, env=self.env[place], timeout=PATIENCE).stdout.decode()
        return [json.loads(line) for line in out.splitlines()]

    def fetch(self):
        argv = lambda p: (os.path.join(BIN, "hither"), "--json", "fetch", self.ticket, "--yes", "-o", os.path.join(self.root, p.ns, "got"))
        running = [place.start(*argv(place), env=self.env[place]) for place in self.fetchers]
        for child in running:
            if child.wait(PATIENCE) != 0:
                raise RuntimeError("a fetch failed")

    def close(self):
        for place in self.env:
            self.cli(place, "down")


class Tracker(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Tells every peer of all others (BEP 3, BEP 23)."""
    daemon_threads = True


class Announce(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
        self.server.peers.add((self.client_address[0], int(query["port"][0])))
        peers = b"".join(socket.inet_aton(ip) + struct.pack(">H", port) for ip, port in self.server.peers if ip != self.client_address[0])
        body = b"d8:intervali5e12:min intervali2e5:peers%d:%se" % (len(peers), peers)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Torrent:
    """What the two BitTorrent clients have in common."""

    def __init__(self, root, file, sources, fetchers):
        import libtorrent as lt
        self.root, self.fetchers, self.file = root, fetchers, file
        self.torrent = os.path.join(root, "file.torrent")
        made = lt.create_torrent(lt.list_files(file), 256 << 10, lt.create_torrent.v1_only)
        made.add_tracker(f"http://{TRACKER.server_address[0]}:{TRACKER.server_address[1]}/announce")
        lt.set_piece_hashes(made, os.path.dirname(file))
        with open(self.torrent, "wb") as out:
            out.write(lt.bencode(made.generate()))
        TRACKER.peers = set()
        for place in sources:
            self.peer(place, os.path.dirname(file), "seed")
        time.sleep(2)  # Peers announce themselves to the tracker in their own time.

    def fetch(self):
        for place in self.fetchers:
            os.makedirs(os.path.join(self.root, place.ns), exist_ok=True)
        running = [self.peer(place, os.path.join(self.root, place.ns), "fetch") for place in self.fetchers]
        for child in running:
            if not self.wait(child):
                raise RuntimeError("a fetch failed")

    def close(self):
        pass


class Libtorrent(Torrent):
    def peer(self, place, folder, role):
        return place.start("python3", os.path.join(HERE, "swarm_peer.py"), self.torrent, folder, place.address, role)

    def wait(self, child):
        return any(line.startswith("done") for line in child.stdout)


class Aria2(Torrent):
    def peer(self, place, folder, role):
        check = ["--check-integrity=true", "--seed-ratio=0"] if role == "seed" else ["--seed-ratio=0"]
        hook = os.path.join(self.root, "hook")
        with open(hook, "w") as out:
            out.write("#!/bin/sh\necho done\n")
        os.chmod(hook, 0o755)
        return place.start("aria2c", "-q", "-d", folder, "--enable-dht=false", "--bt-enable-lpd=false", "--listen-port=6881", "--file-allocation=none",
                           "--bt-tracker-interval=2", f"--on-bt-download-complete={hook}", f"--interface={place.address}", "--allow-overwrite=true", *check, self.torrent)

    def wait(self, child):
        return any(line.startswith("done") for line in child.stdout)


KINDS = {"hither": Hither, "libtorrent": Libtorrent, "aria2": Aria2}


def measure(tool, name, root):
    mib, sources, count = SCENARIOS[name]
    places = [Place(n) for n in range(len(sources) + count)]
    try:
        given, fetchers = places[:len(sources)], places[len(sources):]
        folder = os.path.join(root, "shared")
        os.makedirs(folder)
        file = os.path.join(folder, "film.mkv")
        with open(file, "wb") as out:
            for _ in range(mib):
                out.write(os.urandom(MIB))
        kind = KINDS[tool](root, file, given, fetchers)
        for place, mbit in zip(given, sources):
            place.shape(mbit)
        ideal = mib * MIB / sum(goodput(place, fetchers[0]) for place in given)
        before, began = given[0].sent(), time.time()
        kind.fetch()
        seconds, sent = time.time() - began, given[0].sent() - before
        kind.close()
        return seconds / ideal, sent / (mib * MIB)
    finally:
        for place in places:
            place.close()
        shutil.rmtree(root)


def main():
    global TRACKER
    words = sys.argv[1:]
    repetitions = int(words.pop(0)) if words and words[0].isdigit() else 1
    names = words or list(SCENARIOS)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    run("ip", "netns", "add", TAG)
    try:
        for line in ("link add switch type bridge mcast_snooping 0", "addr add 10.96.0.1/24 dev switch", "link set switch up", "link set lo up"):
            run("ip", "-n", TAG, *line.split())
        enter = os.open(f"/run/netns/{TAG}", os.O_RDONLY)
        thread = threading.Thread(target=serve_tracker, args=(enter,), daemon=True)
        thread.start()
        while "TRACKER" not in globals():
            time.sleep(0.05)
        print("| | tool | time ÷ ideal | origin ÷ file |\n|---|---|---|---|")
        for name in names:
            figures = {tool: [] for tool in TOOLS}
            for _ in range(repetitions):
                for tool in TOOLS:
                    figures[tool].append(measure(tool, name, tempfile.mkdtemp(prefix="swarm-", dir=os.environ.get("TMPDIR", "/dev/shm"))))
            for tool, measured in figures.items():
                time_, origin = (statistics.median(column) for column in zip(*measured))
                print(f"| {name} | {tool} | {time_:.2f} | {origin:.2f} |", flush=True)
    finally:
        run("ip", "netns", "del", TAG)


def serve_tracker(namespace):
    """A thread that lives in the switch's namespace."""
    global TRACKER
    import ctypes
    if ctypes.CDLL(None, use_errno=True).setns(namespace, 0x40000000) != 0:
        raise OSError(ctypes.get_errno(), "setns")
    tracker = Tracker(("10.96.0.1", 8000), Announce)
    tracker.peers = set()
    TRACKER = tracker
    tracker.serve_forever()


main()
