// A small real world: a relay, two devices of one user ("desk", whose dashboard is looked at, and
// "laptop") and one of another user ("phone"), each a real program in a folder of its own.
// The programs are those in HITHER_BIN. Everything ends with `close`, by process id.
import { spawn, execFile } from "node:child_process";
import { mkdtempSync, mkdirSync, writeFileSync, readFileSync, existsSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { randomBytes } from "node:crypto";
import http from "node:http";

/** Waits until `look` gives something; fails after `limit` milliseconds. */
export async function until(what, look, limit = 60_000) {
  const end = Date.now() + limit;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((go) => setTimeout(go, 150));
  }
}

/** One JSON call at the socket of a daemon. */
export function call(socket, method, path, body) {
  return new Promise((resolve, reject) => {
    const request = http.request({ socketPath: socket, method, path, headers: { "content-type": "application/json" } }, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (part) => (text += part));
      answer.on("end", () => {
        const value = answer.headers["content-type"]?.includes("json") ? JSON.parse(text) : text;
        if (answer.statusCode >= 400) reject(Object.assign(new Error(`${method} ${path}: ${text}`), { status: answer.statusCode, value }));
        else resolve(value);
      });
    });
    request.on("error", reject);
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

export class Device {
  constructor(bin, dir, name) {
    Object.assign(this, { bin, name, home: join(dir, name), files: join(dir, `${name}-files`) });
    this.socket = join(this.home, "hither.sock");
    mkdirSync(this.home, { recursive: true });
    mkdirSync(this.files, { recursive: true });
    this.env = { ...process.env, HITHER_HOME: this.home, HITHER_DEVICE_NAME: name, HITHER_PORT: "0", HITHER_ASKS_NOTIFY: "false" };
  }
  async start() {
    this.process = spawn(join(this.bin, "hitherd"), [], { env: this.env, stdio: "ignore" });
    await until(`the socket of ${this.name}`, () => existsSync(this.socket) && call(this.socket, "GET", "/v1/status").catch(() => null));
    return this;
  }
  /** Runs `hither` and gives what it prints. */
  run(...args) {
    return new Promise((resolve, reject) => {
      execFile(join(this.bin, "hither"), args, { env: this.env, timeout: 60_000 }, (error, out, err) => (error ? reject(new Error(`${args.join(" ")}: ${err}${out}`)) : resolve(out)));
    });
  }
  api(method, path, body) {
    return call(this.socket, method, path, body);
  }
  file(name, content) {
    const path = join(this.files, name);
    mkdirSync(join(path, ".."), { recursive: true });
    writeFileSync(path, content);
    return path;
  }
  async stop() {
    const running = this.process;
    this.process = undefined;
    if (!running) return;
    const ended = new Promise((done) => running.on("exit", done));
    running.kill("SIGTERM");
    await Promise.race([ended, new Promise((go) => setTimeout(go, 8000)).then(() => running.kill("SIGKILL"))]);
  }
}

/** Starts everything; `dir` may be given to keep it. */
export async function startWorld(bin, dir = mkdtempSync(join(tmpdir(), "hither-world-"))) {
  mkdirSync(dir, { recursive: true });
  const port = 20_000 + (process.pid % 20_000);
  let said = "";
  const relay = spawn(join(bin, "hither-relay"), ["--data", join(dir, "relay"), "--address", `127.0.0.1:${port}`, "--port", `${port}`, "--set", "ops.http=", "--set", "extra_tcp_ports=[]"], { stdio: ["ignore", "pipe", "pipe"] });
  relay.stdout.on("data", (part) => (said += part));
  relay.stderr.on("data", (part) => (said += part));
  const url = await until("the invitation of the relay", () => said.match(/hither:\/\/[^\s'"]+#[^\s'"]+/)?.[0]).catch((error) => {
    throw new Error(`${error.message}\n${said}`);
  });
  const [desk, laptop, phone] = ["desk", "laptop", "phone"].map((name) => new Device(bin, dir, name));
  await Promise.all([desk.start(), laptop.start(), phone.start()]);
  await desk.run("relay", "add", url);
  await laptop.run("relay", "add", url);
  const other = await new Promise((resolve, reject) =>
    execFile(join(bin, "hither-relay"), ["--data", join(dir, "relay"), "invite"], (error, out, err) => (error ? reject(new Error(err)) : resolve(out.match(/hither:\/\/[^\s'"]+#[^\s'"]+/)[0]))),
  );
  await phone.run("relay", "add", other);
  return {
    dir, desk, laptop, phone,
    async close(keep = false) {
      await Promise.all([desk.stop(), laptop.stop(), phone.stop()]);
      relay.kill("SIGTERM");
      await new Promise((done) => relay.on("exit", done));
      if (!keep) rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Things to see on every screen of the desk's dashboard. */
export async function furnish({ desk, laptop, phone }) {
  const share = async (device, path, ...more) => JSON.parse((await device.run("share", path, "--json", ...more)).trim().split("\n").pop());
  desk.file("holiday/beach.txt", "sun ".repeat(5000));
  desk.file("holiday/notes/plan.txt", "ferry at nine\n");
  const holiday = await share(desk, join(desk.files, "holiday"));
  const film = await share(laptop, laptop.file("film.mkv", randomBytes(48 << 20)));
  await laptop.run("send", "desk", "The key is under the mat.");
  await laptop.run("send", "desk", laptop.file("ticket.pdf", randomBytes(20_000)));
  await desk.run("group", "create", "choir", "--findable");
  await phone.run("group", "join", "choir").catch(() => {});
  const ask = laptop.run("ask", "desk", "place", "--reason", "where do we meet?", "--json").catch(() => "");
  return { holiday, film, ask };
}

export { readFileSync };
