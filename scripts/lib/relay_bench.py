"""What scripts/relay-bench does: a relay of its own for each measurement, relay_load beside it, Markdown at the end."""

import json
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

DEVICES = int(os.environ.get("HITHER_BENCH_DEVICES", "10000"))
GIB = os.environ.get("HITHER_BENCH_GIB", "1")
TCP = os.environ.get("HITHER_BENCH_TCP") == "1"
RELAY = Path(os.environ["HITHER_BENCH_RELAY"]) / "hither-relay"
LOAD = Path(os.environ["HITHER_BENCH_LOAD"]) / "relay_load"
COMMANDS = ["idle", "push", "mail", "storm", "store", "circuit", "hostile"]

# All devices come from one address: what is limited for an address is raised, everything else is as by default.
CONFIG = """
port = {port}
address = "127.0.0.1"
loopback_only = true
extra_tcp_ports = []
[front]
max_connections_per_address = 20000
max_handshakes_per_address = 1024
[limits]
address = {{ per_second = 100000.0, burst = 100000.0 }}
wrong_invitation = {{ per_second = 100000.0, burst = 100000.0 }}
[store]
free_floor = "64 MiB"
[ops]
http = ""
log = "warn"
"""


# Limits as by default, for measuring what they are there for.
PLAIN = CONFIG[:CONFIG.index("[front]")] + CONFIG[CONFIG.index("[store]"):]
# How often everybody is measured alone and beside hostile clients, and for how many seconds.
HOSTILE = (7, 10)


def free_port():
    """A port that is free for UDP and TCP."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


class Relay:
    """A relay with its own data folder."""

    def __init__(self, folder, config=CONFIG):
        self.folder = Path(folder)
        self.config = self.folder / "config.toml"
        self.config.write_text(config.format(port=free_port()))
        self.process = None
        self.start()

    def start(self):
        command = [RELAY, "--config", self.config, "--data", self.folder / "data", "--json"]
        log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        ready = json.loads(self.process.stdout.readline() or '{"message": "it ended"}')
        if ready.get("event") != "ready":
            sys.exit(f"the relay did not start: {ready.get('message')}")
        self.url = ready["url"]
        (self.folder / "pid").write_text(str(self.process.pid))

    def stop(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def restart(self, how):
        self.stop(how)
        self.start()


def load(arguments, tcp=False, restart=None):
    """Runs one measurement against a new relay; gives what was measured."""
    with tempfile.TemporaryDirectory(prefix="hither-relay-bench-") as folder:
        relay = Relay(folder)
        command = [LOAD, "--relay", relay.url, "--bin", RELAY, "--data", relay.folder / "data"]
        command += ["--pid-file", relay.folder / "pid"] + (["--tcp"] if tcp else []) + arguments
        generator = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        measured = []
        try:
            for line in generator.stdout:
                value = json.loads(line)
                if value.get("event") == "holding":
                    relay.restart(restart)
                else:
                    measured.append(value)
            if generator.wait() != 0:
                print(f"failed: {' '.join(arguments)}", file=sys.stderr)
        finally:
            if generator.poll() is None:
                generator.kill()
                generator.wait()
            relay.stop()
        # What a measurement did to the relay that it should not have done.
        log = (relay.folder / "log").read_text(errors="replace").splitlines()
        for line in log[:5]:
            print(f"relay: {line}", file=sys.stderr)
        return measured


def table(title, head, rows):
    print(f"\n### {title}\n\n| " + " | ".join(head) + " |")
    print("|" + "|".join("---" for _ in head) + "|")
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    sys.stdout.flush()


def spread(value):
    return f"{value['p50_ms']} / {value['p99_ms']} / {value['max_ms']}"


def errors(value):
    return ", ".join(f"{count} × {what}" for what, count in value.items()) or "none"


def idle():
    found = [value for tcp in carriers() for value in load(["idle", str(DEVICES)], tcp)]
    head = ["carrier", "devices", "KiB each", "RSS, MiB", "% of a core", "connect p50 / p99 / max, ms", "errors", "lost"]
    table("Idle devices, ping every 25 s", head, [
        [v["carrier"], v["devices"], v["kib_each"], round(v["rss_kib"] / 1024, 1), v["cpu_percent"],
         spread(v["connect"]), errors(v["errors"]), errors(v["lost"])] for v in found])


def push():
    found = [value for idle in ("0", "2000") for value in load(["push", "2000", "20", "--idle", idle])]
    head = ["idle besides", "rate", "delivered", "lost", "delivery p50 / p99 / max, ms", "answer, the same",
            "% of a core", "errors"]
    table("Messages of 256 bytes to connected devices", head, [
        [v["idle"], v["rate"], v["delivered"], v["lost"], spread(v["delivery"]), spread(v["answer"]),
         v["cpu_percent"], errors(v["errors"])] for v in found])


def mail():
    found = load(["mail", "5000", "20"])
    head = ["rate", "accepted", "accepted/s", "answer p50 / p99 / max, ms", "fetched later", "lost", "% of a core",
            "errors"]
    table("Durable messages of 1 KiB to devices that are away", head, [
        [v["rate"], v["accepted"], v["accepted_per_s"], spread(v["answer"]), v["fetched"], v["lost"],
         v["cpu_percent"], errors(v["errors"])] for v in found])


def storm():
    rows = []
    for tcp in carriers():
        for how in (signal.SIGTERM, signal.SIGKILL):
            for v in load(["storm", str(DEVICES)], tcp, how):
                rows.append([v["carrier"], how.name, v["devices"], v["back"], v["settled_s"],
                             v["since_first"]["p50_ms"] / 1000, v["attempts"], v["busy"], v["relay_cpu_s"],
                             round(v["rss_kib"] / 1024, 1), errors(v["errors"])])
    head = ["carrier", "restart", "devices", "back", "all back, s", "half back, s", "attempts", "told to wait",
            "processor of the relay, s", "RSS after, MiB", "errors"]
    table("All devices come back after a restart", head, rows)


def store():
    found = [value for tcp in (True, False) for value in load(["store", GIB], tcp)]
    head = ["carrier", "round", "bare TCP + TLS, MiB/s", "upload, MiB/s", "part", "download, MiB/s", "part",
            "processor s/GiB: bare, both ends", "up: relay, generator", "down: relay, generator"]
    table(f"Store, {GIB} GiB in chunks of 512 KiB", head, [
        [v["carrier"], v["round"], v["bare_mib_s"], v["upload_mib_s"], v["upload_part"], v["download_mib_s"],
         v["download_part"], v["bare_cpu_s_per_gib"], *(f"{v[way + '_cpu_s_per_gib']}, {v[way + '_load_cpu_s_per_gib']}"
         for way in ("upload", "download"))] for v in found])


def circuit():
    found = [value for tcp in (True, False) for value in load(["circuit", GIB], tcp)]
    head = ["carrier", "round", "bare TCP + TLS, MiB/s", "circuit, MiB/s", "part", "processor s/GiB: bare, both ends",
            "relay", "generator"]
    keys = ["carrier", "round", "bare_mib_s", "mib_s", "part", "bare_cpu_s_per_gib", "cpu_s_per_gib", "load_cpu_s_per_gib"]
    table(f"Circuit, {GIB} GiB", head, [[v[key] for key in keys] for v in found])


def hostile():
    """Everybody alone, with hostile clients at another relay of this machine, and beside them, in turns; default limits.

    Hostile clients, and a relay that refuses them, take processor time wherever they are. What they do to the others of a
    relay is the difference between the last two."""
    rounds, seconds = HOSTILE
    found = {"alone": [], "hostile clients elsewhere": [], "beside hostile clients": []}
    attacks = []
    with tempfile.TemporaryDirectory(prefix="hither-relay-bench-") as one, \
            tempfile.TemporaryDirectory(prefix="hither-relay-bench-") as two:
        relay, other = Relay(one, PLAIN), Relay(two, PLAIN)

        def command(of):
            return [LOAD, "--relay", of.url, "--bin", RELAY, "--data", of.folder / "data", "--pid-file", of.folder / "pid"]

        try:
            for _ in range(rounds):
                for who, victim in zip(found, (None, other, relay)):
                    if victim:
                        attack = command(victim) + ["attack", str(seconds + 6)]
                        attack = subprocess.Popen(attack, stdout=subprocess.PIPE, text=True)
                        attack.stdout.readline()
                    push = command(relay) + ["push", "400", str(seconds), "--pairs", "20"]
                    lines = subprocess.run(push, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
                    found[who] += [json.loads(line) for line in lines]
                    if victim:
                        said = json.loads(attack.communicate()[0].splitlines()[-1])
                        if victim is relay:
                            attacks.append(said)
        finally:
            relay.stop()
            other.stop()
    head = ["", "delivered", "lost", "delivery p50, ms", "p99, ms", "answer p50, ms", "p99, ms", "relay, % of a core"]
    middle = lambda values: round(statistics.median(values), 2)
    table(f"400 messages/s of others, medians of {rounds}", head, [
        [who, sum(v["delivered"] for v in of), sum(v["lost"] for v in of),
         *(middle([v[what][which] for v in of]) for what in ("delivery", "answer") for which in ("p50_ms", "p99_ms")),
         middle([v["cpu_percent"] for v in of])] for who, of in found.items()])
    print("\nThe hostile clients, each time: " + "; ".join(
        f"{middle([a[what] for a in attacks])} {what}" for what in ("slow", "strangers", "forged", "granted")))


def carriers():
    return (False, True) if TCP else (False,)


def main():
    wanted = sys.argv[1:] or COMMANDS
    unknown = [name for name in wanted if name not in COMMANDS]
    if unknown:
        sys.exit(f"relay-bench: there is no {', '.join(unknown)}; there are {' '.join(COMMANDS)}")
    # So that what was started is ended, and its folders are removed, when this is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    need = DEVICES * 3 // 2
    if soft < need:
        if hard != resource.RLIM_INFINITY and hard < need:
            sys.exit(f"relay-bench: {DEVICES} devices need {need} open files, {hard} are allowed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (need, hard))
    for program in (RELAY, LOAD):
        if not shutil.which(program):
            sys.exit(f"relay-bench: {program} is missing")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before; the generator runs beside the relay.")
    for name in wanted:
        globals()[name]()


main()
