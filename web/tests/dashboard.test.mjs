// The dashboard in a browser, against a daemon that gives what a real one gave (tests/recorded/desk.json).
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "../build.mjs";
import { PHONE, WIDE, axe, launch, layout, open, wrong } from "./browser.mjs";
import { problem, serve_dashboard } from "./tools/dashboard-proxy.mjs";
import { fake_daemon, recorded, tell } from "./tools/fake-daemon.mjs";
import { HOSTILE, harm } from "./tools/names.mjs";

const SCREENS = ["devices", "transfers", "shares", "inbox", "asks", "groups", "settings", "health"];
const NAMES = { devices: "Devices", transfers: "Transfers", shares: "Shares", inbox: "Inbox", asks: "Requests", groups: "Groups", settings: "Settings", health: "Health" };
const DESK = recorded();
const FILM = DESK.transfers[0].transfer;
const GROUP = DESK.groups[0].group;
const LAPTOP = DESK.devices.find((one) => one.name === "laptop").device;

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

/** A dashboard at a screen. `calls()` gives what was called since, without reading. */
async function at(screen, { answers, state, ...options } = {}) {
  const daemon = fake_daemon(answers);
  state?.(daemon.state, daemon);
  const served = await serve_dashboard({ api: daemon.api, dist });
  const opened = await open(browser, served.url, { allowed: /ERR_/, ...options });
  const { page } = opened;
  page.setDefaultTimeout(120_000);
  await page.locator("h1").waitFor();
  if (screen) await go(page, screen);
  return {
    daemon, served, ...opened,
    calls: () => served.calls.filter((call) => call.method !== "GET").map(({ method, path, body }) => [method, path.slice("/v1/".length), body]),
    async clean() {
      assert.deepEqual(await wrong(opened), []);
      await opened.context.close();
      await served.close();
    },
  };
}
async function go(page, to) {
  await page.evaluate((hash) => { location.hash = hash; }, `#/${to}`);
  await page.waitForFunction((screen) => document.querySelector(`nav a[href="#/${screen}"]`)?.getAttribute("aria-current") === "page", to.split("/")[0]);
  await page.locator("main .spinner").first().waitFor({ state: "detached" });
}
const button = (scope, name) => scope.getByRole("button", { name, exact: true });
const card = (page, id) => page.locator(`[data-id="${id}"]`);
const said = (page, text) => page.locator(".feedback", { hasText: text }).waitFor();

test("every screen opens from the navigation, shows what the daemon has, and moves the focus to its heading", async () => {
  const { page, clean } = await at();
  const expected = { devices: "phone", transfers: "film.mkv", shares: "holiday", inbox: "The key is under the mat.", asks: "where do we meet?", groups: "choir", settings: "receive.folder", health: "Connected to" };
  for (const screen of SCREENS) {
    await page.getByRole("navigation").getByRole("link", { name: NAMES[screen] }).click();
    await page.getByText(expected[screen]).first().waitFor();
    assert.equal(await page.evaluate(() => document.activeElement?.id), "heading", screen);
    assert.equal(await page.locator("h1").innerText(), NAMES[screen]);
    assert.match(await page.title(), new RegExp(`^${NAMES[screen]} · desk · Hither$`));
  }
  await clean();
});

test("axe finds nothing on any screen, light and dark, narrow and wide; all is large enough to touch", async () => {
  for (const scheme of ["light", "dark"]) {
    for (const size of [PHONE, WIDE]) {
      const { page, clean } = await at(undefined, { scheme, size, language: size === PHONE ? "de" : "en" });
      for (const screen of [...SCREENS, `transfers/${FILM}`, `groups/${GROUP}`]) {
        await go(page, screen);
        await page.locator(".section").first().waitFor();
        assert.deepEqual(await axe(page), [], `${screen} ${scheme} ${size.width}`);
        assert.deepEqual(await layout(page), [], `${screen} ${scheme} ${size.width}`);
      }
      await clean();
    }
  }
});

test("axe finds nothing in its dialogs", async () => {
  const { page, clean } = await at("shares", { size: PHONE });
  const look = async (where) => {
    await page.locator("dialog[open]").waitFor();
    assert.deepEqual(await axe(page), [], where);
    assert.deepEqual(await layout(page), [], where);
    await page.keyboard.press("Escape");
    await page.locator("dialog[open]").waitFor({ state: "detached" });
  };
  await button(page, "Share something").click();
  await page.getByText("More choices").click();
  await look("share");
  await button(page, "Ticket and QR code").click();
  await look("ticket");
  await button(page, "End").click();
  await look("question");
  await go(page, "transfers");
  await button(page, "Fetch with a ticket").click();
  await look("fetch");
  await go(page, "devices");
  await button(card(page, LAPTOP), "Send").click();
  await look("send");
  await button(page, "Add a device").click();
  await look("pair");
  await go(page, "asks");
  await button(page, "Answer…").click();
  await look("answer");
  await button(page, "Ask for something").click();
  await look("ask");
  await button(page, "Allow from now on…").click();
  await look("allow");
  await clean();
});

test("keys: 1 to 8 open the screens, / searches and Escape leaves, arrows move in the navigation; they can be turned off", async () => {
  const { page, clean } = await at();
  for (const [index, screen] of SCREENS.entries()) {
    await page.keyboard.press(String(index + 1));
    await page.waitForFunction((name) => document.querySelector("h1")?.textContent === name, NAMES[screen]);
  }
  await page.keyboard.press("7");
  await page.locator(".setting").first().waitFor();
  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => document.activeElement?.getAttribute("type")), "search");
  await page.keyboard.type("limits.up3");
  assert.equal(await page.locator("h1").innerText(), "Settings", "a digit in a field is a digit");
  await page.keyboard.press("Backspace");
  await page.waitForFunction(() => document.querySelectorAll(".setting").length === 1);
  await page.keyboard.press("Escape");
  assert.equal(await page.evaluate(() => document.activeElement?.id), "heading");
  await page.getByRole("navigation").getByRole("link", { name: "Devices" }).focus();
  await page.keyboard.press("ArrowDown");
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), "Transfers");
  await page.keyboard.press("End");
  assert.match(await page.evaluate(() => document.activeElement?.textContent), /^Health/);
  await page.keyboard.press("ArrowDown");
  assert.match(await page.evaluate(() => document.activeElement?.textContent), /^Devices/);
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.querySelector("h1")?.textContent === "Devices");
  await go(page, "settings");
  await page.getByLabel("Single keys: 1 to 8").uncheck();
  await page.locator("h1").focus();
  await page.keyboard.press("1");
  await page.waitForTimeout(100); // Nothing happens: there is no event to wait for.
  assert.equal(await page.locator("h1").innerText(), "Settings");
  await clean();
});

test("all words are there in German and Chinese, and the daemon's own are marked as English", async () => {
  for (const [language, words] of [["de", ["Geräte", "Übertragen|Transfers", "Wer dieses Gerät sieht"]], ["zh", ["设备", "传输", "谁能看到此设备"]]]) {
    const { page, clean } = await at("devices", { language });
    for (const word of words) assert.match(await page.locator("body").innerText(), new RegExp(word));
    await go(page, "settings");
    assert.doesNotMatch(await page.locator('[data-id="receive.max"]').innerText(), /largest/);
    await go(page, "health");
    assert.ok((await page.locator(".finding [lang=en]").count()) > 0);
    await clean();
  }
});

test("every call carries the session, and nothing changes that was not asked for", async () => {
  const { page, served, calls, clean } = await at("devices", { allowed: /ERR_|403/ });
  for (const screen of SCREENS) await go(page, screen);
  assert.deepEqual(calls(), []);
  assert.equal(await page.evaluate(() => location.href.includes("open=")), false, "the code left the address");
  await page.reload();
  await page.getByText("film.mkv").or(page.locator(".thing").first()).first().waitFor();
  served.refuse = true;
  await page.reload();
  await page.getByText("This page is not signed in").waitFor();
  await clean();
});

test("a transfer is paused, gone on with, and cancelled after a question", async () => {
  const { page, calls, clean } = await at("transfers");
  await button(card(page, FILM), "Pause").click();
  await said(page, "film.mkv is paused.");
  await button(page, "Undo").click();
  await said(page, "Undone.");
  await button(card(page, FILM), "Cancel").click();
  await page.getByText("Cancel this transfer?").waitFor();
  await button(page.locator("dialog"), "Cancel").first().click();
  await page.locator("dialog").waitFor({ state: "detached" });
  assert.deepEqual(calls(), [["POST", `transfers/${FILM}/pause`, undefined], ["POST", `transfers/${FILM}/resume`, undefined]]);
  await button(card(page, FILM), "Cancel").click();
  await page.locator("dialog .button.danger").click();
  await said(page, "film.mkv was cancelled.");
  assert.deepEqual(calls().at(-1), ["DELETE", `transfers/${FILM}`, undefined]);
  await clean();
});

test("a running fetch is drawn as a map, and said as a table", async () => {
  const { page, clean } = await at(`transfers/${FILM}`);
  const map = page.getByRole("img", { name: /is here, .* is on its way, .* is missing/ });
  await map.waitFor();
  const colours = await map.evaluate((canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    const found = new Set();
    for (let at = 0; at < data.length; at += 4) if (data[at + 3] === 255) found.add(`${data[at]},${data[at + 1]},${data[at + 2]}`);
    return [...found];
  });
  for (const [name, colour] of [["the laptop", "31,95,208"], ["the store", "179,82,0"]]) assert.ok(colours.includes(colour), `${name} in ${colours}`);
  const rows = await page.locator("tbody tr").allInnerTexts();
  assert.match(rows[0], /laptop same network.*53%.*15.3 MB.*2 MB\/s/s);
  assert.match(rows[1], /relay store from a store.*47%/s);
  await clean();
});

test("a fetch waits for the answer to its offer, which names what was shown", async () => {
  const answers = {
    "POST fetches": (body, answer) => {
      if (body.ticket === "hither1bad") return problem(answer, 400, "bad_ticket", "The ticket is incomplete or mistyped (its checksum does not fit).", "Copy the whole ticket: one word that begins with hither1.");
      return tell(answer, [{ event: "progress", phase: "connecting", bytes: 0, total: 0, files: 0, rate: 0, devices: 0 }, { ...DESK.offer, exists: { taken: 1, of: 1 } }], { keep: true });
    },
  };
  const { page, calls, clean } = await at("transfers", { answers, allowed: /400/ });
  await button(page, "Fetch with a ticket").click();
  await page.waitForFunction((folder) => [...document.querySelectorAll("dialog input")].some((one) => one.value === folder), DESK.receive.folder);
  await page.getByLabel("Ticket").fill("hither1bad");
  await button(page, "Look at the offer").click();
  await page.getByText("The ticket is incomplete or mistyped").waitFor();
  await page.getByText("Copy the whole ticket").waitFor();
  await page.getByLabel("Ticket").fill(" hither1good\n");
  await page.getByLabel("Into the folder").fill("photos");
  await page.getByText("A path begins with a slash.").waitFor();
  await page.getByLabel("Into the folder").fill("/home/ada/in");
  await button(page, "Look at the offer").click();
  await page.getByText("1 of 1 names are taken there.").waitFor();
  await page.getByLabel("Replace them").check();
  await button(page, "Accept and fetch").click();
  await said(page, "film.mkv is being fetched.");
  assert.deepEqual(calls().slice(1), [
    ["POST", "fetches", { ticket: "hither1good", folder: "/home/ada/in", accept: false, follow: false }],
    ["POST", `transfers/${FILM}/accept`, { head: DESK.offer.head, existing: "overwrite" }],
  ]);
  await clean();
});

test("a share is made by its path, its progress shown, its ticket given; its end is asked about", async () => {
  const done = { event: "done", share: "aa", ticket: "hither1qtest", name: "photos", version: 1, files: 2, bytes: 3, chunks: 1 };
  const answers = { "POST shares": (_, answer) => tell(answer, [{ event: "progress", phase: "reading", bytes: 1, total: 3, files: 1, rate: 1, devices: 0 }, done]) };
  const { page, calls, clean } = await at("shares", { answers });
  await button(page, "Share something").click();
  assert.equal(await button(page, "Share").getAttribute("aria-disabled"), "true");
  await page.getByLabel("Path 1").fill("/home/ada/photos");
  await button(page, "Another path").click();
  await page.getByLabel("Path 2").fill("/home/ada/notes.txt");
  await page.getByText("More choices").click();
  await page.getByLabel("Name of the share").fill("photos");
  await page.getByLabel("It ends").selectOption({ label: "after a day" });
  await page.getByLabel("Share with a group").selectOption({ label: "choir" });
  await page.locator("dialog").getByText("laptop").click();
  await button(page, "Share").click();
  await page.getByText("hither1qtest").waitFor();
  await page.getByRole("img", { name: "The same as a QR code" }).waitFor();
  await button(page, "Close").last().click();
  assert.deepEqual(calls(), [["POST", "shares", { paths: ["/home/ada/photos", "/home/ada/notes.txt"], watch: false, once: false, name: "photos", keep_seconds: 86_400, group: GROUP, to: [LAPTOP] }]]);
  const id = DESK.shares[0].share;
  await button(card(page, id), "Ticket and QR code").click();
  await page.getByText(DESK.ticket.ticket).waitFor();
  await page.keyboard.press("Escape");
  await button(card(page, id), "End").click();
  await page.getByText("End the share of holiday?").waitFor();
  await page.locator("dialog .button.danger").click();
  await said(page, "holiday is not shared any more");
  assert.deepEqual(calls().at(-1), ["DELETE", `shares/${id}`, undefined]);
  await clean();
});

test("messages are copied, marked, saved, accepted, declined and deleted", async () => {
  const asked = { id: 9, message: "aa", from: LAPTOP, name: "laptop", kind: "ticket", received: 1796053400, made: 1796053400, read: false, share: { ticket: "", name: "album", files: 3, bytes: 4_000_000 }, arrival: { state: "asked", reason: "It is large." } };
  const { page, daemon, calls, clean } = await at("inbox", { state: (state) => state.inbox.push(asked), answers: { "POST inbox/2/save": { paths: ["/home/ada/in/ticket.pdf"] } } });
  await button(card(page, 1), "Mark as read").click();
  await said(page, "Marked as read.");
  await button(card(page, 2), "Save").click();
  await page.getByLabel("Into the folder").fill("/home/ada/in");
  await button(page.locator("dialog"), "Save").click();
  await said(page, "Saved: /home/ada/in/ticket.pdf");
  await button(card(page, 9), "Accept").click();
  await said(page, "Accepted");
  await button(card(page, 9), "Decline").click();
  await button(page.locator("dialog"), "Decline").click();
  await said(page, "Declined.");
  await button(card(page, 1), "Delete").click();
  await button(page.locator("dialog"), "Delete").click();
  await said(page, "Deleted.");
  assert.deepEqual(calls(), [
    ["POST", "inbox/1/read", undefined],
    ["POST", "inbox/2/save", { folder: "/home/ada/in" }],
    ["POST", "inbox/9/decide", { decision: "accept" }],
    ["POST", "inbox/9/decide", { decision: "refuse" }],
    ["DELETE", "inbox/1", undefined],
  ]);
  daemon.push({ event: "message", ...asked, id: 10, kind: "text", text: "just now", share: undefined, arrival: undefined });
  await page.getByText("just now").waitFor();
  await clean();
});

test("requests are answered, allowed and refused; own ones are made and taken back", async () => {
  const ask = DESK.asks.received[0].ask;
  const answers = {
    [`POST asks/${ask}/answer`]: { words: "It was sent." },
    "POST asks/grants": { grant: 4, device: LAPTOP, name: "laptop", kind: "place", live: false, left_seconds: 3600 },
    "POST asks": (body) => ({ ask: "b1", device: body.to, name: "laptop", kind: body.kind, what: "a photo", digest: body.digest, state: "sent", made: 1 }),
  };
  const { page, calls, clean } = await at("asks", { answers });
  await button(page, "Answer…").click();
  await page.getByLabel("a text that I write").check();
  await page.getByRole("textbox", { name: "Text" }).fill("at the harbour");
  await button(page, "Send the answer").click();
  await said(page, "laptop is answered. It was sent.");
  await button(page, "Allow from now on…").click();
  await button(page, "Allow").click();
  await said(page, "Requests of laptop are answered by themselves.");
  await button(page, "Undo").click();
  await said(page, "Undone.");
  await button(page, "Refuse").click();
  await page.locator("dialog .button.danger").click();
  await said(page, "The request of laptop was refused.");
  await button(page, "Ask for something").click();
  await page.getByRole("combobox", { name: "What", exact: true }).selectOption({ label: "a photo" });
  await page.locator("dialog").getByText("The latest one").click();
  await page.getByLabel("Why, for the other user to read").fill("for the invitation");
  await button(page, "Ask").click();
  await said(page, "laptop is asked.");
  assert.deepEqual(calls(), [
    ["POST", `asks/${ask}/answer`, { text: "at the harbour" }],
    ["POST", "asks/grants", { device: LAPTOP, live: false, kind: "place", seconds: 3600 }],
    ["DELETE", "asks/grants/4", undefined],
    ["POST", `asks/${ask}/refuse`, undefined],
    ["POST", "asks", { to: LAPTOP, kind: "photo", digest: false, reason: "for the invitation", latest: true }],
  ]);
  await clean();
});

test("devices are sent to, renamed with a way back, removed after a question; a stranger is let in", async () => {
  const stranger = DESK.nearby.introductions[0].device;
  const answers = { "POST messages": { message: "m", to: LAPTOP, name: "laptop", state: "delivered" }, "POST devices/remove": { device: LAPTOP, name: "laptop", relays: [], told: 1, waiting: ["The relay does not answer."] } };
  const { page, calls, clean } = await at("devices", { answers });
  await button(card(page, LAPTOP), "Send").click();
  await page.getByRole("textbox", { name: "Text" }).fill("hello");
  await button(page.locator("dialog"), "Send").click();
  await said(page, "To laptop: delivered.");
  await button(card(page, LAPTOP), "Send").click();
  await page.getByLabel("Files of this device").check();
  await page.getByLabel("Path 1").fill("/home/ada/a.txt");
  await button(page.locator("dialog"), "Send").click();
  await page.locator("dialog").waitFor({ state: "detached" });
  await button(card(page, LAPTOP), "Rename").click();
  await page.getByLabel("Its name on this device").fill("kitchen");
  await button(page.locator("dialog"), "Rename").click();
  await said(page, "It is called kitchen here now.");
  await button(page, "Undo").click();
  await said(page, "Undone.");
  await button(page, "Let in").click();
  await page.locator("dialog").getByText(DESK.nearby.introductions[0].words).waitFor();
  await button(page.locator("dialog"), "Let in").click();
  await said(page, "phone may send from now on.");
  await button(card(page, LAPTOP), "Remove").click();
  await page.locator("dialog .button.danger").click();
  await said(page, "The relay does not answer.");
  assert.deepEqual(calls(), [
    ["POST", "messages", { to: LAPTOP, text: "hello" }],
    ["POST", "messages", { to: LAPTOP, files: ["/home/ada/a.txt"] }],
    ["POST", "devices/rename", { device: LAPTOP, name: "kitchen" }],
    ["POST", "devices/rename", { device: LAPTOP, name: "" }],
    ["POST", "nearby/answer", { device: stranger, accept: true }],
    ["POST", "devices/remove", { device: LAPTOP }],
  ]);
  await clean();
});

test("a device is added by a code, after both saw the same words", async () => {
  let go_on;
  const answers = {
    "POST codes": (_, answer) => {
      tell(answer, [{ event: "code", code: "able-baby-cabin", scan: "hitherpair1x", expires_seconds: 600, id: "c1" }, { event: "code_met", id: "c1", device: "d", name: "tablet", words: "echo fox golf", relays: [], devices: 2 }], { keep: true });
      go_on = () => {
        answer.write(`data: ${JSON.stringify({ event: "done", paired: "d", name: "tablet", words: "echo fox golf", devices: 2, relays: [] })}\n\n`);
        answer.end();
      };
    },
    "POST codes/c1/answer": (body) => {
      go_on();
      return body;
    },
  };
  const { page, calls, clean } = await at("devices", { answers });
  await button(page, "Add a device").click();
  await button(page, "Show a code").click();
  await page.getByText("echo fox golf").waitFor();
  await button(page, "They are the same: add it").click();
  await said(page, "tablet is one of your devices now.");
  assert.deepEqual(calls(), [["POST", "codes", {}], ["POST", "codes/c1/answer", { yes: true }]]);
  await clean();
});

test("groups: who asks is let in or refused with a reason, the rule is changed with a way back, a group is left", async () => {
  const { page, calls, clean } = await at(`groups/${GROUP}`);
  const phone = DESK.members.find((one) => one.asking).device;
  await button(card(page, phone), "Refuse").click();
  await page.getByLabel("Reason").fill("who are you?");
  await button(page.locator("dialog"), "Refuse").click();
  await said(page, "phone was refused.");
  await button(card(page, phone), "Let in").click();
  await button(page.locator("dialog"), "Let in").click();
  await said(page, "phone is in.");
  await page.getByLabel("Who may join").selectOption({ label: "everybody who asks" });
  await said(page, "Who may join has changed.");
  await button(page, "Undo").click();
  await said(page, "Undone.");
  await button(page, "Leave").click();
  await page.locator("dialog .button.danger").click();
  await said(page, "choir is not in your list any more.");
  assert.equal(await page.evaluate(() => location.hash), "#/groups");
  const at_group = `groups/${GROUP}`;
  assert.deepEqual(calls(), [
    ["POST", `${at_group}/devices`, { device: phone, what: "refuse", reason: "who are you?" }],
    ["POST", `${at_group}/devices`, { device: phone, what: "approve" }],
    ["POST", `${at_group}/policy`, { policy: "open" }],
    ["POST", `${at_group}/policy`, { policy: "approval" }],
    ["DELETE", at_group, undefined],
  ]);
  await clean();
});

test("settings are set, with what waits for a restart said, a way back, and refusals in words", async () => {
  const answers = {
    "POST config": (body, answer) => (body.key === "wait" ? problem(answer, 400, "bad_request", "\"wait\" must be a time.", "See every key with: hither config get") : { changed: [body.key], pending: body.key === "port" ? ["port"] : [] }),
    "POST config/reload": { changed: ["log"], pending: [], warnings: ["\"colour\" is no key."] },
  };
  const { page, calls, clean } = await at("settings", { answers, allowed: /400/ });
  const set = async (key, value) => {
    await page.getByLabel(`Value of ${key}`, { exact: true }).fill(value);
    await button(card(page, key), "Set").click();
  };
  await set("limits.upload", "5MB");
  await said(page, "limits.upload is set.");
  await button(page, "Undo").click();
  await said(page, "Undone.");
  await set("port", "4711");
  await said(page, "port is set, and counts when the daemon starts anew.");
  await page.getByLabel("Value of nearby.visible").selectOption("nobody");
  await said(page, "nearby.visible is set.");
  await set("wait", "long");
  await said(page, '"wait" must be a time.');
  assert.equal(await page.getByLabel("Value of wait").inputValue(), "long", "what was typed stays");
  await button(page, "Read the file again").click();
  await said(page, '"colour" is no key.');
  assert.deepEqual(calls().map(([, , body]) => body), [{ key: "limits.upload", value: "5MB" }, { key: "limits.upload", value: "" }, { key: "port", value: "4711" }, { key: "nearby.visible", value: "nobody" }, { key: "wait", value: "long" }, undefined]);
  await clean();
});

test("a page for browsers on the network is opened, shown, and ended", async () => {
  const { page, daemon, calls, clean } = await at("shares");
  await button(page, "Open a page").click();
  await page.getByLabel("Let browsers send files").uncheck();
  await button(page, "Open").click();
  await page.getByText("http://192.168.7.2:8080/p/").waitFor();
  await page.keyboard.press("Escape");
  await button(card(page, "0a1b2c3d"), "End").click();
  daemon.pages.length = 0;
  await page.locator("dialog .button.danger").click();
  await said(page, "The page has ended.");
  await page.getByText("No page is open.").waitFor();
  assert.deepEqual(calls(), [["POST", "pages", { keep_seconds: 3600, no_upload: true }], ["DELETE", "pages/0a1b2c3d", undefined]]);
  await clean();
});

test("events change what is shown, and lists are read again when the daemon says so", async () => {
  const { page, daemon, served, clean } = await at("transfers");
  daemon.push({ event: "transfer", ...DESK.transfers[0], phase: "done", bytes: DESK.transfers[0].total, ended: 1796053600 });
  await card(page, FILM).getByText("Done").waitFor();
  daemon.push({ event: "fetched", ...DESK.giving[0], device: "12D3KooWother", device_name: "tablet" });
  await page.getByText("tablet").waitFor();
  daemon.push({ event: "asks", received: [], sent: [] });
  await page.waitForFunction(() => !document.querySelector('nav a[href="#/asks"] .count'));
  await go(page, "shares");
  const read = () => served.calls.filter((call) => call.path === "/v1/shares").length;
  const before = read();
  daemon.state.shares.push({ ...DESK.shares[0], share: "bb", name: "another" });
  daemon.push({ event: "changed", what: "shares" });
  await page.getByText("another").waitFor();
  assert.ok(read() > before);
  await go(page, "groups");
  daemon.state.groups[0].name = "orchestra";
  daemon.push({ event: "changed", what: "something of a later version" });
  daemon.push({ event: "changed", what: "groups" });
  await page.getByText("orchestra").waitFor();
  await clean();
});

test("a daemon that ends is said, tried again, and everything is read anew when it is back", async () => {
  const { page, daemon, served, context } = await at("devices");
  await context.setOffline(true);
  daemon.cut();
  await page.getByText("The daemon does not run, or does not answer").waitFor();
  assert.deepEqual(await axe(page), []);
  await button(card(page, LAPTOP), "Rename").click();
  await button(page.locator("dialog"), "Rename").click();
  await said(page, "The daemon does not answer. Is it running?");
  await page.keyboard.press("Escape");
  daemon.state.devices.find((one) => one.name === "laptop").name = "back again";
  await context.setOffline(false);
  await button(page, "Try now").click();
  await page.getByText("back again").waitFor();
  await page.getByText("The daemon does not run").waitFor({ state: "detached" });
  await context.close();
  await served.close();
});

test("an unseen page gives its connections back, and reads everything anew when it is looked at", async () => {
  const { page, daemon, clean } = await at(`transfers/${FILM}`, { setup: (of) => of.clock.install() });
  await page.getByRole("img", { name: /is here/ }).waitFor();
  assert.deepEqual([daemon.streams.size, daemon.views.size], [1, 1]);
  const look = (state) =>
    page.evaluate((to) => {
      Object.defineProperty(document, "visibilityState", { value: to, configurable: true });
      document.dispatchEvent(new Event("visibilitychange"));
    }, state);
  const until_open = async (count) => {
    while (daemon.streams.size !== count || daemon.views.size !== count) await new Promise((go_on) => setTimeout(go_on, 20));
  };
  await look("hidden");
  await page.clock.fastForward(5000);
  assert.deepEqual([daemon.streams.size, daemon.views.size], [1, 1], "a glance elsewhere breaks nothing off");
  await page.clock.fastForward(6000);
  await until_open(0);
  daemon.state.view.transfer.name = "renamed.mkv";
  for (const one of [...daemon.state.transfers, ...daemon.state.events.filter((event) => event.event === "transfer")]) one.name = "renamed.mkv";
  await look("visible");
  await until_open(1);
  await page.getByRole("heading", { name: "renamed.mkv" }).waitFor();
  await clean();
});

test("a view that tells thousands of times a second is drawn a few times", async () => {
  const { page, daemon, clean } = await at(`transfers/${FILM}`);
  await page.getByRole("img", { name: /is here/ }).waitFor();
  await page.evaluate(() => {
    globalThis.drawn = 0;
    const width = Object.getOwnPropertyDescriptor(HTMLCanvasElement.prototype, "width");
    Object.defineProperty(HTMLCanvasElement.prototype, "width", { ...width, set(value) { globalThis.drawn += 1; width.set.call(this, value); } });
  });
  const [view] = daemon.views;
  for (let count = 1; count <= 3000; count += 1) {
    const told = structuredClone(daemon.state.view);
    told.sources[0].rate = count * 1000;
    if (!view.write(`data: ${JSON.stringify(told)}\n\n`)) await new Promise((go_on) => view.once("drain", go_on));
  }
  await page.locator("tbody tr", { hasText: "3 MB/s" }).first().waitFor();
  assert.ok((await page.evaluate(() => globalThis.drawn)) < 40);
  await clean();
});

test("what fails in a dialog is said in it, where it can be read and closed; it outlives the dialog", async () => {
  const answers = { "POST devices/rename": (_, answer) => problem(answer, 400, "bad_request", "No device can be called that.", "Choose another name.") };
  const { page, clean } = await at("devices", { answers, allowed: /400/, size: PHONE });
  await button(card(page, LAPTOP), "Rename").click();
  await button(page.locator("dialog"), "Rename").click();
  await said(page, "No device can be called that.");
  assert.equal(await page.locator("dialog .feedback").count(), 1);
  assert.deepEqual(await axe(page), []);
  await button(page.locator("dialog"), "Rename").click();
  await page.waitForFunction(() => document.querySelectorAll(".feedback").length === 2);
  await page.locator(".feedback").first().getByRole("button", { name: "Dismiss" }).click();
  await page.keyboard.press("Escape");
  await page.locator("dialog").waitFor({ state: "detached" });
  await said(page, "No device can be called that.");
  await page.getByRole("combobox", { name: "Language" }).selectOption("de");
  await page.locator(".feedback").getByRole("button", { name: "Ausblenden" }).click();
  await page.waitForFunction(() => document.querySelectorAll(".feedback").length === 0);
  await clean();
});

test("a list that cannot be read says why, and is read again on request", async () => {
  let broken = true;
  const { page, clean } = await at("groups", { allowed: /503/, answers: { "GET groups": (_, answer) => (broken ? problem(answer, 503, "no_relay", "The relay could not be reached.", "Is there a network?") : DESK.groups) } });
  await page.getByText("The relay could not be reached.").waitFor();
  await page.getByText("Is there a network?").waitFor();
  broken = false;
  await button(page, "Try again").click();
  await page.getByText("choir").waitFor();
  await clean();
});

test("hostile names of devices, files, groups and messages are text, and nothing else", async () => {
  const poison = (value, name) => {
    if (Array.isArray(value)) return value.map((one) => poison(one, name));
    if (typeof value !== "object" || value === null) return value;
    const fields = ["name", "device_name", "path", "text", "summary", "reason", "words", "what", "message", "hint", "check", "host", "trouble", "about", "home", "address", "calls_itself", "home"];
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, fields.includes(key) && typeof inner === "string" ? name : poison(inner, name)]));
  };
  for (const name of HOSTILE) {
    const { page, clean } = await at(undefined, {
      state: (state, daemon) => {
        for (const key of Object.keys(state)) if (!["events", "offer", "problem"].includes(key)) state[key] = poison(state[key], name);
        daemon.answers[`GET groups/${GROUP}/members`] = state.members;
        state.events = state.events.filter((one) => one.event !== "nearby").map((one) => poison(one, name));
      },
    });
    for (const screen of [...SCREENS, `transfers/${FILM}`, `groups/${GROUP}`]) {
      await go(page, screen);
      await page.locator(".section").first().waitFor();
      assert.deepEqual(await harm(page), { hit: undefined, made: [] }, `${name} on ${screen}`);
      assert.deepEqual((await layout(page)).filter((line) => line.startsWith("the page scrolls")), [], `${name} on ${screen}`);
    }
    await clean();
  }
});
