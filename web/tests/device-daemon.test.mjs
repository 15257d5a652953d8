// A page that is paired with a daemon, and one that opened a link of a daemon, against the real programs, in node.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { add_daemon, bin, end_world, make_world, means_of, page_device, relay_bin, until } from "./device-parts.mjs";

const knows = existsSync(join(bin, "hither")) && spawnSync(join(bin, "hither"), ["pair", "--help"]).stdout.includes("--web");
const skip = knows && existsSync(join(relay_bin, "hither-relay")) ? false : "the programs know no pages";
let world, hither, daemon_env;

const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");
const file = (bytes, name) => ({ file: new File([bytes], name, { lastModified: 1_700_000_000_000 }) });

before(async () => {
  if (skip) return;
  world = await make_world();
  hither = await add_daemon(world, "laptop");
  daemon_env = { ...process.env, HITHER_HOME: join(world.folder, "laptop"), XDG_RUNTIME_DIR: join(world.folder, "laptop-run") };
  await hither("relay", "add", world.url);
});
after(() => world && end_world(world));

/** Shows a code for a page; `answer`: what its user says when the words are there. */
function show_code(answer) {
  const shown = spawn(join(bin, "hither"), ["pair", "--web", "--json"], { env: daemon_env });
  let said = "";
  shown.stderr.on("data", (bytes) => (said += bytes));
  const link = new Promise((resolve, reject) => {
    shown.stdout.on("data", (bytes) => {
      said += bytes;
      const found = /hither-pair1[a-z0-9]+/.exec(said);
      if (found) resolve(found[0]);
      if (/"words"/.test(said) && answer) {
        // Once: whoever has heard it does not listen any more.
        shown.stdin.end(`${answer}\n`);
        answer = undefined;
      }
    });
    shown.once("exit", () => reject(new Error(said)));
  });
  return { link, said: () => said, end: () => shown.kill() };
}

test("w2_a_page_becomes_a_device_by_a_code_and_is_one", { skip }, async () => {
  const page = await page_device(world, {});
  assert.equal(page.view().state, "new");
  const declined = show_code("no");
  await assert.rejects(page.pair(await declined.link, "browser", () => {}), { code: "declined" });
  await assert.rejects(page.pair(await declined.link, "browser", () => {}), (error) => ["spent", "not_found"].includes(error.code));
  await assert.rejects(page.pair("hither-pair1nonsense", "browser", () => {}), { code: "ticket" });
  const shown = show_code("yes");
  let words;
  const { name } = await page.pair(await shown.link, "browser", (said) => (words = said));
  assert.equal(words.length, 3);
  assert.ok(words.every((word) => shown.said().includes(word)), `${words}: ${shown.said()}`);
  assert.equal(typeof name, "string");
  const peer = await until(page, ({ state, peers }) => state === "online" && peers[0]);
  const sending = await page.send_text(peer.id, "from a paired page");
  await until(page, ({ sendings }) => sendings.some(({ id, state }) => id === sending.id && state === "taken"));
  assert.match(await hither("inbox", "--json"), /from a paired page/);
  await hither("send", "browser", "--text", "to the page");
  await until(page, ({ inbox }) => inbox.some(({ text }) => text === "to the page"));
  assert.match(await hither("devices", "--json"), /"web":\s*true/);
});

test("w2_a_visitor_sends_a_text_and_files_to_a_device_by_its_link", { skip }, async () => {
  const made = await hither("inbox", "link", "--name", "wedding", "--json");
  const link = /hither-inbox1[a-z0-9]+/.exec(made)[0];
  const visitor = new world.parts.VisitPart(means_of(world, new world.parts.MemoryKeep()));
  await visitor.start(link);
  const { kind, host_name, bytes: allowed } = visitor.view();
  assert.deepEqual([kind, host_name, allowed > 0], ["inbox", "wedding", true]);
  await visitor.name("Grandma");
  const text = await visitor.send_text("hello from a visitor");
  await until(visitor, ({ sendings }) => sendings.some(({ id, state }) => id === text.id && state === "taken"));
  const bytes = randomBytes(3_000_000);
  const large = await visitor.send_files([file(bytes, "film.bin"), file(Buffer.from("hi"), "note.txt")]);
  await until(visitor, ({ sendings }) => sendings.some(({ id, state }) => id === large.id && ["sent", "taken"].includes(state)));
  const listed = await hither("inbox", "--json");
  assert.match(listed, /hello from a visitor/);
  assert.match(listed, /Grandma/);
  assert.match(listed, /2 files/);
  const number = listed.split("\n").flatMap((line) => (line ? [JSON.parse(line)].flatMap((one) => one.messages ?? [one]) : [])).find((one) => JSON.stringify(one).includes("2 files"));
  const to = join(world.folder, "visitor-files");
  await hither("inbox", "fetch", String(number.number ?? number.id), "--yes", "-o", to).catch((error) => assert.fail(`${JSON.stringify(number)} ${error.stderr}`));
  const folder = (await readdir(to)).includes("2 files") ? join(to, "2 files") : to;
  assert.equal(digest(await readFile(join(folder, "film.bin"))), digest(bytes));
  await hither("inbox", "link", "end", "all");
  await until(visitor, ({ state }) => state === "ended");
});
