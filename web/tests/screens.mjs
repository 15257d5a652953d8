// Pictures of the dashboard and of the page on the network for the documentation, over recorded and made-up data:
//   node tests/screens.mjs [FOLDER]        docs/screens when there is none
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "../build.mjs";
import { PHONE, launch, open } from "./browser.mjs";
import { serve_dashboard } from "./tools/dashboard-proxy.mjs";
import { fake_daemon } from "./tools/fake-daemon.mjs";
import { serve_lan } from "./tools/lan-server.mjs";

const folder = process.argv[2] ?? fileURLToPath(new URL("../../docs/screens", import.meta.url));
/** When the recorded things happened: "a minute ago" stays that. */
const NOW = 1796053570_000;
const DESKTOP = { width: 1280, height: 800 };

await mkdir(folder, { recursive: true });
const dist = await mkdtemp(join(tmpdir(), "hither-screens-"));
await build({ out: dist });
const browser = await launch();
const shoot = (page, name, whole = false) => page.screenshot({ path: join(folder, `${name}.png`), fullPage: whole, animations: "disabled", caret: "initial" });
const setup = (page) => page.clock.setFixedTime(NOW);

/** A picture of a screen of the dashboard; `then` goes on from there. */
async function dashboard(name, screen, options = {}, then = async () => {}) {
  const daemon = fake_daemon();
  const served = await serve_dashboard({ api: daemon.api, dist });
  const { page, context } = await open(browser, served.url, { size: DESKTOP, setup, ...options });
  await page.locator(".section").first().waitFor();
  await page.evaluate((hash) => { location.hash = hash; }, `#/${screen(daemon.state)}`);
  await page.locator("main .spinner").first().waitFor({ state: "detached" });
  await page.locator(".section").first().waitFor();
  await then(page);
  await page.evaluate(() => document.activeElement?.blur?.());
  await shoot(page, name, options.whole);
  await context.close();
  await served.close();
}

async function lan(name, options, then) {
  const served = await serve_lan({ dist });
  const { page, context } = await open(browser, served.url, { size: PHONE, touch: true, setup, ...options });
  await page.locator(".row").first().waitFor();
  await then(page, served);
  await page.evaluate(() => document.activeElement?.blur?.());
  await shoot(page, name, options.whole);
  await context.close();
  await served.close();
}
const files = (...names) => names.map((name, at) => ({ name, mimeType: "application/octet-stream", buffer: Buffer.alloc(180_000 * (at + 1)) }));

await dashboard("dashboard-devices", () => "devices");
await dashboard("dashboard-transfer", (state) => `transfers/${state.transfers[0].transfer}`, {}, (page) => page.locator("canvas[role=img]").waitFor());
await dashboard("dashboard-transfer-phone", (state) => `transfers/${state.transfers[0].transfer}`, { size: PHONE, scheme: "dark", language: "de", whole: true }, (page) => page.locator("canvas[role=img]").waitFor());
await dashboard("dashboard-ticket", () => "shares", {}, async (page) => {
  await page.getByRole("button", { name: "Ticket and QR code" }).click();
  await page.locator("dialog svg.qr").waitFor();
});
await dashboard("dashboard-inbox", () => "inbox", { scheme: "dark", language: "zh" });
await dashboard("dashboard-group", (state) => `groups/${state.groups[0].group}`, {}, (page) => page.locator(".thing").nth(1).waitFor());
await dashboard("dashboard-settings", () => "settings", {}, (page) => page.locator(".setting").first().waitFor());
await dashboard("dashboard-health", () => "health", { scheme: "dark" });
await lan("lan-phone", { whole: true }, async (page, served) => {
  served.refuse_upload = (name) => (name === "film.mp4" ? [507, "no_space", "There is no room for that on this device."] : undefined);
  await page.locator("input[type=file]").first().setInputFiles(files("photo.jpg", "film.mp4"));
  await page.locator("[data-state=failed]").waitFor();
  await page.locator("[data-state=done]").waitFor();
});
await lan("lan-folder", { scheme: "dark", language: "de" }, async (page) => {
  await page.getByRole("link", { name: /holiday/ }).click();
  await page.locator("#folder").waitFor();
});
await lan("lan-preview", { size: DESKTOP }, async (page) => {
  await page.getByRole("link", { name: /holiday/ }).click();
  await page.getByRole("button", { name: /sunset/ }).click();
  await page.waitForFunction(() => document.querySelector("img.shown")?.naturalWidth === 960);
});
await browser.close();
await rm(dist, { recursive: true });
