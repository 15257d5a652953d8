// The things that a part of a page keeps: letters that cannot be kept, requests that have ended, sendings over an end of the page, forgetting.
// In node, with a module that says what the test says.
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import esbuild from "esbuild";
import { until } from "./device-parts.mjs";

const tests = fileURLToPath(new URL(".", import.meta.url));
const PEER = { id: "laptop", name: "laptop", online: true, web: false, last_seen_ms: 0 };
let parts, folder;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "hither-kept-"));
  const outfile = join(folder, "parts.mjs");
  const contents = `export { DevicePart } from "./device.ts"; export { VisitPart } from "./visit.ts"; export { MemoryKeep } from "./keep.ts";
    export { load_device_core } from "./load.ts";`;
  const fake = { name: "fake-driver", setup: (build) => build.onResolve({ filter: /\/driver\.ts$/ }, () => ({ path: join(tests, "fake-driver.ts") })) };
  const resolveDir = join(tests, "../src/core/device");
  await esbuild.build({ stdin: { contents, resolveDir, loader: "ts" }, outfile, bundle: true, format: "esm", platform: "browser", target: "es2022", plugins: [fake], logLevel: "error" });
  parts = await import(pathToFileURL(outfile));
});
after(() => rm(folder, { recursive: true, force: true }));

/** Memory that refuses what the test says. */
function refusing() {
  const keep = new parts.MemoryKeep();
  const write = keep.write.bind(keep);
  keep.refuses = () => false;
  keep.written = [];
  keep.write = async (writes) => {
    keep.written.push(writes);
    if (keep.refuses(writes)) throw new DOMException("no room", "QuotaExceededError");
    await write(writes);
  };
  return keep;
}

function means_of(keep) {
  const module = { said: [], clock: 1_000_000 };
  module.commands = (what) => module.said.filter(({ command }) => command.do === what).map(({ command }) => command);
  let next = 0;
  const random = (bytes) => bytes.forEach((_, at) => (bytes[at] = (next += 37) >> (at % 3)));
  return { module, means: { now: () => 0, date: () => module.clock, random, keep, module, relay: Promise.resolve("relay") } };
}

/** A device that is paired and online, with one other device. */
async function device(keep = refusing()) {
  await keep.put("facts", "facts", { name: "browser", paired: true });
  const { module, means } = means_of(keep);
  const part = new parts.DevicePart(means);
  await part.start();
  const online = () => {
    module.event({ on: "state", state: "online", retry_ms: 0 });
    module.event({ on: "devices", devices: [PEER] });
  };
  online();
  let seq = 0;
  const letter = (letter, id = `letter-${seq + 1}`) => module.event({ on: "letter", seq: ++seq, from: PEER.id, id, taken_ms: 0, made_ms: 0, receipt: false, letter });
  const acknowledged = () => module.commands("received").map(({ seq }) => seq);
  return Object.assign(part, { module, keep, online, say: letter, acknowledged });
}
const text = (words) => ({ kind: "text", text: words });
const asks = (id, valid_s = 600) => ({ kind: "ask", ask: { id, kind: "photo", which: "picked", digest: false, reason: "", valid_s } });
/** A file that the browser cannot read any more. */
const unreadable = (name = "gone.txt") => Object.assign(new File(["x"], name), { arrayBuffer: () => Promise.reject(new DOMException("gone", "NotReadableError")) });

/** Resolves when the module has heard such a command. */
const heard = (module, look) =>
  new Promise((resolve) => {
    const found = module.said.find(({ command }) => look(command));
    if (found) return resolve(found.command);
    module.onsaid = (command) => {
      if (!look(command)) return;
      module.onsaid = undefined;
      resolve(command);
    };
  });

test("w2_a_letter_that_finds_no_room_is_said_and_tried_again_without_a_reconnect", async () => {
  const part = await device();
  part.keep.refuses = (writes) => writes.some(({ store }) => store === "letters");
  part.say(text("first"));
  part.say(text("second"));
  await until(part, ({ stuck }) => stuck === "room");
  assert.deepEqual(part.acknowledged(), [], "nothing is acknowledged that is not durable");
  assert.deepEqual(part.view().inbox, [], "nothing is shown that is not durable");
  part.keep.refuses = () => false;
  await until(part, ({ stuck, inbox }) => stuck === undefined && inbox.length === 2);
  await heard(part.module, (command) => command.do === "received" && command.seq === 2);
  assert.deepEqual(part.acknowledged(), [1, 2]);
});

test("w2_two_thousand_unread_letters_hold_the_next_until_one_is_deleted", async () => {
  const keep = refusing();
  await keep.write(Array.from({ length: 2000 }, (_, at) => ({ store: "letters", key: `laptop/${at}`, value: { id: `laptop/${at}`, from: "laptop", from_name: "", received_ms: at, read: false, kind: "text", text: "" } })));
  const part = await device(keep);
  part.say(text("one more"));
  await until(part, ({ stuck }) => stuck === "unread");
  assert.deepEqual(part.acknowledged(), []);
  await part.delete("laptop/7");
  await until(part, ({ stuck, inbox }) => stuck === undefined && inbox.some(({ text }) => text === "one more"));
  assert.equal(part.view().inbox.length, 2000);
  await heard(part.module, (command) => command.do === "received");
});

test("w2_after_a_break_the_relay_brings_again_what_could_not_be_kept", async () => {
  const part = await device();
  part.keep.refuses = (writes) => writes.some(({ store }) => store === "letters");
  part.say(text("again"), "same");
  await until(part, ({ stuck }) => stuck === "room");
  part.module.event({ on: "state", state: "offline", retry_ms: 0 });
  assert.equal(part.view().stuck, undefined);
  part.keep.refuses = () => false;
  part.online();
  part.say(text("again"), "same");
  await heard(part.module, (command) => command.do === "received" && command.seq === 2);
  assert.deepEqual(part.view().inbox.map(({ text }) => text), ["again"]);
});

test("w2_a_letter_is_kept_in_one_transaction", async () => {
  const part = await device();
  part.keep.written = [];
  part.module.event({ on: "letter", seq: 1, from: PEER.id, id: "files", taken_ms: 0, made_ms: 0, receipt: true, letter: { kind: "files", files: [{ name: "a", length: 2 }] } }, new Uint8Array([1, 2]));
  await heard(part.module, (command) => command.do === "received");
  assert.deepEqual(part.keep.written.map((writes) => writes.map(({ store }) => store).sort()), [["facts", "letters", "outbox", "records"]]);
  assert.equal((await part.file("laptop/files", 0)).size, 2);
});

test("w4_requests_that_have_ended_are_bounded_and_open_ones_stay", async () => {
  const part = await device();
  part.say(asks("open"));
  await until(part, ({ asked }) => asked.length === 1);
  for (let at = 0; at < 210; at++) {
    part.module.clock += 10;
    part.say(asks(`ask-${at}`));
    await until(part, ({ asked }) => asked.some(({ id }) => id === `laptop/ask-${at}`));
    await part.refuse(`laptop/ask-${at}`);
  }
  const { asked } = part.view();
  assert.deepEqual([asked.length, asked.filter(({ state }) => state === "open").map(({ id }) => id)], [201, ["laptop/open"]]);
  const kept = (await part.keep.all("asks")).map(([id]) => id);
  assert.equal(kept.length, 201);
  assert.deepEqual([kept.includes("laptop/ask-9"), kept.includes("laptop/ask-10")], [false, true], "the oldest goes");
  // One that waited for long and ends now is not the oldest that has ended.
  await part.refuse("laptop/open");
  assert.ok(part.view().asked.some(({ id }) => id === "laptop/open"));
});

test("w4_a_request_that_has_ended_is_deleted_and_an_open_one_is_not", async () => {
  const part = await device();
  part.say(asks("one"));
  await until(part, ({ asked }) => asked.length === 1);
  await part.delete("laptop/one");
  assert.equal(part.view().asked.length, 1);
  await part.refuse("laptop/one");
  await part.delete("laptop/one");
  assert.deepEqual([part.view().asked, await part.keep.all("asks")], [[], []]);
});

test("w4_a_request_is_said_to_be_seen_once", async () => {
  const keep = refusing();
  const part = await device(keep);
  part.say(asks("one"));
  await until(part, ({ asked }) => asked.length === 1);
  await Promise.all([part.seen("laptop/one"), part.seen("laptop/one")]);
  await part.seen("laptop/one");
  const of = (module) => module.commands("send").filter(({ letter }) => letter.kind === "seen").length;
  assert.equal(of(part.module), 1);
  const later = await device(keep);
  for (const { id } of later.module.commands("send")) later.module.event({ on: "sent", id });
  const before = of(later.module);
  await later.seen("laptop/one");
  assert.equal(of(later.module), before, "not after a reload either");
});

test("w4_a_file_that_cannot_be_read_fails_and_is_chosen_anew", async () => {
  const part = await device();
  const failed = await part.send_files(PEER.id, [{ file: unreadable() }]);
  assert.deepEqual([failed.state, failed.error.code, failed.spent], ["failed", "unreadable", true]);
  assert.equal((await part.keep.all("sendings"))[0][1].view.state, "failed");
  await part.sendings.resume(failed.id, [{ file: new File(["here"], "here.txt") }]);
  const [one] = part.view().sendings;
  assert.deepEqual([one.id, one.state, one.files[0].name, one.spent, one.error], [failed.id, "waiting", "here.txt", undefined, undefined]);
  assert.equal(part.module.said.filter(({ command }) => command.do === "send").at(-1).bytes.length, 4);
});

test("w4_an_answer_that_cannot_be_read_leaves_the_request_open_and_nothing_behind", async () => {
  const part = await device();
  part.say(asks("one"));
  await until(part, ({ asked }) => asked.length === 1);
  await assert.rejects(part.answer("laptop/one", [{ file: unreadable() }]), { code: "unreadable" });
  const { asked, sendings } = part.view();
  assert.deepEqual([asked[0].state, sendings], ["open", []]);
  await part.answer("laptop/one", [{ file: new File(["here"], "here.txt") }]);
  assert.equal(part.view().asked[0].state, "answered");
});

test("w4_a_text_is_durable_with_its_letter_or_not_sent", async () => {
  const part = await device();
  part.keep.written = [];
  const sending = await part.send_text(PEER.id, "both or none");
  assert.deepEqual(part.keep.written.map((writes) => writes.map(({ store }) => store).sort()), [["outbox", "sendings"]]);
  assert.equal(part.view().sendings[0].letter, true);
  part.keep.refuses = () => true;
  const said = part.module.commands("send").length;
  await assert.rejects(part.send_text(PEER.id, "no room"), { name: "QuotaExceededError" });
  assert.deepEqual(part.view().sendings.map(({ id }) => id), [sending.id]);
  assert.equal(part.module.commands("send").length, said, "nothing is sent that is not durable");
});

test("w4_what_an_earlier_page_left_without_its_letter_has_failed", async () => {
  const keep = refusing();
  const view = { id: "old", to: PEER.id, to_name: "", kind: "text", files: [], state: "waiting", done: 0, bytes: 3, rate: 0, text: "old" };
  await keep.put("sendings", "old", { view, made: 1 });
  const part = await device(keep);
  const [one] = part.view().sendings;
  assert.deepEqual([one.state, one.error.code, one.spent], ["failed", "lost", true]);
});

test("w4_records_behind_one_that_was_not_kept_are_not_used", async () => {
  const keep = refusing();
  const upload = { secret: "0", domain: "0", salt: "0", published_ms: 0, name: "a", paths: [["a"]], handles: [{ getFile: async () => new File(["abc"], "a", { lastModified: 5 }) }] };
  const file = { name: "a", size: 3, modified_ms: 5 };
  const record = (chunks) => new Uint8Array(68 * chunks);
  // A handle is cloned by browsers only.
  keep.all = async (store) => {
    if (store === "sendings") return [["up", { made: 1, upload, view: { id: "up", to: PEER.id, to_name: "", kind: "files", files: [file], state: "uploading", done: 0, bytes: 3, rate: 0 } }]];
    if (store === "records") return [["up/00000000", record(2)], ["up/00000002", record(1)], ["up/00000007", record(1)]];
    return [];
  };
  keep.write = async () => {};
  const part = await device(keep);
  await heard(part.module, (command) => command.do === "upload");
  assert.equal(part.module.said.find(({ command }) => command.do === "upload").bytes.length, 68 * 3);
});

test("w3_forgetting_waits_until_the_relay_has_heard_of_it", async () => {
  const part = await device();
  const upload = { share: "abcd", secret: "", domain: "", salt: "", published_ms: 0, name: "a", paths: [["a"]], handles: [] };
  const view = { id: "up", to: PEER.id, to_name: "", kind: "files", files: [{ name: "a", size: 1, modified_ms: 0 }], state: "paused", done: 0, bytes: 1, rate: 0 };
  await part.keep.put("sendings", "up", { view, made: 1, upload });
  const again = await device(part.keep);
  let over = false;
  const forgotten = again.forget().then(() => (over = true));
  await heard(again.module, (command) => command.do === "wake");
  assert.equal(over, false);
  assert.deepEqual(again.module.said.slice(-2).map(({ command }) => command.do), ["release", "wake"]);
  again.module.event({ on: "wake_kept" });
  await forgotten;
  assert.equal(again.module.said.at(-1).command.do, "leave");
  assert.deepEqual(await again.keep.all("facts"), []);
  // A connection that breaks hears nothing any more: nobody waits for it.
  const broken = await device();
  const gone = broken.forget();
  await heard(broken.module, (command) => command.do === "wake");
  broken.module.event({ on: "state", state: "offline", retry_ms: 0 });
  await gone;
});

test("w3_forgetting_ends_the_device_and_makes_no_other", async () => {
  const ports = [];
  const worker = () => {
    const port = { ended: false, onmessage: null, terminate: () => (port.ended = true) };
    port.postMessage = (message) => {
      const answer = message.kind === "begin" ? { kind: "begun" } : { kind: "done", call: message.call, value: undefined };
      queueMicrotask(() => port.onmessage?.({ data: answer }));
    };
    ports.push(port);
    return port;
  };
  const before = [globalThis.addEventListener, globalThis.document];
  Object.assign(globalThis, { addEventListener: () => {}, document: { addEventListener: () => {} } });
  try {
    const device = await parts.load_device_core({ worker, asker: () => assert.fail() }).device();
    await device.forget();
    assert.deepEqual(ports.map(({ ended }) => ended), [true]);
    await assert.rejects(device.rename("x"), { code: "aborted" });
  } finally {
    [globalThis.addEventListener, globalThis.document] = before;
  }
});

/** A visit that the relay has let in. */
async function visit({ keep = refusing(), ask = true } = {}) {
  const { module, means } = means_of(keep);
  const part = new parts.VisitPart(means);
  module.onsaid = (command) => {
    if (command.do !== "visit") return;
    module.onsaid = undefined;
    queueMicrotask(() => {
      module.event({ on: "link", kind: ask ? "ask" : "inbox", host: "host", name: "", number: 47, multiple: false, ...(ask ? { ask: asks("site").ask } : {}) });
      module.event({ on: "state", state: "online", retry_ms: 0 });
      module.event({ on: "visiting", seconds: 900, bytes: 1, online: true, origin: "https://shop.example" });
    });
  };
  await part.start("link");
  return Object.assign(part, { module, keep });
}
/** Resolves when the browser keeps nothing of a visit. */
async function nothing_kept({ keep }) {
  for (const store of ["facts", "letters", "outbox", "sendings", "records"]) assert.deepEqual(await keep.all(store), [], store);
}
/** The next time that everything is forgotten. */
const forgotten = ({ keep }) =>
  new Promise((resolve) => {
    const clear = keep.clear.bind(keep);
    keep.clear = async () => {
      await clear();
      resolve();
    };
  });

test("w2_a_visit_that_has_ended_is_forgotten", async () => {
  const part = await visit({ ask: false });
  await part.send_text("hello");
  assert.equal((await part.keep.all("sendings")).length, 1);
  const done = forgotten(part);
  part.module.event({ on: "state", state: "removed", code: "gone", retry_ms: 0 });
  await done;
  await nothing_kept(part);
  const [{ id }] = part.view().sendings;
  await part.sendings.clear(id);
  await nothing_kept(part);
  // Too many visitors: it may go on later.
  const full = await visit({ ask: false });
  full.module.event({ on: "state", state: "removed", code: "quota", retry_ms: 0 });
  assert.equal((await full.keep.all("facts")).some(([key]) => key === "seed"), true);
});

test("w2_a_refusal_is_said_before_its_visit_is_forgotten", async () => {
  const part = await visit();
  await heard(part.module, (command) => command.do === "send" && command.letter.kind === "seen");
  await part.refuse();
  assert.equal((await part.keep.all("outbox")).length, 2);
  const done = forgotten(part);
  for (const { id } of part.module.commands("send")) part.module.event({ on: "sent", id });
  await done;
  await nothing_kept(part);
});

test("w2_a_site_hears_once_that_its_request_is_seen", async () => {
  const keep = refusing();
  const part = await visit({ keep });
  const { id } = await heard(part.module, (command) => command.do === "send");
  part.module.event({ on: "sent", id });
  const later = await visit({ keep });
  later.module.event({ on: "visiting", seconds: 900, bytes: 1, online: true });
  await later.send_text("behind it");
  assert.deepEqual(later.module.commands("send").map(({ letter }) => letter.kind), ["text"]);
});
