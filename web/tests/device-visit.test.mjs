// A site that asks, and whoever opens its link, against a real relay, in node (node 20: --experimental-websocket).
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { end_world, make_world, means_of, relay_bin, until } from "./device-parts.mjs";

const SITE = "https://shop.example";
const skip = !existsSync(join(relay_bin, "hither-relay")) ? "the relay is not built" : typeof WebSocket === "undefined" ? "node has no WebSocket" : false;
const ASK = { kind: "photo", which: "picked", reason: "for your account", valid_s: 900, multiple: false };
let world;

const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");
const file = (bytes, name) => ({ file: new File([bytes], name, { type: "image/jpeg", lastModified: 1_700_000_000_000 }) });

before(async () => {
  if (skip) return;
  world = await make_world([`web.askers=["${SITE}"]`]);
});
after(() => world && end_world(world));

async function ask(request = ASK, origin = SITE) {
  const part = new world.parts.AskerPart(means_of(world, new world.parts.MemoryKeep(), { origin }));
  const asker = new world.parts.LocalAsker(part);
  await part.start(request);
  return { part, asker };
}

async function visit(link, options = {}) {
  const part = new world.parts.VisitPart(means_of(world, options.keep ?? new world.parts.MemoryKeep(), options));
  await part.start(link);
  return part;
}

test("c8_an_asker_gets_a_picture_from_whoever_opens_its_link", { skip }, async () => {
  const { part, asker } = await ask();
  const visitor = await visit(asker.link);
  const { kind, origin, ask: asked, number } = visitor.view();
  assert.deepEqual([kind, origin, asked.kind, asked.reason], ["ask", SITE, "photo", "for your account"]);
  await until(part, ({ number: shown }) => shown === number);
  const bytes = randomBytes(100_000);
  const sending = await visitor.answer([file(bytes, "me.jpg")]);
  const [thing] = await asker.answer();
  assert.deepEqual([thing.name, thing.media_type, thing.bytes], ["me.jpg", "image/jpeg", 100_000]);
  assert.equal(digest(Buffer.from(await thing.content.arrayBuffer())), digest(bytes));
  await until(visitor, ({ sendings }) => sendings.some(({ id, state }) => id === sending.id && state === "taken"));
  // The link is good for one answer.
  await part.close();
  await assert.rejects(visit(asker.link), { code: "gone" });
});

test("c8_a_large_answer_is_a_share_that_the_asking_page_reads", { skip }, async () => {
  const { asker } = await ask({ ...ASK, multiple: true });
  const visitor = await visit(asker.link);
  const files = [randomBytes(12_000_000), randomBytes(700_000)];
  await visitor.answer([file(files[0], "a.jpg"), file(files[1], "a.jpg")]);
  const things = await asker.answer();
  assert.deepEqual(things.map(({ name, content }) => [name, content]), [["a.jpg", undefined], ["a (2).jpg", undefined]]);
  for (const [at, bytes] of files.entries()) {
    const hash = createHash("sha256");
    for await (const piece of asker.read(at)) hash.update(piece);
    assert.equal(hash.digest("hex"), digest(bytes));
  }
  asker.close();
});

test("c8_a_refusal_and_a_digest_and_a_site_that_may_not_ask", { skip }, async () => {
  const refused = await ask();
  await (await visit(refused.asker.link)).refuse("not now");
  await assert.rejects(refused.asker.answer(), { code: "declined" });
  const digested = await ask({ ...ASK, digest: true });
  await (await visit(digested.asker.link)).answer([file(randomBytes(5_000_000), "large.jpg")]);
  const [thing] = await digested.asker.answer();
  assert.deepEqual([thing.name, thing.bytes, thing.content], ["large.jpg", 5_000_000, undefined]);
  await assert.rejects(ask(ASK, "https://other.example"), { code: "refused" });
});

test("w2_a_text_that_is_no_link_and_a_link_of_nobody_are_told_apart", { skip }, async () => {
  await assert.rejects(visit("hither-inbox1nonsense"), { code: "ticket" });
  const { part, asker } = await ask();
  await part.close();
  await assert.rejects(visit(asker.link), { code: "gone" });
});
