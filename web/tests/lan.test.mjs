// The page on the local network in a browser, against a server that does what the daemon's does. Chromium calls
// 127.0.0.1 a secure context; one test opens the page by another address, where it is none, as phones do.
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { mkdtemp, rm, readFile, writeFile } from "node:fs/promises";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "../build.mjs";
import { PHONE, WIDE, axe, launch, layout, open, wrong } from "./browser.mjs";
import { serve_lan } from "./tools/lan-server.mjs";
import { HOSTILE, harm } from "./tools/names.mjs";

let browser;
let dist;
before(async () => {
  dist = await mkdtemp(join(tmpdir(), "hither-lan-"));
  await build({ out: dist });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await rm(dist, { recursive: true, force: true });
});

/** Opens the page of a fresh server; `clean` ends both and says what went wrong in the page. */
async function started(options = {}, more = {}) {
  const served = await serve_lan({ dist, ...more });
  const opened = await open(browser, more.url?.(served) ?? served.url, options);
  opened.page.setDefaultTimeout(120_000);
  const clean = async (expected = []) => {
    assert.deepEqual(await wrong(opened), expected);
    await opened.context.close();
    await served.close();
  };
  return { served, ...opened, clean };
}
const file = (name, size = 10) => ({ name, mimeType: "application/octet-stream", buffer: Buffer.alloc(size, 7) });
const chooser = (page) => page.locator("input[type=file]").first();

test("it says whose page it is, how long it lives, and that nothing is encrypted, in every language", async () => {
  for (const [language, words] of [["en", "Not encrypted on this network: anybody in this network who can listen sees what is sent here"], ["de", "In diesem Netz nicht verschlüsselt"], ["zh", "在此网络中未加密"]]) {
    const { page, clean } = await started({ language });
    await page.getByRole("heading", { name: "desk", level: 1 }).waitFor();
    assert.match(await page.locator("main").innerText(), new RegExp(words));
    assert.match(await page.locator("main").innerText(), /59/);
    assert.equal((await page.evaluate(() => document.documentElement.lang)).slice(0, 2), language);
    await clean();
  }
});

test("axe finds nothing on any of its screens, light and dark, narrow and wide; all is large enough to touch", async () => {
  for (const scheme of ["light", "dark"]) {
    for (const size of [PHONE, WIDE]) {
      const { page, clean, served } = await started({ scheme, size, language: "de", allowed: /507/ });
      served.refuse_upload = (name) => (name === "bad.bin" ? [507, "no_space", "There is no room for that on this device."] : undefined);
      await chooser(page).setInputFiles([file("good.bin"), file("bad.bin")]);
      await page.locator("[data-state=failed]").waitFor();
      await page.locator("[data-state=done]").waitFor();
      const look = async (where) => {
        assert.deepEqual(await axe(page), [], `${where} ${scheme} ${size.width}`);
        assert.deepEqual(await layout(page), [], `${where} ${scheme} ${size.width}`);
      };
      await look("home");
      await page.getByRole("link", { name: /holiday/ }).click();
      await page.getByRole("heading", { name: "holiday", level: 1 }).waitFor();
      await look("folder");
      await page.getByRole("button", { name: /beach\.png/ }).click();
      await page.locator("img.shown").waitFor();
      await look("preview");
      await clean();
    }
  }
});

test("folders are walked, the heading takes the focus, the way back leads up", async () => {
  const { page, clean } = await started();
  await page.getByRole("link", { name: /holiday/ }).click();
  await page.getByRole("heading", { name: "holiday", level: 1 }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), "holiday");
  await page.getByRole("link", { name: /notes/ }).click();
  await page.getByRole("heading", { name: "notes", level: 1 }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), "notes");
  assert.deepEqual(await page.locator(".row-title").allInnerTexts(), ["packing.md", "plan.txt"]);
  await page.goBack();
  await page.getByRole("heading", { name: "holiday", level: 1 }).waitFor();
  await page.getByLabel("Order").selectOption("size");
  assert.deepEqual((await page.locator(".row-title").allInnerTexts()).slice(0, 2), ["notes", "video.mkv"]);
  await page.getByRole("navigation").getByRole("link", { name: "All shares" }).click();
  await page.getByRole("heading", { name: "desk", level: 1 }).waitFor();
  await clean();
});

test("downloads are the browser's own: a file under its name, a folder as a zip", async () => {
  const { page, served, clean } = await started();
  await page.getByRole("link", { name: /holiday/ }).click();
  const [one] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Download video.mkv" }).click()]);
  assert.equal(one.suggestedFilename(), "video.mkv");
  assert.equal((await readFile(await one.path())).length, 3_500_000);
  const [all] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Download all as a zip" }).click()]);
  assert.equal(all.suggestedFilename(), "holiday.zip");
  await page.getByRole("link", { name: /notes/ }).click();
  await page.getByRole("heading", { name: "notes", level: 1 }).waitFor();
  const [part] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Download all as a zip" }).click()]);
  assert.equal(part.suggestedFilename(), "notes.zip");
  assert.ok(served.seen.some((call) => /zip\/19213b751d4785cd60f5f2638fea5433\?entry=2$/.test(call)));
  await clean();
});

test("pictures and texts are looked at one after the other; of a long text only the beginning is read", async () => {
  const { page, served, clean } = await started();
  await page.getByRole("link", { name: /holiday/ }).click();
  await page.getByRole("button", { name: /beach\.png/ }).click();
  const shown = page.locator("img.shown");
  await shown.waitFor();
  await page.waitForFunction(() => document.querySelector("img.shown")?.naturalWidth === 960);
  await page.keyboard.press("ArrowRight");
  await page.getByRole("heading", { name: "sunset.png" }).waitFor();
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("dialog").count(), 0);
  await page.goto(`${served.url}#/5185a22ebd89965847b48545dc82f783`);
  await page.getByRole("button", { name: /long\.log/ }).click();
  await page.getByText("Only the beginning is shown.").waitFor();
  assert.equal((await page.locator(".shown-text").innerText()).length, 256 * 1024);
  await clean();
});

test("several files are sent at a time with their progress; a failed one is tried again", async () => {
  const { page, served, clean } = await started({ allowed: /507/ });
  let full = true;
  served.refuse_upload = (name) => (name === "b.bin" && full ? [507, "no_space", "There is no room for that on this device."] : undefined);
  await chooser(page).setInputFiles([file("a.bin", 300_000), file("b.bin"), file("c.bin"), file("d ü 漢.bin")]);
  await page.locator("[data-state=failed]").waitFor();
  await page.waitForFunction(() => document.querySelectorAll("[data-state=done]").length === 3);
  assert.match(await page.locator("[data-state=failed]").innerText(), /There is no room for that on this device/);
  full = false;
  await page.getByRole("button", { name: "Try again" }).click();
  await page.waitForFunction(() => document.querySelectorAll("[data-state=done]").length === 4);
  assert.deepEqual(served.uploads.map((one) => one.name).sort(), ["a.bin", "b.bin", "c.bin", "d ü 漢.bin"]);
  assert.equal(served.uploads.find((one) => one.name === "a.bin").size, 300_000);
  // A name that is taken: the page says what it is called there.
  await chooser(page).setInputFiles([file("a.bin")]);
  await page.getByText("a (2).bin").waitFor();
  await page.getByRole("button", { name: "Clear what has arrived" }).click();
  assert.equal(await page.locator(".upload").count(), 0);
  await clean();
});

test("what is being sent goes on while a folder is looked at, and can be stopped", async () => {
  const { page, served, clean } = await started();
  served.slow = true;
  await chooser(page).setInputFiles([file("a.bin"), file("b.bin"), file("c.bin")]);
  await page.waitForFunction(() => document.querySelectorAll("[data-state=sending]").length === 2);
  assert.equal(await page.locator("[data-state=waiting]").count(), 1);
  await page.getByRole("button", { name: "Stop a.bin" }).click();
  await page.waitForFunction(() => document.querySelectorAll("[data-state=sending]").length === 2);
  await page.getByRole("link", { name: /holiday/ }).click();
  await page.getByRole("heading", { name: "holiday", level: 1 }).waitFor();
  served.release();
  await page.goBack();
  await page.waitForFunction(() => document.querySelectorAll("[data-state=done]").length === 2);
  assert.ok(["b.bin", "c.bin"].every((name) => served.uploads.some((one) => one.name === name)));
  await clean();
});

test("files are dropped, also in folders; beside the place nothing is opened", async () => {
  const { page, served, clean } = await started();
  await page.locator(".drop").waitFor();
  const drop = (selector) =>
    page.evaluate((where) => {
      const data = new DataTransfer();
      data.items.add(new File(["hello"], "dropped.txt"));
      const event = new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
      document.querySelector(where).dispatchEvent(event);
      return event.defaultPrevented;
    }, selector);
  assert.ok(await drop("h1"), "the browser would have opened it");
  assert.ok(await drop(".drop"));
  await page.locator("[data-state=done]").waitFor();
  assert.deepEqual(served.uploads, [{ name: "dropped.txt", size: 5 }]);
  await clean();
});

test("the camera is asked for by the file field, as plain HTTP allows", async () => {
  const { page, clean } = await started({ size: PHONE, touch: true });
  await page.getByRole("button", { name: "Take a photo" }).waitFor();
  assert.deepEqual(await page.locator("input[type=file]").evaluateAll((all) => all.map((one) => [one.getAttribute("capture"), one.accept, one.multiple])), [[null, "", true], ["environment", "image/*", false], ["environment", "video/*", false]]);
  await page.locator("input[type=file]").nth(1).setInputFiles([file("photo.jpg")]);
  await page.locator("[data-state=done]").waitFor();
  await clean();
});

test("a text arrives, and one that is too long is not sent", async () => {
  const { page, served, clean } = await started();
  await page.getByLabel("A text").fill("two\nlines — ü 漢");
  await page.getByRole("button", { name: "Send the text" }).click();
  await page.getByText("The text has arrived.").waitFor();
  assert.deepEqual(served.texts, ["two\nlines — ü 漢"]);
  await page.getByLabel("A text").fill("漢".repeat(22_000));
  await page.getByText("At most").waitFor();
  await page.getByRole("button", { name: "Send the text" }).click({ force: true });
  assert.equal(served.texts.length, 1);
  await clean();
});

test("the end of the page is said, and what it means; a device that is away is asked again", async () => {
  const { page, served, clean } = await started({ allowed: /404|ERR_/ });
  await page.getByRole("heading", { name: "desk" }).waitFor();
  served.expires_s = 200;
  const look = () => page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await look();
  await page.locator(".notice", { hasText: "Until this page ends: 3 min" }).waitFor();
  await page.context().setOffline(true);
  await look();
  await page.getByText("The device does not answer").waitFor();
  await page.context().setOffline(false);
  await page.getByRole("button", { name: "Try again" }).click();
  await page.getByText("The device does not answer").waitFor({ state: "detached" });
  served.ended = true;
  await look();
  await page.getByRole("heading", { name: "This page has ended" }).waitFor();
  assert.match(await page.locator("main").innerText(), /open another one/);
  assert.deepEqual(await axe(page), []);
  await clean();
});

test("a device that is silent after the page's time has ended it", async () => {
  const { page, served, clean } = await started({ allowed: /ERR_/ });
  await page.getByRole("heading", { name: "desk" }).waitFor();
  served.expires_s = 1;
  const look = () => page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await look();
  await page.locator(".notice", { hasText: "Until this page ends: 0 sec" }).waitFor();
  await page.waitForFunction((at) => Date.now() > at, Date.now() + 1100);
  await page.context().setOffline(true);
  await look();
  await page.getByRole("heading", { name: "This page has ended" }).waitFor();
  await clean();
});

test("a page that takes nothing says so; one that shares nothing too", async () => {
  const served = await serve_lan({ dist, shares: {} });
  served.may_upload = false;
  const opened = await open(browser, served.url);
  await opened.page.getByText("Nothing can be sent by this page.").waitFor();
  await opened.page.getByText("Nothing is shared on this page.").waitFor();
  assert.equal(await opened.page.locator("input[type=file]").count(), 0);
  assert.deepEqual(await wrong(opened), []);
  await opened.context.close();
  await served.close();
});

test("hostile names of devices, shares, files and refusals are text, and nothing else", async () => {
  const shares = Object.fromEntries(HOSTILE.map((name, at) => [at.toString(16).padStart(32, "0"), [{ path: [name], kind: "folder", bytes: Buffer.alloc(0), modified_ms: 0 }, ...HOSTILE.map((inner) => ({ path: [name, inner], kind: "file", bytes: Buffer.from("x"), modified_ms: 8.7e15 }))]]));
  const { page, served, clean } = await started({ allowed: /500/ }, { shares, device: HOSTILE[0] });
  await page.getByRole("heading", { level: 1 }).waitFor();
  assert.equal(await page.getByRole("heading", { level: 1 }).innerText(), HOSTILE[0]);
  served.refuse_upload = () => [500, "internal", HOSTILE[1], HOSTILE[2]];
  await chooser(page).setInputFiles([file("a.bin")]);
  await page.locator("[data-state=failed]").waitFor();
  assert.ok((await page.locator("[data-state=failed]").innerText()).includes(HOSTILE[1]));
  for (const id of Object.keys(shares)) {
    await page.goto(`${served.url}#/${id}`);
    await page.locator(".row").nth(HOSTILE.length - 1).waitFor();
    assert.deepEqual(await harm(page), { hit: undefined, made: [] });
  }
  assert.deepEqual(await layout(page), []);
  await clean();
});

test("where a page is no secure context (a phone's view of the network) everything works", async (t) => {
  const address = Object.values(networkInterfaces()).flat().find((one) => one.family === "IPv4" && !one.internal)?.address;
  if (!address) return t.skip("this machine has no address but its own");
  const { page, served, clean } = await started({}, { host: "0.0.0.0", url: (of) => of.url.replace("127.0.0.1", address) });
  await page.getByRole("heading", { name: "desk" }).waitFor();
  assert.equal(await page.evaluate(() => isSecureContext), false);
  await chooser(page).setInputFiles([file("a.bin")]);
  await page.locator("[data-state=done]").waitFor();
  await page.getByRole("link", { name: /holiday/ }).click();
  await page.getByRole("button", { name: /beach\.png/ }).click();
  await page.waitForFunction(() => document.querySelector("img.shown")?.naturalWidth === 960);
  assert.deepEqual(served.uploads, [{ name: "a.bin", size: 10 }]);
  return clean();
});

test("it is walked by the keyboard alone", async () => {
  const { page, clean } = await started();
  await page.getByRole("heading", { name: "desk" }).waitFor();
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement?.className), "skip");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement?.id), "main");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "holiday", level: 1 }).waitFor();
  const reached = new Set();
  for (let at = 0; at < 25; at += 1) {
    await page.keyboard.press("Tab");
    reached.add(await page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent));
  }
  for (const name of ["Download all as a zip", "Download beach.png", "All shares", "Order"]) assert.ok(reached.has(name), `${name} is not reached: ${[...reached].join(", ")}`);
  await clean();
});
