// `<hither-ask>` on a site, and the page that answers it, with the real core and a real relay between them. Left out where
// there is no relay: RELAY_BIN or HITHER_BIN is the folder of the programs.
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { serve_example } from "../ask/example/server.mjs";
import { build } from "../build.mjs";
import { launch, open, PHONE, wrong } from "./browser.mjs";
import { end_world, make_world, relay_bin } from "./device-parts.mjs";
import { serve_front } from "./tools/front.mjs";

const SITE = "https://shop.example";
const skip = existsSync(join(relay_bin, "hither-relay")) ? false : "there is no relay";
let folder, world, front, site, browser;

before(async () => {
  if (skip) return;
  folder = await mkdtemp(join(tmpdir(), "hither-ask-"));
  await build({ out: join(folder, "dist"), ask: join(folder, "ask") });
  // The place of the programs is no setting of theirs.
  for (const name of ["HITHER_BIN", "RELAY_BIN"]) delete process.env[name];
  world = await make_world([`web.askers=["${SITE}"]`]);
  front = await serve_front({ dist: join(folder, "dist"), port: world.http, origin: "https://relay.example" });
  site = await serve_example({ relay: front.origin, ask: join(folder, "ask") });
  browser = await launch(["--disable-features=LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests"]);
});
after(async () => {
  await browser?.close();
  front?.close();
  await site?.close();
  if (world) await end_world(world);
  if (folder) await rm(folder, { recursive: true, force: true });
});

/** The example under the name of a site that the relay lets ask. The element's roots are closed: here a test looks in. */
async function shop(origin = SITE) {
  const opened = await open(browser, `${origin}/`, {
    allowed: /./,
    async setup(page, context) {
      await context.route(`${origin}/**`, async (route) => {
        const answer = await fetch(site.origin + new URL(route.request().url()).pathname);
        await route.fulfill({ status: answer.status, headers: Object.fromEntries(answer.headers), body: Buffer.from(await answer.arrayBuffer()) });
      });
      await page.addInitScript(() => {
        const attach = Element.prototype.attachShadow;
        Element.prototype.attachShadow = function (how) {
          return attach.call(this, { ...how, mode: "open" });
        };
      });
    },
  });
  opened.page.setDefaultTimeout(90_000);
  return opened;
}
async function asked(page, id) {
  await page.locator(`#${id} button`).first().click();
  return page.locator("dialog[open] a").getAttribute("href");
}
async function visitor(link) {
  const opened = await open(browser, link, { size: PHONE });
  opened.page.setDefaultTimeout(90_000);
  await opened.page.locator(".number").waitFor();
  return opened;
}

test("c8_a_site_gets_files_of_another_device_by_a_real_relay", { skip, timeout: 400_000 }, async () => {
  const asking = await shop();
  for (const [id, bytes] of [["photo", randomBytes(5_000)], ["more", randomBytes(3_000_000)]]) {
    const link = await asked(asking.page, id);
    const giving = await visitor(link);
    await giving.page.getByText("shop.example", { exact: true }).waitFor();
    const number = await giving.page.locator(".number").innerText();
    assert.match(number, /^[1-9]\d$/);
    await asking.page.locator("dialog[open] .number", { hasText: number }).waitFor();
    await giving.page.locator("section input[type=file]").first().setInputFiles({ name: "parcel.jpg", mimeType: "image/jpeg", buffer: bytes });
    await giving.page.getByRole("button", { name: "Give it" }).click();
    await asking.page.waitForFunction((id) => document.getElementById(id).value !== "", id);
    const got = await asking.page.evaluate(async (id) => {
      const [file] = document.getElementById(id).files;
      const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
      return [file.name, file.type, [...hash].map((byte) => byte.toString(16).padStart(2, "0")).join("")];
    }, id);
    assert.deepEqual(got, ["parcel.jpg", "image/jpeg", createHash("sha256").update(bytes).digest("hex")]);
    await giving.page.getByRole("heading", { name: "Given" }).waitFor();
    assert.deepEqual(await wrong(giving), []);
    await giving.context.close();
  }
  assert.deepEqual(await asking.page.evaluate(() => globalThis.violations), [], "the site's policy is kept");
  await asking.context.close();
});

test("c8_a_refusal_reaches_the_site_and_a_stranger_may_not_ask", { skip, timeout: 400_000 }, async () => {
  const asking = await shop();
  const giving = await visitor(await asked(asking.page, "photo"));
  await giving.page.getByRole("button", { name: "Refuse", exact: true }).click();
  await giving.page.getByRole("dialog").getByRole("button", { name: "Refuse", exact: true }).click();
  await asking.page.getByRole("alert").filter({ hasText: "refused on the other device" }).waitFor();
  await giving.context.close();
  await asking.context.close();
  const stranger = await shop("https://evil.example");
  await stranger.page.locator("#photo button").first().click();
  await stranger.page.getByRole("alert").filter({ hasText: "does not let this site ask" }).waitFor();
  await stranger.context.close();
});
