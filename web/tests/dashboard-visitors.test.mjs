// The dashboard's newer parts: inbox links and visitors, pages as devices, the log, where settings come from, paths.
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "../build.mjs";
import { PHONE, WIDE, axe, launch, layout, open, wrong } from "./browser.mjs";
import { serve_dashboard } from "./tools/dashboard-proxy.mjs";
import { fake_daemon } from "./tools/fake-daemon.mjs";
import { HOSTILE } from "./tools/names.mjs";

let browser;
let dist;
before(async () => {
  dist = await mkdtemp(join(tmpdir(), "hither-dashboard-"));
  await build({ out: dist });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await rm(dist, { recursive: true, force: true });
});

const LINK = { id: 3, link: "https://relay.example/i#hither-inbox1qqqq", name: "for the party", relay: "relay.example", left_seconds: 500_000, max: 10_000_000_000, visitors: 2, told: true };

async function at(screen, { answers, state, ...options } = {}) {
  const daemon = fake_daemon(answers);
  daemon.state["inbox/links"] = [LINK];
  state?.(daemon.state);
  const served = await serve_dashboard({ api: daemon.api, dist });
  const opened = await open(browser, served.url, { allowed: /ERR_/, ...options });
  const { page } = opened;
  page.setDefaultTimeout(60_000);
  await page.locator("h1").waitFor();
  await page.evaluate((hash) => { location.hash = hash; }, `#/${screen}`);
  await page.waitForFunction((screen) => document.querySelector(`nav a[href="#/${screen}"]`)?.getAttribute("aria-current") === "page", screen);
  await page.locator("main .spinner").first().waitFor({ state: "detached" });
  return {
    ...opened, daemon,
    calls: () => served.calls.filter((call) => call.method !== "GET").map(({ method, path, body }) => [method, path.slice("/v1/".length), body]),
    reads: () => served.calls.filter((call) => call.method === "GET").map(({ path }) => path),
    async clean() {
      assert.deepEqual(await wrong(opened), []);
      await opened.context.close();
      await served.close();
    },
  };
}
const button = (scope, name) => scope.getByRole("button", { name, exact: true });

test("w2_inbox_links_are_made_shown_and_ended", async () => {
  const { page, calls, clean } = await at("inbox", { answers: { "POST inbox/links": { ...LINK, id: 4, name: "Jana" } } });
  await page.locator('[data-id="link-3"]').getByText("2 visitors").waitFor();
  await button(page, "New inbox link").click();
  await page.getByLabel("Name", { exact: true }).fill("Jana");
  await page.getByLabel("Good for").selectOption("86400");
  await button(page, "Make it").click();
  await page.getByRole("dialog").getByText(LINK.link).waitFor();
  await page.getByRole("dialog").getByRole("img", { name: "The link as a QR code" }).waitFor();
  await page.keyboard.press("Escape");
  await button(page.locator('[data-id="link-3"]'), "End the link").click();
  await button(page.getByRole("dialog"), "End the link").click();
  await page.locator(".feedback", { hasText: "The link has ended." }).waitFor();
  const [made, ended] = calls();
  assert.deepEqual(made, ["POST", "inbox/links", { keep_seconds: 86_400, max: 10_000_000_000, name: "Jana" }]);
  assert.deepEqual(ended.slice(0, 2), ["DELETE", "inbox/links/3"]);
  await clean();
});

test("w2_what_visitors_send_is_theirs_and_no_device_s_and_names_are_text", async () => {
  for (const name of [HOSTILE[0], HOSTILE[11], ""]) {
    const { page, clean } = await at("inbox", {
      state: (state) => {
        state.inbox[0] = { ...state.inbox[0], name: "", visitor: { name, link: 3, link_name: HOSTILE[2] } };
        state["inbox/links"] = [{ ...LINK, name: HOSTILE[1] }];
      },
    });
    await page.getByText("by your link").waitFor();
    if (name === "") await page.getByRole("heading", { name: "Somebody without a name" }).waitFor();
    assert.equal(await page.evaluate(() => globalThis.hit), undefined);
    assert.equal(await page.locator("main script, main img[src='x'], main svg[onload]").count(), 0);
    await clean();
  }
});

test("w3_pages_are_marked_among_devices", async () => {
  const { page, clean } = await at("devices", { state: (state) => (state.devices[1].web = true) });
  await page.locator(".badge", { hasText: "Page" }).waitFor();
  await clean();
});

const LOG = [
  { timestamp: "2026-11-30T20:00:00Z", level: "INFO", target: "hither", fields: { message: "the daemon began", port: 4711 } },
  { timestamp: "2026-11-30T20:00:01Z", level: "DEBUG", fields: { message: "a detail" } },
  { timestamp: "2026-11-30T20:00:02Z", level: "ERROR", fields: { message: `a share named ${HOSTILE[0]}\u202e` } },
  { odd: true },
];

test("w5_the_log_is_read_when_it_is_asked_for", async () => {
  const { page, reads, clean } = await at("health", { answers: { "GET log": LOG } });
  assert.ok(!reads().some((path) => path.startsWith("/v1/log")));
  await button(page, "Read the log").click();
  await page.getByText("the daemon began port=4711").waitFor();
  assert.equal(await page.getByText("a detail").count(), 0);
  await page.getByLabel("What is shown").selectOption("debug");
  await page.getByText("a detail").waitFor();
  await page.getByLabel("What is shown").selectOption("error");
  assert.equal(await page.locator(".log li").count(), 2, "what says no level is always shown");
  assert.match(await page.locator(".log li").last().innerText(), /a share named <img.*\ufffd/);
  assert.equal(await page.evaluate(() => globalThis.hit), undefined);
  await clean();
});

test("w5_settings_say_where_a_value_comes_from_and_are_reset", async () => {
  const own = (state) => {
    Object.assign(state.config[0], { source: "file", default: "something" });
  };
  const { page, calls, daemon, clean } = await at("settings", { state: own, answers: { "DELETE config/*": { changed: [], pending: [] }, "POST config": { changed: [], pending: [] } } });
  const { key, value } = daemon.state.config[0];
  const row = page.locator(`[data-id="${key}"]`);
  await row.getByText("From the file").waitFor();
  assert.equal(await page.locator(`[data-id="${daemon.state.config[1].key}"]`).getByRole("button", { name: /^Reset/ }).count(), 0);
  await row.getByRole("button", { name: `Reset ${key}` }).click();
  await page.locator(".feedback", { hasText: `${key} is as it is by itself.` }).waitFor();
  assert.deepEqual(calls().map(([method, path]) => [method, path]), [["DELETE", `config/${key}`]]);
  const set = page.waitForResponse((answer) => answer.request().method() === "POST" && answer.url().endsWith("/v1/config"));
  await page.locator(".feedback").getByRole("button", { name: "Undo" }).click();
  await set;
  assert.deepEqual(calls()[1], ["POST", "config", { key, value }]);
  await clean();
});

test("w5_paths_are_proposed_where_the_daemon_lists_them", async () => {
  const { page, reads, clean } = await at("shares", { answers: { "GET paths": (_, answer, url) => ({ folder: url.searchParams.get("under"), entries: [{ name: "holiday", folder: true }, { name: "notes.txt", folder: false }] }) } });
  await button(page, "Share something").click();
  const place = page.getByRole("dialog").locator("input[list]").first();
  await place.fill("/home/me/ho");
  await page.waitForFunction(() => [...document.querySelectorAll("datalist option")].some((one) => one.value === "/home/me/holiday"));
  // The pause after a letter passes here, and whatever follows it comes before what another folder brings.
  await page.clock.install();
  await place.fill("/home/me/holi");
  await page.clock.runFor(1_000);
  await place.fill("/home/you/h");
  await page.clock.runFor(1_000);
  await page.waitForFunction(() => [...document.querySelectorAll("datalist option")].some((one) => one.value === "/home/you/holiday"));
  assert.deepEqual(reads().filter((path) => path.startsWith("/v1/paths")), ["me", "you"].map((who) => `/v1/paths?under=${encodeURIComponent(`/home/${who}/`)}`), "one folder is asked for once");
  await clean();
});

test("w7_axe_finds_nothing_in_them", async () => {
  for (const [scheme, size, language] of [["light", PHONE, "de"], ["dark", WIDE, "en"]]) {
    const { page, clean } = await at("inbox", { scheme, size, language, answers: { "GET log": LOG }, state: (state) => { state.inbox[0].visitor = { name: "Jana", link: 3, link_name: "party" }; Object.assign(state.config[0], { source: "file", default: "something" }); } });
    const good = async (what) => {
      assert.deepEqual(await axe(page), [], `${what} ${scheme}`);
      assert.deepEqual(await layout(page), [], `${what} ${scheme}`);
    };
    await page.locator('[data-id="link-3"]').waitFor();
    await good("links");
    await button(page, language === "de" ? "Neuer Link zum Eingang" : "New inbox link").click();
    await page.locator("dialog[open]").waitFor();
    await good("new link");
    await page.keyboard.press("Escape");
    await page.evaluate(() => { location.hash = "#/health"; });
    await button(page, language === "de" ? "Protokoll lesen" : "Read the log").click();
    await page.locator(".log li").first().waitFor();
    await good("log");
    await page.evaluate(() => { location.hash = "#/settings"; });
    await page.locator(".setting").first().waitFor();
    await good("settings");
    await clean();
  }
});
