// Parts of a page (device, visitor, asker) in node, against a real relay and real daemons: for tests.
import { execFile, spawn } from "node:child_process";
import { webcrypto } from "node:crypto";
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import esbuild from "esbuild";

const run = promisify(execFile);
export const bin = resolve(process.env.HITHER_BIN ?? fileURLToPath(new URL("../../target/debug", import.meta.url)));
export const relay_bin = resolve(process.env.RELAY_BIN ?? bin);
const src = fileURLToPath(new URL("../src/core/", import.meta.url));

/** The parts, compiled: node 20 does not read TypeScript. */
export async function load_parts() {
  const contents = `export { DevicePart } from "./device/device.ts"; export { VisitPart } from "./device/visit.ts"; export { AskerPart } from "./device/asker.ts";
    export { MemoryKeep } from "./device/keep.ts"; export { LocalAsker } from "./device/load.ts"; export { hear } from "./device/reading.ts";
    export { open_pipe } from "./pipe.ts"; export { RemoteCore } from "./load.ts";`;
  const folder = await mkdtemp(join(tmpdir(), "hither-parts-"));
  const outfile = join(folder, "parts.mjs");
  const define = { HITHER_WORKER_URL: '""', HITHER_DEVICE_WORKER_URL: '""', HITHER_DEVICE_WASM_URL: '""', HITHER_DEVICE_WASM_INTEGRITY: '""' };
  await esbuild.build({ stdin: { contents, resolveDir: src, loader: "ts" }, outfile, bundle: true, format: "esm", platform: "browser", target: "es2022", define, logLevel: "error" });
  const parts = await import(pathToFileURL(outfile));
  await rm(folder, { recursive: true });
  return parts;
}

/** A byte pipe that is a TCP connection to the relay: the same stream of bytes. */
function tcp_pipe(port, events) {
  const socket = connect({ host: "127.0.0.1", port, noDelay: true });
  socket.on("connect", () => events.opened());
  socket.on("data", (bytes) => events.bytes(bytes));
  socket.on("error", () => {});
  socket.on("close", () => events.closed());
  return { send: (bytes) => socket.write(bytes), close: () => socket.destroy() };
}

/** The means of a part; `options.origin`: the pipe is a WebSocket of a page of that site. */
export function means_of(world, keep, options = {}) {
  const web_socket = () => new WebSocket(new URL("/hither/1/pipe", world.web.replace("http:", "ws:")), { protocols: ["hither.v1"], headers: { origin: options.origin } });
  return {
    now: () => performance.now(),
    date: () => Date.now(),
    random: (bytes) => void webcrypto.getRandomValues(bytes),
    open_pipe: (_, events) => {
      world.pipes = (world.pipes ?? 0) + 1;
      return options.origin ? world.parts.open_pipe(world.web, events, web_socket) : tcp_pipe(world.port, events);
    },
    get: async (_, path, signal) => fetch(new URL(path, world.web), { signal }),
    subtle: options.no_crypto ? undefined : webcrypto.subtle,
    keep,
    module: world.module,
    relay: Promise.resolve(world.id),
  };
}

async function free_port() {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((done) => server.once("listening", done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

/** A world with a relay; daemons are added to it. */
export async function make_world(settings = []) {
  const world = { folder: await mkdtemp(join(tmpdir(), "hither-device-")), daemons: [], settings };
  [world.port, world.http, world.ops] = [await free_port(), await free_port(), await free_port()];
  world.web = `http://127.0.0.1:${world.http}`;
  const said = await start_relay(world);
  world.url = /hither:\/\/\S+\.[0-9a-f]{32}/.exec(said)[0];
  world.id = /#(12D3\w+)/.exec(world.url)[1];
  world.parts = await load_parts();
  world.module = await WebAssembly.compile(await readFile(join(src, "device.wasm")));
  return world;
}

export async function start_relay(world) {
  const plain = [`ops.http=127.0.0.1:${world.ops}`, "extra_tcp_ports=[]", "store.free_floor=1MiB", `web.listen=["127.0.0.1:${world.http}"]`, "web.plain=true", "web.url=https://relay.example"];
  const settings = [...plain, ...world.settings].flatMap((setting) => ["--set", setting]);
  world.relay = spawn(join(relay_bin, "hither-relay"), ["--data", join(world.folder, "relay"), "--address", "127.0.0.1", "--port", String(world.port), ...settings]);
  let said = "";
  await new Promise((done, fail) => {
    const hear = (bytes) => {
      said += bytes;
      if (/^ready: /m.test(said)) done();
    };
    world.relay.stdout.on("data", hear);
    world.relay.stderr.on("data", hear);
    world.relay.once("exit", () => fail(new Error(said)));
  });
  return said;
}

export async function stop_relay(world) {
  const ended = new Promise((done) => world.relay.once("exit", done));
  world.relay.kill("SIGKILL");
  await ended;
}

/** A daemon with a home of its own; the answer runs `hither` on it. */
export async function add_daemon(world, name) {
  const home = join(world.folder, name);
  const env = { ...process.env, HITHER_HOME: home, XDG_RUNTIME_DIR: join(world.folder, `${name}-run`) };
  await mkdir(env.XDG_RUNTIME_DIR, { mode: 0o700 });
  const hither = async (...args) => (await run(join(bin, "hither"), args, { env, timeout: 120_000 })).stdout;
  world.daemons.push(hither);
  return hither;
}

export async function end_world(world) {
  for (const hither of world.daemons) await hither("down").catch(() => undefined);
  await stop_relay(world).catch(() => undefined);
  await rm(world.folder, { recursive: true, force: true });
}

/** A page device that comes with an invitation. */
export async function page_device(world, { invitation, keep = new world.parts.MemoryKeep(), name = "browser", ...options } = {}) {
  if (invitation) await keep.put("facts", "facts", { name, paired: true, invitation });
  const part = new world.parts.DevicePart(means_of(world, keep, options));
  await part.start();
  return Object.assign(part, { keep });
}

/** Resolves with what `look` gives as soon as it gives something. */
export function until(part, look, what = look.toString(), patience_ms = 60_000) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => {
      stop();
      reject(new Error(`not in ${patience_ms} ms: ${what}; ${JSON.stringify(part.view())}`));
    }, patience_ms);
    const check = () => {
      const found = look(part.view());
      // A name that is not there yet is an empty one.
      if (!found) return;
      clearTimeout(late);
      stop();
      resolve(found);
    };
    const stop = part.onchange(check);
    check();
  });
}
