// The core in node against the real programs: a relay with its web listener, a daemon that shares, a page that reads.
//
//   HITHER_BIN=target/debug node --experimental-websocket --test web-core/tests/real.mjs
//
// (node 22 needs no flag). Needs web/node_modules for esbuild.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { load_driver, page } from "./page.mjs";

const bin = resolve(process.env.HITHER_BIN ?? "target/debug");
const run = promisify(execFile);
const world = {};

async function free_port() {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((done) => server.once("listening", done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

async function start_relay() {
  const settings = [`ops.http=127.0.0.1:${world.ops}`, "extra_tcp_ports=[]", "store.free_floor=1MiB", `web.listen=["127.0.0.1:${world.http}"]`, "web.plain=true", "web.url=https://relay.example"];
  world.relay = spawn(join(bin, "hither-relay"), ["--data", join(world.folder, "relay"), "--address", "127.0.0.1", "--port", String(world.port), ...settings.flatMap((setting) => ["--set", setting])]);
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

async function stop_relay() {
  const ended = new Promise((done) => world.relay.once("exit", done));
  world.relay.kill("SIGKILL");
  await ended;
}

const hither = async (...args) => (await run(join(bin, "hither"), args, { env: world.env, timeout: 120_000 })).stdout;

async function share(name, files, ...options) {
  const folder = join(world.folder, name);
  await mkdir(folder);
  for (const [file, bytes] of Object.entries(files)) await writeFile(join(folder, file), bytes);
  const said = await hither("share", folder, ...options);
  return /hither1[a-z0-9]+/.exec(said)[0];
}

const read = async (share, name, offset) => {
  const hash = createHash("sha256");
  const entry = share.entries.find((entry) => entry.path.at(-1) === name);
  for await (const piece of share.read(entry, offset)) hash.update(piece);
  return hash.digest("hex");
};
const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");

before(async () => {
  world.folder = await mkdtemp(join(tmpdir(), "hither-page-"));
  await mkdir(join(world.folder, "run"), { mode: 0o700 });
  world.env = { ...process.env, HITHER_HOME: join(world.folder, "home"), XDG_RUNTIME_DIR: join(world.folder, "run") };
  [world.port, world.http, world.ops] = [await free_port(), await free_port(), await free_port()];
  const said = await start_relay();
  const url = /hither:\/\/\S+\.[0-9a-f]{32}/.exec(said)[0];
  world.id = /#(12D3\w+)/.exec(url)[1];
  world.web = `http://127.0.0.1:${world.http}`;
  await hither("relay", "add", url);
  world.driver_module = await load_driver();
});

after(async () => {
  await hither("down").catch(() => undefined);
  if (world.relay) await stop_relay();
  await rm(world.folder, { recursive: true, force: true });
});

const open_page = (options = {}) => page({ relay: world.id, web: world.web, driver_module: world.driver_module, ...options });

test("a folder comes whole, by GET, by the stream, and from the middle", async () => {
  const files = { "big.bin": randomBytes(20_000_000), "small.txt": Buffer.from("hello\n"), empty: Buffer.alloc(0) };
  const ticket = await share("folder", files, "--link");
  for (const options of [{}, { no_get: true }, { no_crypto: true }]) {
    const { core, counts } = await open_page(options);
    const open = await core.open(ticket);
    assert.equal(open.size, 20_000_006);
    for (const [name, bytes] of Object.entries(files)) assert.equal(await read(open, name), digest(bytes), name);
    assert.equal(await read(open, "big.bin", 12_345_678), digest(files["big.bin"].subarray(12_345_678)));
    assert.ok(counts.gets > 0, "the store gives a token");
    open.close();
  }
});

test("a reading goes on after the relay was killed and is back", async () => {
  const bytes = randomBytes(48_000_000);
  const ticket = await share("resumed", { "film.bin": bytes }, "--link");
  const { core } = await open_page();
  const open = await core.open(ticket);
  const hash = createHash("sha256");
  let got = 0;
  let killed = false;
  for await (const piece of open.read(open.entries[1])) {
    hash.update(piece);
    got += piece.length;
    if (!killed && got > 5_000_000) {
      killed = true;
      await stop_relay();
      await start_relay();
    }
  }
  assert.equal(hash.digest("hex"), digest(bytes));
  open.close();
});

test("what is in no store comes from its owner's device, through the relay", async () => {
  const bytes = randomBytes(3_000_000);
  const ticket = await share("direct", { "a.bin": bytes }, "--no-upload");
  const { core } = await open_page();
  const open = await core.open(ticket);
  assert.equal(await read(open, "a.bin"), digest(bytes));
  const gave = () => open.sources().some((source) => source.kind === "device" && source.bytes > 0);
  // Sources are told now and then.
  const told = new Promise((resolve) => open.onchange(() => gave() && resolve()));
  if (!gave()) await told;
  open.close();
});

test("a share that has ended is not found", async () => {
  const ticket = await share("ended", { "a.txt": Buffer.from("a") }, "--link");
  await hither("unshare", join(world.folder, "ended"));
  const { core } = await open_page();
  await assert.rejects(core.open(ticket), (error) => ["not_found", "gone"].includes(error.code));
});

test("a page that does not read on makes nobody send", async () => {
  const ticket = await share("slow", { "film.bin": randomBytes(60_000_000) }, "--link");
  const { core } = await open_page();
  const open = await core.open(ticket);
  const reader = open.read(open.entries[1]).getReader();
  await reader.read();
  await new Promise((resolve) => setTimeout(resolve, 3000));
  const given = open.sources().reduce((sum, source) => sum + source.bytes, 0);
  assert.ok(given < 20_000_000, `${given} bytes came for a page that takes nothing`);
  await reader.cancel();
  open.close();
});
