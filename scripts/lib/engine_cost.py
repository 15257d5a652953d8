"""Called by scripts/engine-cost: two devices, one file, and perf on both daemons while it moves."""

import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile

BIN = pathlib.Path(os.environ["HITHER_BENCH_BIN"])
SIZE = 1 << 30


def hither(home, *args):
    """Runs a command on the device at `home` and returns its last line of JSON."""
    env = dict(os.environ, HITHER_HOME=str(home))
    done = subprocess.run([BIN / "hither", *args], env=env, check=True, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    return json.loads(lines[-1]) if lines and lines[-1].startswith("{") else None


def daemon_of(home):
    """The process id of the daemon at `home`: the one with that home in its environment."""
    wanted = f"HITHER_HOME={home}".encode()
    for proc in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if (proc / "comm").read_text().strip() == "hitherd" and wanted in (proc / "environ").read_bytes().split(b"\0"):
                return int(proc.name)
        except OSError:
            continue
    sys.exit(f"no daemon runs at {home}")


def ticks(pid):
    """Processor time of a process so far, seconds."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def stacks(data):
    """The stacks that perf saw, each as one text."""
    out = subprocess.run(["perf", "script", "-i", data, "-F", "ip,sym"], capture_output=True, text=True, check=True).stdout
    return [stack for stack in out.split("\n\n") if stack.strip()]


def once(folder, file):
    """One fetch by a fresh device: processor seconds, samples, samples in the engine."""
    origin, fetcher, data = folder / "origin", folder / "fetcher", folder / "perf.data"
    for home in (origin, fetcher):
        home.mkdir()
    try:
        ticket = hither(origin, "share", str(file), "--json")["ticket"]
        hither(fetcher, "up")
        pids = [daemon_of(origin), daemon_of(fetcher)]
        perf = subprocess.Popen(
            ["perf", "record", "-q", "-F", "997", "--call-graph", "dwarf,16384", "-p", ",".join(map(str, pids)), "-o", data],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not data.exists() and perf.poll() is None:
            pass
        before = sum(map(ticks, pids))
        hither(fetcher, "fetch", ticket, "-o", str(folder / "out"), "--yes", "--json")
        spent = sum(map(ticks, pids)) - before
        perf.send_signal(signal.SIGINT)
        perf.wait()
    finally:
        for home in (origin, fetcher):
            hither(home, "down")
    seen = stacks(data)
    return spent, len(seen), sum("hither_engine::" in stack for stack in seen)


def main():
    rows = []
    for _ in range(int(sys.argv[1])):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="hither-engine-cost-", dir="/dev/shm"))
        try:
            file = folder / "file"
            with file.open("wb") as out:
                for _ in range(SIZE >> 20):
                    out.write(os.urandom(1 << 20))
            rows.append(once(folder, file))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    print("| processor time of both daemons, s/GiB | samples | in the engine | share |\n|---|---|---|---|")
    for spent, samples, engine in rows:
        print(f"| {spent:.2f} | {samples} | {engine} | {100 * engine / samples:.1f} % |")
    print(f"\nMedian share: {statistics.median(100 * e / s for _, s, e in rows):.1f} %")


main()
