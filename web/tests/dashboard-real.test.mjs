// The dashboard against real programs: a relay, two devices of one user and one of another, in tests/tools/world.mjs.
// HITHER_BIN is the folder of hitherd, hither and hither-relay; without it this file does nothing. A daemon that
// has a dashboard is entered by its own door, with this build's files in place of the ones it has; an older one
// through tests/tools/dashboard-proxy.mjs.
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { existsSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { build } from "../build.mjs";
import { WIDE, axe, launch, open, wrong } from "./browser.mjs";
import { HEADERS, pass_on, serve_dashboard } from "./tools/dashboard-proxy.mjs";
import { furnish, startWorld, until } from "./tools/world.mjs";

const bin = process.env.HITHER_BIN;
const skip = bin ? false : "HITHER_BIN is not set";
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const SCREENS = ["devices", "transfers", "shares", "inbox", "asks", "groups", "settings", "health"];

let world;
let browser;
let dist;
let found;
before(async () => {
  if (skip) return;
  dist = await mkdtemp(join(tmpdir(), "hither-real-"));
  await build({ out: dist });
  [world, browser] = await Promise.all([startWorld(bin), launch()]);
  found = await furnish(world);
}, { timeout: 180_000 });
after(async () => {
  await browser?.close();
  await world?.close();
  if (dist) await rm(dist, { recursive: true, force: true });
});

/** The desk's dashboard in a page of its own. */
async function entered(options = {}) {
  const door = await world.desk.api("POST", "/v1/dashboard").catch((error) => {
    if (error.status === 404) return undefined;
    throw error;
  });
  if (!door) {
    const served = await serve_dashboard({ api: pass_on(world.desk.socket), dist });
    const opened = await open(browser, served.url, options);
    return { ...opened, door: false, leave: () => opened.context.close().then(served.close) };
  }
  const opened = await open(browser, door.url, {
    ...options,
    // This build's files, not those that were built into the program.
    setup: (page) =>
      page.route((url) => url.pathname === "/" || existsSync(join(dist, url.pathname)), async (route) => {
        const path = new URL(route.request().url()).pathname;
        const file = join(dist, path === "/" ? "dashboard.html" : path);
        await route.fulfill({ body: await readFile(file), contentType: TYPES[extname(file)] ?? "application/octet-stream", headers: HEADERS });
      }),
  });
  return { ...opened, door: true, leave: () => opened.context.close() };
}
const go = (page, to) => page.evaluate((hash) => { location.hash = hash; }, `#/${to}`);
const button = (scope, name) => scope.getByRole("button", { name, exact: true });
const said = (page, text) => page.locator(".feedback", { hasText: text }).first().waitFor();

test("every screen shows what is there, with nothing for axe to find, and no breach of the policy", { skip }, async () => {
  const entry = await entered({ allowed: /404/ });
  const { page } = entry;
  const expected = { devices: "laptop", transfers: "film.mkv", shares: "holiday", inbox: "The key is under the mat.", asks: "where do we meet?", groups: "choir", settings: "receive.folder", health: "Listening on UDP port" };
  for (const screen of SCREENS) {
    await go(page, screen);
    await page.getByText(expected[screen]).first().waitFor();
    assert.deepEqual(await axe(page), [], screen);
  }
  assert.deepEqual(await wrong(entry), []);
  await entry.leave();
});

test("what another device shares is fetched: offer, map of both sources, pause, going on, the file", { skip, timeout: 120_000 }, async () => {
  const { page, leave } = await entered({ allowed: /404/ });
  await go(page, "settings");
  const set = async (key, value) => {
    const field = page.getByLabel(`Value of ${key}`, { exact: true });
    await field.waitFor();
    if ((await field.evaluate((one) => one.tagName)) === "SELECT") return field.selectOption(value);
    await field.fill(value);
    return button(page.locator(`[data-id="${key}"]`), "Set").click();
  };
  await set("limits.lan", "true");
  await said(page, "limits.lan is set.");
  await set("limits.download", "4MB");
  await said(page, "limits.download is set.");
  await go(page, "transfers");
  await page.locator(".thing", { hasText: "film.mkv" }).getByRole("button", { name: "Fetch" }).click();
  await page.getByLabel("Into the folder").fill(world.desk.files);
  await button(page, "Look at the offer").click();
  await page.getByText("This is offered.").waitFor();
  await page.locator("dialog").getByText(join(world.desk.files, "film.mkv")).waitFor();
  await button(page, "Accept and fetch").click();
  await page.getByRole("img", { name: /is here/ }).waitFor();
  await page.locator("tbody tr", { hasText: "laptop" }).waitFor();
  await page.waitForFunction(() => /^(?!0 %|0%)/.test(document.querySelector("[role=img]")?.ariaLabel ?? "0%"));
  await button(page, "Pause").click();
  await page.locator(".badge", { hasText: "Paused" }).waitFor();
  const id = (await page.evaluate(() => location.hash)).split("/").pop();
  assert.equal((await world.desk.api("GET", `/v1/transfers/${id}`)).phase, "paused");
  await button(page, "Go on").click();
  await page.locator(".badge", { hasText: "Fetching" }).waitFor();
  await world.desk.api("POST", "/v1/config", { key: "limits.download", value: "" });
  await page.locator(".badge", { hasText: "Done" }).waitFor({ timeout: 60_000 });
  assert.equal(statSync(join(world.desk.files, "film.mkv")).size, 48 << 20);
  await leave();
});

test("a folder is shared by its path, its ticket opens it elsewhere, and the page sees who has it; it is ended", { skip, timeout: 120_000 }, async () => {
  const { page, leave } = await entered({ allowed: /404/ });
  world.desk.file("letters/a.txt", "dear you\n".repeat(1000));
  await go(page, "shares");
  await button(page, "Share something").click();
  await page.getByLabel("Path 1").fill(join(world.desk.files, "nowhere"));
  await button(page, "Share").click();
  await page.locator("dialog .notice.bad").waitFor();
  await page.getByLabel("Path 1").fill(join(world.desk.files, "letters"));
  await button(page, "Share").click();
  const ticket = await page.locator("dialog code").first().innerText();
  assert.match(ticket, /^hither1/);
  await button(page, "Close").last().click();
  await page.locator(".thing", { hasText: "letters" }).waitFor();
  await go(page, "transfers");
  await world.laptop.run("fetch", ticket, "-o", world.laptop.files, "--yes");
  await page.locator(".thing", { hasText: "letters" }).getByText("Has all of it").waitFor();
  await go(page, "shares");
  await button(page.locator(".thing", { hasText: "letters" }), "End").click();
  await page.locator("dialog .button.danger").click();
  await said(page, "letters is not shared any more");
  assert.ok(!(await world.desk.api("GET", "/v1/shares")).some((one) => one.name === "letters"));
  await leave();
});

test("a message goes out and one comes in while the page looks on", { skip, timeout: 120_000 }, async () => {
  const { page, leave } = await entered({ allowed: /404/ });
  await go(page, "devices");
  await button(page.locator(".thing", { hasText: "laptop" }), "Send").click();
  await page.getByRole("textbox", { name: "Text" }).fill("sent from the page");
  await button(page.locator("dialog"), "Send").click();
  await said(page, "To laptop:");
  await until("the message at the laptop", async () => (await world.laptop.api("GET", "/v1/inbox")).some((one) => one.text === "sent from the page"));
  await go(page, "inbox");
  await world.laptop.run("send", "desk", "just arrived");
  await page.getByText("just arrived").waitFor();
  await button(page.locator(".thing", { hasText: "just arrived" }), "Delete").click();
  await button(page.locator("dialog"), "Delete").click();
  await page.locator(".written", { hasText: "just arrived" }).waitFor({ state: "detached" });
  await leave();
});

test("who asks to join a group is let in, and a request is refused", { skip, timeout: 120_000 }, async () => {
  const { page, leave } = await entered({ allowed: /404/ });
  const group = (await world.desk.api("GET", "/v1/groups"))[0].group;
  await until("the phone to ask", async () => (await world.desk.api("GET", `/v1/groups/${group}/members`)).some((one) => one.asking));
  await go(page, `groups/${group}`);
  await button(page, "Let in").click();
  await button(page.locator("dialog"), "Let in").click();
  await said(page, "phone is in.");
  await until("the phone to be a member", async () => (await world.phone.api("GET", "/v1/groups"))[0]?.state === "member");
  await go(page, "asks");
  await button(page.locator(".thing", { hasText: "where do we meet?" }), "Refuse").click();
  await page.locator("dialog .button.danger").click();
  await said(page, "The request of laptop was refused.");
  await until("the laptop to hear of it", async () => (await world.laptop.api("GET", "/v1/asks")).sent[0]?.state === "refused");
  await leave();
});

test("what the daemon refuses is said in its words; a daemon that ends is said, and found again when it is back", { skip, timeout: 120_000 }, async () => {
  const { page, door, leave } = await entered({ allowed: /404|400|ERR_/, size: WIDE });
  await go(page, "settings");
  await page.getByLabel("Value of port", { exact: true }).fill("many");
  await button(page.locator('[data-id="port"]'), "Set").click();
  await said(page, '"port" must be a number from 0 to 65535.');
  await world.desk.stop();
  await page.getByText("The daemon does not run, or does not answer").waitFor();
  await world.desk.start();
  // A door of its own is another one after a restart: then the page stays, and says what to do.
  if (!door) {
    await button(page, "Try now").click().catch(() => {});
    await page.getByText("The daemon does not run").waitFor({ state: "detached" });
  }
  await leave();
  assert.ok(found.holiday.ticket);
});
