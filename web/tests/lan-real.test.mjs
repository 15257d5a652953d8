// The page on the local network as a real daemon serves it (`hither page`), with this build's files in place of
// those that are built into the program. HITHER_BIN is the folder of hitherd and hither; without it, or with a
// daemon from before there were pages, this file does nothing.
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { build } from "../build.mjs";
import { PHONE, axe, launch, open, wrong } from "./browser.mjs";
import { HEADERS } from "./tools/dashboard-proxy.mjs";
import { Device, until } from "./tools/world.mjs";

const bin = process.env.HITHER_BIN;
const skip = bin ? false : "HITHER_BIN is not set";
const TYPES = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };
const FILM = randomBytes(3_000_000);
const digest = (bytes) => createHash("sha256").update(bytes).digest("hex");

let browser;
let dir;
let dist;
let desk;
let has_pages = false;
before(async () => {
  if (skip) return;
  dir = await mkdtemp(join(tmpdir(), "hither-lan-real-"));
  dist = join(dir, "dist");
  await build({ out: dist });
  browser = await launch();
  desk = await new Device(bin, dir, "desk").start();
  desk.file("holiday/notes/plan.txt", "ferry at nine\n");
  desk.file("holiday/film.bin", FILM);
  await desk.run("share", join(desk.files, "holiday"), "--json");
  has_pages = await desk.api("GET", "/v1/pages").then(() => true, (error) => {
    if (error.status === 404) return false;
    throw error;
  });
}, { timeout: 120_000 });
after(async () => {
  await browser?.close();
  await desk?.stop();
  if (dir) await rm(dir, { recursive: true, force: true });
});

/** A page that is open in a phone's browser, by the address that a phone is given. */
async function phone(request = {}, allowed = undefined) {
  const made = await desk.api("POST", "/v1/pages", request);
  const url = made.urls[0];
  const path = new URL(url).pathname;
  const opened = await open(browser, url, {
    size: PHONE, touch: true, allowed,
    setup: (page) =>
      page.route((at) => at.pathname === path || (/^\/(assets|icons)\//.test(at.pathname) && existsSync(join(dist, at.pathname))), async (route) => {
        const at = new URL(route.request().url()).pathname;
        await route.fulfill({ body: await readFile(join(dist, at === path ? "lan.html" : at)), contentType: TYPES[extname(at === path ? ".html" : at)] ?? "text/html", headers: HEADERS });
      }),
  });
  return { made, ...opened };
}

test("a phone looks at what is shared, downloads it, and sends files and a text", { skip, timeout: 120_000 }, async (t) => {
  if (!has_pages) return t.skip("this daemon has no pages");
  const opened = await phone();
  const { page, context } = opened;
  await page.getByRole("heading", { name: "desk", level: 1 }).waitFor();
  assert.deepEqual(await axe(page), []);
  await page.getByRole("link", { name: /holiday/ }).click();
  const [film] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Download film.bin" }).click()]);
  assert.equal(film.suggestedFilename(), "film.bin");
  assert.equal(digest(await readFile(await film.path())), digest(FILM));
  const [zip] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Download all as a zip" }).click()]);
  assert.equal(zip.suggestedFilename(), "holiday.zip");
  const archive = await readFile(await zip.path());
  assert.ok(archive.indexOf(FILM.subarray(0, 4096)) > 0 && archive.includes("ferry at nine"), "the zip holds both, as they are");
  await page.getByRole("link", { name: /notes/ }).click();
  await page.getByRole("button", { name: /plan\.txt/ }).click();
  await page.getByText("ferry at nine").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("navigation").getByRole("link", { name: "All shares" }).click();
  await page.locator("input[type=file]").first().setInputFiles([
    { name: "photo 1.jpg", mimeType: "image/jpeg", buffer: FILM },
    { name: "ü 漢 (1).txt", mimeType: "text/plain", buffer: Buffer.from("hello") },
  ]);
  await page.waitForFunction(() => document.querySelectorAll("[data-state=done]").length === 2);
  const { folder } = await desk.api("GET", "/v1/receive");
  assert.deepEqual((await readdir(folder)).sort(), ["photo 1.jpg", "ü 漢 (1).txt"]);
  assert.equal(digest(await readFile(join(folder, "photo 1.jpg"))), digest(FILM));
  await page.getByLabel("A text").fill("the code is 4711");
  await page.getByRole("button", { name: "Send the text" }).click();
  await page.getByText("The text has arrived.").waitFor();
  await until("the text in the inbox", async () => (await desk.api("GET", "/v1/inbox")).some((one) => one.text === "the code is 4711"));
  assert.deepEqual(await wrong(opened), []);
  await context.close();
});

test("a page that takes nothing offers nothing, and the end of a page is said", { skip, timeout: 60_000 }, async (t) => {
  if (!has_pages) return t.skip("this daemon has no pages");
  const { page, made, context } = await phone({ no_upload: true, keep_seconds: 120 }, /404|ERR_/);
  await page.getByText("Nothing can be sent by this page.").waitFor();
  await page.locator(".notice", { hasText: "Until this page ends: 2 min" }).waitFor();
  await desk.api("DELETE", `/v1/pages/${made.page}`);
  await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await page.getByRole("heading", { name: "This page has ended" }).or(page.getByText("The device does not answer")).waitFor();
  await context.close();
});
