// The page as a device against a real relay and a real daemon, in node. Needs src/core/device.wasm (web-core/build.sh) and the
// programs: HITHER_BIN, target/debug by default. Left out where they are not there.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { add_daemon, bin, end_world, make_world, page_device, relay_bin, start_relay, stop_relay, until } from "./device-parts.mjs";

const there = existsSync(join(bin, "hither")) && existsSync(join(relay_bin, "hither-relay"));
const skip = there ? false : "the programs are not built";
let world, hither, page, daemon;

const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");
/** An invitation; a daemon whose relay was killed asks it as soon as it is connected again. */
const invite = async (patience_ms = 30_000) => {
  const until_ms = Date.now() + patience_ms;
  for (;;) {
    try {
      return /\.([0-9a-f]{32})/.exec(await hither("relay", "invite"))[1];
    } catch (error) {
      if (Date.now() > until_ms) throw error;
      await new Promise((done) => setTimeout(done, 200));
    }
  }
};
const file = (bytes, name, path) => {
  const made = new File([bytes], name, { lastModified: 1_700_000_000_000 });
  if (path) Object.defineProperty(made, "webkitRelativePath", { value: path });
  return { file: made };
};
const sent = (part, id, ...states) => until(part, ({ sendings }) => sendings.find((one) => one.id === id && states.includes(one.state)), `${id} is ${states}`);

before(async () => {
  if (skip) return;
  world = await make_world();
  hither = await add_daemon(world, "laptop");
  await hither("relay", "add", world.url);
  page = await page_device(world, { invitation: await invite() });
  daemon = (await until(page, ({ state, peers }) => state === "online" && peers.length === 1 && peers[0].name && peers[0])).id;
});
after(() => world && end_world(world));

/** The letters that the daemon has, newest first. */
async function inbox() {
  const lines = (await hither("inbox", "--json")).trim().split("\n").filter(Boolean);
  return lines.flatMap((line) => JSON.parse(line).messages ?? JSON.parse(line));
}

test("w4_a_text_goes_both_ways_and_is_taken", { skip }, async () => {
  const sending = await page.send_text(daemon, "hello from a page\nhäl");
  await sent(page, sending.id, "taken");
  assert.match(JSON.stringify(await inbox()), /hello from a page/);
  await hither("send", "browser", "--text", "hello page");
  const arrived = await until(page, ({ inbox }) => inbox.find(({ text }) => text === "hello page"));
  assert.equal(arrived.from, daemon);
});

test("w4_small_files_go_in_the_letter", { skip }, async () => {
  const sending = await page.send_files(daemon, [file("one", "a.txt"), file(Buffer.alloc(0), "empty"), file(randomBytes(50_000), "b.bin")]);
  await sent(page, sending.id, "taken", "sent");
  assert.match(JSON.stringify(await inbox()), /b\.bin/);
});

test("w4_large_files_and_folders_are_uploaded_and_arrive", { skip }, async () => {
  const files = { "film.bin": randomBytes(20_000_000), "sub/a.txt": Buffer.from("hello"), "sub/empty": Buffer.alloc(0), "sub/deep/b.bin": randomBytes(300_000) };
  for (const no_crypto of [false, true]) {
    const part = no_crypto ? await page_device(world, { invitation: await invite(), no_crypto, name: "old browser" }) : page;
    await until(part, ({ state, peers }) => state === "online" && peers.length > 0);
    // The test fetches itself.
    await hither("receive", "--from", part.view().name, "--ask");
    const given = Object.entries(files).map(([path, bytes]) => file(bytes, path.split("/").at(-1), `photos/${path}`));
    const began = performance.now();
    const sending = await part.send_files(daemon, given);
    await sent(part, sending.id, "sent", "taken");
    console.log(`20 MB uploaded in ${(performance.now() - began).toFixed(0)} ms${no_crypto ? " without WebCrypto" : ""}`);
    const ticket = /hither1[a-z0-9]+/.exec(JSON.stringify(await part.keep.all("sendings")))[0];
    const to = join(world.folder, `got-${no_crypto}`);
    await hither("fetch", ticket, "--yes", "-o", to).catch((error) => assert.fail(error.stdout + error.stderr));
    for (const [path, bytes] of Object.entries(files)) {
      const top = (await readdir(to)).includes("photos") ? join(to, "photos") : to;
      assert.equal(digest(await readFile(join(top, path))), digest(bytes), path);
    }
  }
});

test("w4_an_upload_goes_on_after_the_relay_was_killed", { skip }, async () => {
  const bytes = randomBytes(60_000_000);
  const sending = await page.send_files(daemon, [file(bytes, "killed.bin")]);
  await until(page, ({ sendings }) => sendings.find(({ id, done }) => id === sending.id && done > 4_000_000));
  await stop_relay(world);
  await start_relay(world);
  await sent(page, sending.id, "sent", "taken");
});

test("w4_an_upload_goes_on_after_a_reload_when_the_same_files_are_given", { skip }, async () => {
  const bytes = randomBytes(80_000_000);
  const first = await page_device(world, { invitation: await invite(), name: "reloaded" });
  await until(first, ({ state, peers }) => state === "online" && peers.length > 0);
  const sending = await first.send_files(daemon, [file(bytes, "long.bin")]);
  await until(first, ({ sendings }) => sendings[0].state === "uploading" && sendings[0].done > 0);
  first.sendings.pause(sending.id);
  await until(first, ({ sendings }) => sendings[0].state === "paused");
  first.link.tell({ do: "leave" });
  const second = await page_device(world, { keep: first.keep });
  await until(second, ({ state }) => state === "online");
  await assert.rejects(second.sendings.resume(sending.id, [file(bytes.subarray(1), "long.bin")]), { code: "changed" });
  const records = await second.keep.all("records");
  assert.equal(records.reduce((sum, [, part]) => sum + part.length, 0) % 68, 0);
  await second.sendings.resume(sending.id, [file(bytes, "long.bin")]);
  await sent(second, sending.id, "sent", "taken");
});

test("w4_a_file_that_changes_meanwhile_is_refused", { skip }, async () => {
  let bytes = randomBytes(30_000_000);
  // As a file on a disk: what is read is what is there now.
  const changing = new File([bytes], "log.bin", { lastModified: 5 });
  changing.slice = (from, to) => new Blob([bytes.subarray(from, to)]);
  const sending = await page.send_files(daemon, [{ file: changing }]);
  await until(page, ({ sendings }) => sendings.find(({ id }) => id === sending.id).state === "uploading");
  bytes = randomBytes(30_000_000);
  const { error } = await sent(page, sending.id, "failed", "sent");
  assert.equal(error?.code, "changed");
});

test("c6_a_request_of_the_page_is_answered_and_one_to_it_too", { skip }, async () => {
  const asking = await page.ask(daemon, { kind: "clipboard", which: "latest", valid_s: 600, reason: "for a test" });
  await until(page, ({ asking: all }) => all.find(({ id, state }) => id === asking.id && ["sent", "seen", "refused", "answered"].includes(state)));
  await page.cancel(asking.id);
  assert.equal(page.view().asking[0].state === "cancelled" || page.view().asking[0].state === "refused", true);
});
