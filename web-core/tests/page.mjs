// Reads a share as a page does, in node: the core's module, its driver (web/src/core) and a real relay.
//
//   node web-core/tests/page.mjs --ticket T --relay ID (--tcp HOST:PORT | --web https://HOST:PORT) [--no-get] [--no-crypto] [--out FILE]
//
// --tcp takes the relay's TCP port for the byte pipe, which is the same stream of bytes; --web the WebSocket and chunks by GET
// (node 20: with --experimental-websocket). Prints what was read, how fast, and who gave it.
import { createHash, webcrypto } from "node:crypto";
import { createWriteStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { connect } from "node:net";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = fileURLToPath(new URL("../..", import.meta.url));

/** A stand-in for the page's kit, which has a rule about addresses of scripts: there is none here. */
const instead_of_kit = {
  name: "instead-of-kit",
  setup(build) {
    build.onResolve({ filter: /ui-kit\/trusted\.ts$/ }, () => ({ path: "trusted", namespace: "kit" }));
    build.onLoad({ filter: /.*/, namespace: "kit" }, () => ({ contents: "export const script_url = (url) => url;" }));
  },
};

/** The driver, compiled: node 20 does not read TypeScript. */
export async function load_driver(from = process.env.HITHER_ESBUILD ?? `${root}web/package.json`) {
  const { build } = createRequire(from)("esbuild");
  const entry = 'export { Driver } from "./driver.ts"; export { input, WHOLE_SHARE } from "./wire.ts"; export { open_pipe } from "./pipe.ts"; export { RemoteCore } from "./load.ts"; export { CoreError } from "./api.ts";';
  const out = await build({
    stdin: { contents: entry, resolveDir: `${root}web/src/core`, loader: "ts" },
    bundle: true,
    format: "esm",
    write: false,
    target: "es2022",
    logLevel: "error",
    define: { HITHER_WORKER_URL: '""' },
    plugins: [instead_of_kit],
  });
  return import(`data:text/javascript;base64,${Buffer.from(out.outputFiles[0].text).toString("base64")}`);
}

/** A byte pipe that is a TCP connection to the relay. */
function tcp_pipe(address, events) {
  const [, host, port] = /^(.*):(\d+)$/.exec(address);
  const socket = connect({ host, port: Number(port), noDelay: true });
  socket.on("connect", () => events.opened());
  socket.on("data", (bytes) => events.bytes(bytes));
  socket.on("error", () => {});
  socket.on("close", () => events.closed());
  return { send: (bytes) => socket.write(bytes), close: () => socket.end() };
}

/** A core with its driver, as its page's side sees it through a worker. */
export async function page({ relay, tcp, web, no_get = false, no_crypto = false, seed = webcrypto.getRandomValues(new Uint8Array(32)), driver_module }) {
  const { Driver, input, open_pipe, RemoteCore } = driver_module ?? (await load_driver());
  const port = { onmessage: null, onerror: null };
  const counts = { gets: 0, pipes: 0 };
  const driver = new Driver(
    {
      now: () => performance.now(),
      random: (bytes) => void webcrypto.getRandomValues(bytes),
      open_pipe: (_, events) => {
        counts.pipes++;
        return tcp ? tcp_pipe(tcp, events) : open_pipe(web, events);
      },
      get: async (_, path, signal) => {
        counts.gets++;
        if (no_get || !web) throw new Error("no GET here");
        return fetch(new URL(path, web), { signal });
      },
      subtle: no_crypto ? undefined : webcrypto.subtle,
    },
    (report) => queueMicrotask(() => port.onmessage?.({ data: report })),
  );
  port.postMessage = (message) => {
    const { kind, share, reading } = message;
    if (kind === "open") driver.tell(input.open(share, message.ticket));
    else if (kind === "read") driver.tell(input.read(share, reading, message.entry, message.offset));
    else if (kind === "taken") driver.tell(input.taken(share, reading, message.bytes));
    else if (kind === "read_no_more") driver.tell(input.read_no_more(share, reading));
    else if (kind === "close") driver.tell(input.close(share));
    else driver.tell(input.back());
  };
  const started = RemoteCore.start(port);
  await driver.start(await WebAssembly.compile(await readFile(`${root}web/src/core/core.wasm`)), seed);
  driver.tell(input.endpoint(0, relay));
  const core = await started;
  return { core, counts };
}

async function main() {
  const text = { type: "string" };
  const flag = { type: "boolean", default: false };
  const { values } = parseArgs({ options: { ticket: text, relay: text, tcp: text, web: text, out: text, "no-get": flag, "no-crypto": flag } });
  const began = performance.now();
  const { core, counts } = await page({ ...values, no_get: values["no-get"], no_crypto: values["no-crypto"] });
  const started = performance.now();
  const share = await core.open(values.ticket);
  const opened = performance.now();
  console.log(`${share.name}: version ${share.version}, ${share.size} bytes, ${share.entries.length} entries; started in ${(started - began).toFixed(0)} ms, opened in ${(opened - started).toFixed(0)} ms`);
  const file = values.out ? createWriteStream(values.out) : undefined;
  let bytes = 0;
  for (const entry of share.entries.filter((entry) => entry.kind === "file")) {
    const digest = createHash("sha256");
    for await (const piece of share.read(entry)) {
      bytes += piece.length;
      digest.update(piece);
      if (file && !file.write(piece)) await new Promise((resolve) => file.once("drain", resolve));
    }
    if (share.entries.length < 20) console.log(`${digest.digest("hex")}  ${entry.path.join("/")}`);
  }
  const seconds = (performance.now() - opened) / 1000;
  if (file) await new Promise((resolve) => file.end(resolve));
  console.log(`${bytes} bytes in ${seconds.toFixed(2)} s: ${(bytes / seconds / 2 ** 20).toFixed(1)} MiB/s, ${counts.gets} GETs, ${counts.pipes} pipes, ${(process.resourceUsage().maxRSS / 1024).toFixed(0)} MiB resident at most`);
  console.log(JSON.stringify(share.sources()));
  share.close();
  setTimeout(() => process.exit(0), 200);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
