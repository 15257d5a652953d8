// The device page and the page of visitors in Chromium, with cores without a network: every screen in both schemes and
// two widths, pairing, sending, asking, answering, sharing from other apps, and names that hostile people choose.
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { axe, launch, layout, open, PHONE, settled, WIDE, wrong } from "./browser.mjs";
import { compiled } from "./compiled.mjs";
import { serve, test_build } from "./serve.mjs";
import { HOSTILE } from "./tools/names.mjs";

const PAIR = `hither-pair1${"q".repeat(60)}`;
const INBOX = `hither-inbox1${"q".repeat(60)}`;
const ASK = `hither-ask1${"q".repeat(90)}`;
const LAPTOP = "12D3KooWLaptop000000000000000laptop1";
const FILM = { name: "film.mkv", size: 734_003_200, modified_ms: 0 };
const SENDINGS = [
  { state: "uploading", done: 3e8, rate: 12e6 },
  { state: "needs_file", done: 2e8, files: [FILM] },
  { state: "failed", error: { code: "quota", message: "" } },
  { state: "failed", error: { code: "unreadable", message: "" }, spent: true },
  { state: "taken", done: FILM.size },
  { state: "declined" },
  { state: "paused", done: 4e8 },
];
const ANSWERS = {
  asked: [{ kind: "photo", reason: "For the claim" }, { kind: "location" }, { kind: "file", state: "refused" }],
  asking: [
    { state: "answered", answer: { kind: "things", things: [{ name: "IMG_2041.jpg", media_type: "image/png", bytes: 81_234 }], ticket: "hither1qq" } },
    { state: "answered", kind: "clipboard", answer: { kind: "text", text: "copied there" } },
    { state: "seen", kind: "video", which: "live", seconds: 10 },
    { state: "refused", answer: { kind: "refused", refusal: "declined", words: "not now" } },
  ],
};

let browser, server;
before(async () => {
  server = await serve({ dist: await test_build() });
  browser = await launch(["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]);
});
after(async () => {
  await browser?.close();
  await server?.close();
});

/** A page of the relay with a fake device. The system's own pickers cannot be answered by a test and are left out. */
async function show(path, fake = {}, { setup, ...options } = {}) {
  const opened = await open(browser, server.origin + path, {
    ...options,
    async setup(page, context) {
      await page.addInitScript((fake) => {
        globalThis.fake_device = fake;
        delete globalThis.showOpenFilePicker;
        delete globalThis.showSaveFilePicker;
      }, fake);
      await setup?.(page, context);
    },
  });
  opened.page.setDefaultTimeout(60_000);
  await opened.page.locator("h1").first().waitFor();
  return opened;
}
const acts = (page, kind) => page.evaluate((kind) => (globalThis.acts ?? []).filter(([what]) => what === kind), kind);
const button = (scope, name) => scope.getByRole("button", { name, exact: true });
async function done(opened) {
  assert.deepEqual(await wrong(opened), []);
  await opened.context.close();
}

for (const [scheme, size, language] of [["light", WIDE, "en"], ["dark", WIDE, "zh"], ["light", PHONE, "de"], ["dark", PHONE, "en"]]) {
  test(`w7_every_screen_of_a_device_and_a_visit, ${scheme}, ${size.width} px, ${language}`, { timeout: 600_000 }, async () => {
    const screens = [
      ["/", { state: "new" }],
      [`/p#${PAIR}`, { state: "new" }],
      ["/", { state: "removed" }],
      [`/p#${PAIR}`, {}],
      ["/", { asked: ANSWERS.asked, state: "offline" }],
      ["/", { stuck: "unread" }],
      ["/", { empty: true }],
      ["/", { fails: "elsewhere" }],
      [`/#send/${LAPTOP}`, { sendings: SENDINGS }],
      ["/#inbox", {}],
      ["/#requests", ANSWERS],
      ["/#sent", { sendings: SENDINGS }],
      ["/#page", { push_key: true }],
      ["/#shared", {}],
      ["/i", {}],
      [`/i#${INBOX}`, { sendings: SENDINGS }],
      [`/i#${INBOX}`, { visit: { ended: true } }],
      [`/i#${INBOX}`, { visit: { fails: "gone" } }],
      [`/i#${INBOX}`, { visit: { fails: "unreachable" } }],
      [`/a#${ASK}`, { visit: { offline: true } }],
      [`/a#${ASK}`, { visit: { origin: "https://xn--shp-hoa.example", ask: { kind: "file", multiple: true, digest: true } } }],
      [`/a#${ASK}`, { visit: { origin: "http://shop.example" } }],
      [`/a#${ASK}`, { visit: { ended: true } }],
    ];
    for (const [path, fake] of screens) {
      const opened = await show(path, fake, { scheme, size, language });
      const what = `${path} ${JSON.stringify(fake).slice(0, 80)}`;
      await settled(opened.page);
      assert.deepEqual(await axe(opened.page), [], what);
      assert.deepEqual(await layout(opened.page), [], what);
      await done(opened);
    }
  });
}

test("w7_axe_finds_nothing_in_dialogs", { timeout: 300_000 }, async () => {
  const opened = await show("/#requests", ANSWERS, { size: PHONE });
  const { page } = opened;
  const good = async (what) => {
    await page.locator("dialog[open]").waitFor();
    await settled(page);
    assert.deepEqual(await axe(page), [], what);
    assert.deepEqual(await layout(page), [], what);
  };
  await button(page, "Ask for something").click();
  await good("kinds");
  await button(page.getByRole("dialog"), "A film").click();
  await page.getByLabel("In which manner").selectOption("live");
  await good("a film");
  await page.keyboard.press("Escape");
  await button(page, "Take a picture").click();
  await button(page, "Take it").waitFor();
  await good("camera");
  await button(page, "Take it").click();
  await button(page, "Use it").waitFor();
  await good("picture");
  await page.keyboard.press("Escape");
  await button(page, "Refuse").first().click();
  await good("refuse");
  await page.keyboard.press("Escape");
  await done(opened);
});

test("w3_a_page_is_paired_by_a_link_with_three_words_and_a_yes", async () => {
  const opened = await show(`/p#${PAIR}`, { state: "new", pair: { yes_ms: 500 } });
  const { page } = opened;
  assert.deepEqual(await acts(page, "pair"), [], "opening a link does nothing by itself");
  await page.getByText("It may not list folders, invite devices, or remove them.").waitFor();
  await page.getByLabel("Name of this page").fill("Kitchen tablet");
  await button(page, "Pair").click();
  await page.getByText("falcon").waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Compare these words");
  await page.getByText("Paired with").last().waitFor();
  assert.deepEqual(await acts(page, "pair"), [["pair", PAIR, "Kitchen tablet"]]);
  await button(page, "To my devices").click();
  await page.getByRole("link", { name: "laptop" }).waitFor();
  assert.equal(await page.evaluate(() => location.href.includes("hither-pair1")), false, "the code leaves the address");
  await done(opened);
});

test("w3_pairing_by_pasting_refusals_and_stopping", async () => {
  for (const [code, words] of [["declined", "said no"], ["spent", "used already"], ["ticket", "not whole"], ["odd", "did not work"]]) {
    const opened = await show("/", { state: "new", pair: { code, yes_ms: 30 } });
    const { page } = opened;
    await page.getByLabel("Link or code").fill(`Here: https://relay.example/p#${PAIR.slice(0, 40)}\n${PAIR.slice(40)}`);
    await button(page, "Pair").click();
    await page.getByRole("alert").filter({ hasText: words }).waitFor();
    assert.equal((await acts(page, "pair"))[0][1], PAIR);
    await done(opened);
  }
  const opened = await show("/", { state: "new", pair: { yes_ms: 60_000 } });
  const { page } = opened;
  await button(page, "Pair").click();
  await page.getByText("The code is missing.").waitFor();
  await page.getByLabel("Link or code").fill("nonsense");
  await button(page, "Pair").click();
  await page.getByText("This is no code for pairing").waitFor();
  await page.getByLabel("Link or code").fill(PAIR);
  await button(page, "Pair").click();
  await button(page, "They differ: stop").click();
  await page.getByLabel("Name of this page").waitFor();
  assert.equal(await page.getByRole("alert").count(), 0);
  await done(opened);
});

test("w1_links_of_other_kinds_lead_to_their_pages", async () => {
  const opened = await show("/#hither1qqqq", {});
  await opened.page.waitForURL(/\/l#hither1qqqq$/);
  await opened.context.close();
  const pasted = await show("/", { state: "new" });
  await pasted.page.getByLabel("Link or code").fill(`https://other.example/i#${INBOX}`);
  await button(pasted.page, "Pair").click();
  await pasted.page.waitForURL(`${server.origin}/i#${INBOX}`);
  await pasted.context.close();
});

test("w2_text_files_and_folders_go_to_a_device_and_go_on_after_a_reload", async () => {
  const opened = await show("/", { sendings: [{ state: "needs_file", done: 2e8, files: [FILM] }], rate: 4e5 });
  const { page } = opened;
  await page.getByRole("link", { name: "laptop" }).click();
  await page.getByLabel("Text").fill("Hello\nthere");
  await button(page, "Send the text").click();
  await page.getByText("The text is on its way.").waitFor();
  await page.locator(".drop input[type=file]").first().setInputFiles([{ name: "a.txt", mimeType: "text/plain", buffer: Buffer.alloc(400_000) }, { name: "b.txt", mimeType: "text/plain", buffer: Buffer.from("b") }]);
  await button(page, "Pause: a.txt and 1 more").click();
  await page.locator('.sending[data-state="paused"]').waitFor();
  await button(page, "Continue: a.txt and 1 more").click();
  await page.locator('.sending[data-state="sent"]', { hasText: "a.txt" }).waitFor();
  // Dropped.
  const data = await page.evaluateHandle(() => {
    const transfer = new DataTransfer();
    transfer.items.add(new File(["dropped"], "dropped.txt"));
    return transfer;
  });
  await page.locator(".drop").dispatchEvent("drop", { dataTransfer: data });
  await page.getByText("dropped.txt").waitFor();
  // The browser did not give the file back: another one is refused, the same goes on.
  const again = page.locator('.sending[data-state="needs_file"]');
  await again.locator("input").setInputFiles({ name: "other.mkv", mimeType: "", buffer: Buffer.from("x") });
  await again.getByText("This is not the same file").waitFor();
  await again.locator("input").setInputFiles({ name: "film.mkv", mimeType: "", buffer: Buffer.from("x") });
  await again.waitFor({ state: "detached" });
  assert.deepEqual((await acts(page, "send")).map(([, to, kind, what]) => [to, kind, what]), [[LAPTOP, "text", "Hello\nthere"], [LAPTOP, "files", ["a.txt", "b.txt"]], [LAPTOP, "files", ["dropped.txt"]]]);
  await opened.context.close();
});

test("w4_a_page_is_asked_and_answers_with_a_picture_that_it_takes", async () => {
  const opened = await show("/", { asked: [{ kind: "photo", reason: "For the claim" }, { kind: "qr" }, { kind: "audio" }] });
  const { page } = opened;
  await page.getByText("3 devices ask for something").waitFor();
  await button(page, "Look").click();
  assert.equal((await acts(page, "seen")).length, 3);
  const card = (at) => page.locator(".asked").nth(at);
  await button(card(0), "Take a picture").click();
  await button(page, "Take it").click();
  await button(page, "Use it").click();
  await card(0).getByText(/photo .*\.jpg/).waitFor();
  await button(card(0), "Give it").click();
  await page.waitForFunction(() => document.querySelectorAll(".asked").length === 2);
  await card(0).getByLabel("What the code says").fill("https://example.org");
  await button(card(0), "Send the answer").click();
  await page.waitForFunction(() => document.querySelectorAll(".asked").length === 1);
  await button(card(0), "Record sound").click();
  await button(page, "Begin").click();
  const began = await page.getByRole("timer").innerText();
  await page.waitForFunction((began) => document.querySelector("[role=timer]").innerText !== began, began);
  await button(page, "End").click();
  await button(page, "Use it").click();
  await button(card(0), "Refuse").click();
  await button(page.getByRole("dialog"), "Refuse").click();
  await page.locator(".asked").waitFor({ state: "detached" });
  assert.match((await acts(page, "send"))[0][3][0], /^photo .*\.jpg$/);
  assert.deepEqual(await acts(page, "answer_text"), [["answer_text", "asked-1", "https://example.org"]]);
  assert.deepEqual(await acts(page, "refuse"), [["refuse", "asked-2"]]);
  await done(opened);
});

test("w4_a_request_that_has_ended_is_removed_and_the_focus_goes_on", async () => {
  const opened = await show("/#requests", { asked: [{ kind: "file", state: "refused" }, { kind: "photo", state: "answered" }, { kind: "audio", state: "expired" }] });
  const { page } = opened;
  const clear = (what) => button(page, `Remove from the list: ${what}, laptop`);
  const focused = () => page.evaluate(() => document.activeElement.getAttribute("aria-label") ?? document.activeElement.id);
  await clear("A photo").focus();
  await page.keyboard.press("Enter");
  await clear("A photo").waitFor({ state: "detached" });
  assert.equal(await focused(), "Remove from the list: A recording, laptop");
  await page.keyboard.press("Enter");
  await clear("A recording").waitFor({ state: "detached" });
  assert.equal(await focused(), "Remove from the list: A file, laptop");
  await page.keyboard.press("Enter");
  await clear("A file").waitFor({ state: "detached" });
  assert.equal(await focused(), "main");
  assert.deepEqual((await acts(page, "delete")).map(([, id]) => id), ["asked-1", "asked-2", "asked-0"]);
  await done(opened);
});

test("w2_what_cannot_be_kept_is_said_with_what_helps", async () => {
  for (const [stuck, words] of [["unread", "2,000 things in the inbox are unread"], ["room", "This browser has no room for it"]]) {
    const opened = await show("/", { stuck });
    const { page } = opened;
    await page.getByRole("status").filter({ hasText: words }).waitFor();
    await button(page, "To the inbox").click();
    await page.getByRole("heading", { name: "Inbox" }).waitFor();
    assert.equal(await button(page, "To the inbox").count(), 0);
    await page.evaluate(() => {
      globalThis.page.stuck = undefined;
      globalThis.page.tell();
    });
    await page.getByText(words).waitFor({ state: "detached" });
    await done(opened);
  }
});

test("w2_a_tab_that_nobody_looks_at_reads_nothing_and_has_seen_nothing", async () => {
  const opened = await show("/#requests", { asked: [{ kind: "photo" }] }, { setup: (page) => page.addInitScript(() => {
    globalThis.seen = "hidden";
    Object.defineProperty(document, "visibilityState", { get: () => globalThis.seen });
    globalThis.look = () => {
      globalThis.seen = "visible";
      document.dispatchEvent(new Event("visibilitychange"));
    };
  }) });
  const { page } = opened;
  await page.locator(".asked").waitFor();
  assert.deepEqual(await acts(page, "seen"), []);
  await page.evaluate(() => globalThis.look());
  assert.deepEqual(await acts(page, "seen"), [["seen", "asked-0"]]);
  await page.evaluate(() => {
    globalThis.seen = "hidden";
    location.hash = "#inbox";
  });
  await page.locator(".badge", { hasText: "New" }).waitFor();
  await page.evaluate(() => globalThis.look());
  await page.locator(".badge", { hasText: "New" }).waitFor({ state: "detached" });
  await done(opened);
});

test("w4_a_letter_that_waits_is_not_paused_and_the_page_may_be_left", async () => {
  const opened = await show("/#sent", { sendings: [{ state: "waiting", letter: true }] });
  const { page } = opened;
  await button(page, "Do not send: film.mkv").waitFor();
  assert.equal(await button(page, "Pause: film.mkv").count(), 0);
  assert.equal(await page.evaluate(() => dispatchEvent(new Event("beforeunload", { cancelable: true }))), true);
  await done(opened);
});

test("w4_a_new_request_is_made_by_keyboard", async () => {
  const opened = await show("/#requests", {});
  const { page } = opened;
  const focused = () => page.evaluate(() => document.activeElement.closest("label")?.querySelector(".label")?.textContent ?? document.activeElement.textContent);
  await button(page, "Ask for something").focus();
  await page.keyboard.press("Enter");
  await button(page.getByRole("dialog"), "A file").focus();
  await page.keyboard.press("Enter");
  await page.getByLabel("Which device").waitFor();
  assert.equal(await focused(), "Which device");
  await button(page.getByRole("dialog"), "Something else").focus();
  await page.keyboard.press("Enter");
  await button(page.getByRole("dialog"), "A photo").waitFor();
  assert.equal(await focused(), "A photo");
  await page.keyboard.press("Escape");
  assert.equal(await focused(), "Ask for something");
  await done(opened);
});

test("w4_a_file_that_could_not_be_read_is_chosen_anew_and_nothing_else_is_offered", async () => {
  const lost = { state: "failed", error: { code: "lost", message: "" }, spent: true };
  const opened = await show("/#sent", { sendings: [{ state: "failed", error: { code: "unreadable", message: "" }, spent: true }, { ...lost, kind: "text", text: "hello" }] });
  const { page } = opened;
  const [file, text] = [page.locator(".sending").nth(0), page.locator(".sending").nth(1)];
  await text.getByText("It was not sent. Send it anew.").waitFor();
  assert.equal(await text.getByRole("button").count(), 1, "a text can only be removed");
  await file.getByText("cannot read the file any more").waitFor();
  assert.equal(await file.getByRole("button", { name: /^Try again/ }).count(), 0);
  await button(file, "Choose the file again").waitFor();
  await file.locator("input[type=file]").setInputFiles({ name: "film.mkv", mimeType: "", buffer: Buffer.from("x") });
  await file.locator(":scope[data-state=failed]").waitFor({ state: "detached" });
  assert.deepEqual((await acts(page, "resume"))[0].slice(2), [["film.mkv"]]);
  await opened.context.close();
});

test("w4_where_the_camera_is_refused_the_system_s_own_is_offered", async () => {
  const opened = await show("/#requests", { asked: [{ kind: "photo" }] }, { setup: (page) => page.addInitScript(() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("no", "NotAllowedError")); }) });
  const { page } = opened;
  await button(page, "Take a picture").click();
  await page.getByText("No camera here").waitFor();
  const input = page.getByRole("dialog").locator("input[type=file]");
  assert.deepEqual(await input.evaluate((one) => [one.accept, one.getAttribute("capture")]), ["image/*", "environment"]);
  await input.setInputFiles({ name: "IMG_1.jpg", mimeType: "image/jpeg", buffer: Buffer.from("x") });
  await button(page, "Give it").click();
  assert.deepEqual((await acts(page, "send"))[0][3], ["IMG_1.jpg"]);
  await done(opened);
});

test("w4_a_page_asks_and_shows_the_answer", async () => {
  const opened = await show("/", ANSWERS);
  const { page } = opened;
  await button(page, "Ask laptop for something").click();
  await button(page.getByRole("dialog"), "A film").click();
  await page.getByLabel("In which manner").selectOption("live");
  await page.getByLabel("Seconds").fill("0");
  await page.getByText("1 to 600").waitFor();
  await page.getByLabel("Seconds").fill("15");
  await page.getByLabel("Why, for the other one to read").fill("for the album");
  await button(page.getByRole("dialog"), "Ask").click();
  await page.getByText("It waits at the relay until the device is there").waitFor();
  assert.deepEqual(await acts(page, "ask"), [["ask", LAPTOP, { kind: "video", which: "live", digest: false, valid_s: 3600, seconds: 15, reason: "for the album" }]]);
  await page.getByRole("img", { name: "IMG_2041.jpg" }).waitFor();
  await page.waitForFunction(() => document.querySelector(".thing img").naturalWidth > 0);
  await page.getByText("copied there").waitFor();
  await button(page, "Take back").first().click();
  await button(page.getByRole("dialog"), "Take back").click();
  assert.equal((await acts(page, "cancel")).length, 1);
  await button(page, "Open what was given").click();
  await page.locator(".list .row").first().waitFor();
  await done(opened);
});

test("w2_the_inbox_is_read_copied_saved_opened_and_deleted", async () => {
  const opened = await show("/#inbox", {}, { setup: (_, context) => context.grantPermissions(["clipboard-read", "clipboard-write"]) });
  const { page } = opened;
  await page.getByText("The key is under the mat.").waitFor();
  await page.locator(".badge", { hasText: "New" }).waitFor({ state: "detached" });
  await button(page, "Copy").click();
  await button(page, "Copied").waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), "The key is under the mat.\nhttps://example.org/way?to=house");
  const [download] = await Promise.all([page.waitForEvent("download"), button(page, "Save Ticket.png").click()]);
  assert.equal(download.suggestedFilename(), "Ticket.png");
  assert.equal((await readFile(await download.path())).toString(), "in-2 1");
  await button(page, "Open").click();
  await page.getByRole("heading", { name: "Bergtour 2026" }).waitFor();
  await page.getByRole("button", { name: /^Gipfel/ }).click();
  await page.locator(".preview img").waitFor();
  await page.keyboard.press("Escape");
  await page.goBack();
  await button(page, "Delete").last().click();
  await button(page.getByRole("dialog"), "Delete").click();
  assert.deepEqual(await acts(page, "delete"), [["delete", "in-4"]]);
  await done(opened);
});

test("w8_names_of_devices_files_people_and_sites_are_text", async () => {
  for (const [path, more] of [["/", {}], [`/#send/${LAPTOP}`, { sendings: SENDINGS }], ["/#inbox", {}], ["/#requests", { asked: [{ reason: HOSTILE[0], name: HOSTILE[2], which: "named" }], asking: [{ state: "refused", answer: { kind: "refused", refusal: "declined", words: HOSTILE[1] } }, { state: "answered", answer: { kind: "text", text: HOSTILE[4] } }] }], ["/#sent", { sendings: SENDINGS }], [`/i#${INBOX}`, { sendings: SENDINGS }], [`/a#${ASK}`, { visit: { ask: { reason: HOSTILE.join("\n") }, origin: HOSTILE[0] } }]]) {
    const opened = await show(path, { hostile: HOSTILE, ...more }, { size: PHONE });
    const { page } = opened;
    await settled(page);
    const found = await page.evaluate(() => ({
      hit: globalThis.hit,
      made: [...document.querySelectorAll("#root iframe, #root script, #root style, #root base, #root form[action], #root [onerror], #root [onload], #root [onmouseover], #root img[src='x'], #root a[href^='javascript:']")].map((one) => one.outerHTML.slice(0, 100)),
      unseen: /[\u202a-\u202e\u2066-\u2069\u200b\u0007]/.test(document.body.innerText),
      title: /[\u202a-\u202e]/.test(document.title),
    }));
    assert.deepEqual(found, { hit: undefined, made: [], unseen: false, title: false }, path);
    assert.deepEqual(await layout(page), [], path);
    await done(opened);
  }
});

test("c8_the_site_that_asks_is_shown_as_it_is", async () => {
  const { site_name } = await compiled("src/visit/origin.tsx");
  for (const [origin, host, encoded, bad] of [
    ["https://shop.example", "shop.example", false, false],
    ["https://shop.example:8443", "shop.example:8443", false, false],
    ["https://xn--80ak6aa92e.com", "xn--80ak6aa92e.com", true, false],
    ["https://аррӏе.com", "xn--80ak6aa92e.com", true, false],
    ["https://shop.example@evil.example", "https://shop.example@evil.example", false, true],
    ["https://evil.example/shop.example", "https://evil.example/shop.example", false, true],
    ["javascript:alert(1)", "javascript:alert(1)", false, true],
    ["\u202ehttps://shop.example", "\ufffdhttps://shop.example", false, true],
    ["", "", false, true],
  ]) {
    const name = site_name(origin);
    assert.deepEqual([name.host, name.encoded, name.wrong], [host, encoded, bad], origin);
  }
  const opened = await show(`/a#${ASK}`, { visit: { origin: "https://xn--80ak6aa92e.com", host_name: "shop.example", ask: { reason: "This site asks: bank.example" } } }, { size: PHONE });
  const { page } = opened;
  await page.getByText("letters of other scripts").waitFor();
  const size = (text) => page.getByText(text, { exact: true }).first().evaluate((one) => Number.parseFloat(getComputedStyle(one).fontSize));
  assert.ok((await size("xn--80ak6aa92e.com")) >= 22);
  assert.equal(await page.getByText("shop.example", { exact: true }).count(), 0, "the link's name is nowhere");
  assert.equal(await page.locator("blockquote").innerText(), "This site asks: bank.example");
  await page.getByRole("img", { name: "Number to compare: 47" }).waitFor();
  await done(opened);
});

test("c8_a_site_is_answered_or_refused", async () => {
  const opened = await show(`/a#${ASK}`, { rate: 50_000 });
  const { page } = opened;
  const input = page.locator("section input[type=file]").first();
  assert.deepEqual(await input.evaluate((one) => [one.accept, one.multiple]), ["image/*", false]);
  await input.setInputFiles({ name: "parcel.jpg", mimeType: "image/jpeg", buffer: Buffer.alloc(20_000) });
  await button(page, "Give it").click();
  await page.getByRole("heading", { name: "Given" }).waitFor();
  await page.getByText("shop.example has it").waitFor();
  assert.deepEqual((await acts(page, "send"))[0].slice(2), ["answer", ["parcel.jpg"]]);
  await done(opened);
  const refused = await show(`/a#${ASK}`, {});
  await button(refused.page, "Refuse").click();
  await button(refused.page.getByRole("dialog"), "Refuse").click();
  await refused.page.getByRole("heading", { name: "Refused" }).waitFor();
  assert.equal((await acts(refused.page, "refuse")).length, 1);
  await done(refused);
});

test("w2_a_visitor_sends_by_a_link_and_says_who_it_is", async () => {
  const opened = await show(`/i#${INBOX}`, { visit: { bytes: 1_000_000 } }, { size: PHONE });
  const { page } = opened;
  await page.getByRole("heading", { name: "Send to Jana Novotná" }).waitFor();
  await page.getByText(/This page is code from/).waitFor();
  await page.getByLabel("Your name, if you like").fill("Petr");
  await page.locator(".drop input[type=file]").first().setInputFiles({ name: "large.bin", mimeType: "", buffer: Buffer.alloc(1_000_001) });
  await page.getByText("That is more than").waitFor();
  await page.locator(".drop input[type=file]").first().setInputFiles({ name: "small.bin", mimeType: "", buffer: Buffer.alloc(1_000) });
  await page.locator('.sending[data-state="sent"]').waitFor();
  for (const [state, words] of [["taken", "Taken"], ["declined", "Declined there"]]) {
    await page.evaluate((state) => globalThis.visit.set(globalThis.visit.list[0].id, { state }), state);
    await page.locator(".sending").getByText(words).waitFor();
  }
  await page.evaluate(() => {
    globalThis.visit.state = "ended";
    globalThis.visit.tell();
  });
  await page.getByText("This link has ended").waitFor();
  assert.equal(await page.locator(".drop").count(), 0);
  assert.deepEqual((await acts(page, "name")).at(-1), ["name", "Petr"]);
  await done(opened);
});

test("w7_what_another_app_shares_is_sent", async () => {
  const opened = await show("/", {});
  const { page } = opened;
  await page.evaluate(async () => {
    // The worker takes this tab over; an installed page has it from the start.
    while (!navigator.serviceWorker.controller) await new Promise((resolve) => setTimeout(resolve, 20));
    const form = new FormData();
    form.append("title", "A page");
    form.append("text", "A page");
    form.append("url", "https://example.org/x");
    form.append("files", new File(["picture"], "IMG_7.jpg", { type: "image/jpeg" }));
    await fetch("/~share", { method: "POST", body: form, redirect: "manual" });
  });
  await page.goto(`${server.origin}/#shared`);
  await page.reload();
  await page.getByText("IMG_7.jpg").waitFor();
  await page.getByText("https://example.org/x").waitFor();
  assert.ok(!server.seen.some((line) => line.includes("~share")), "the relay sees nothing of it");
  await page.getByRole("button", { name: /laptop/ }).click();
  await page.getByRole("heading", { name: "Send to laptop" }).waitFor();
  assert.deepEqual((await acts(page, "send")).map(([, to, kind, what]) => [to, kind, what]), [[LAPTOP, "files", ["IMG_7.jpg"]], [LAPTOP, "text", "A page\nhttps://example.org/x"]]);
  await page.goto(`${server.origin}/#shared`);
  await page.reload();
  await page.getByText("There is nothing to send").waitFor();
  await done(opened);
});

test("w7_the_page_is_installable_and_opens_without_a_network", async () => {
  const manifest = JSON.parse(await readFile(new URL("../static/manifest.webmanifest", import.meta.url), "utf8"));
  assert.equal(manifest.share_target.method, "POST");
  const opened = await show("/", {}, { allowed: /ERR_|Failed to fetch/ });
  const { page, context } = opened;
  await page.waitForFunction(async () => {
    const name = (await caches.keys()).find((one) => one.startsWith("hither-shell-"));
    return name !== undefined && (await (await caches.open(name)).match("/")) !== undefined;
  });
  await page.getByRole("link", { name: "laptop" }).waitFor();
  const session = await context.newCDPSession(page);
  const { installabilityErrors } = await session.send("Page.getInstallabilityErrors");
  assert.deepEqual(installabilityErrors.filter(({ errorId }) => errorId !== "in-incognito"), []);
  await context.setOffline(true);
  await page.reload();
  await page.getByRole("link", { name: "laptop" }).waitFor();
  await context.close();
});

test("w7_nobody_is_asked_for_notifications_before_a_click", async () => {
  const setup = (page) => page.addInitScript(() => {
    globalThis.asked = 0;
    let permission = "default";
    Object.defineProperty(Notification, "permission", { get: () => permission });
    Notification.requestPermission = async () => {
      globalThis.asked += 1;
      return (permission = "granted");
    };
    let subscription;
    PushManager.prototype.getSubscription = async () => subscription ?? null;
    PushManager.prototype.subscribe = async ({ applicationServerKey, userVisibleOnly }) => {
      globalThis.subscribed = [applicationServerKey.length, userVisibleOnly];
      return (subscription = { toJSON: () => ({ endpoint: "https://push.example/1", keys: {} }), unsubscribe: async () => ((subscription = undefined), true) });
    };
  });
  const opened = await show("/#page", { push_key: true }, { setup });
  const { page } = opened;
  await button(page, "Wake this browser").waitFor();
  assert.equal(await page.evaluate(() => globalThis.asked), 0);
  await button(page, "Wake this browser").click();
  await page.getByText("This browser is woken when something waits.").waitFor();
  assert.deepEqual(await page.evaluate(() => [globalThis.asked, globalThis.subscribed]), [1, [65, true]]);
  assert.deepEqual(await acts(page, "set_push"), [["set_push", "subscription"]]);
  await button(page, "Do not wake any more").click();
  await button(page, "Wake this browser").waitFor();
  assert.equal((await acts(page, "set_push")).length, 2);
  await done(opened);
  // A relay without web push offers nothing.
  const none = await show("/#page", { push_key: false }, { setup });
  await none.page.getByText("Not possible here").waitFor();
  await done(none);
});

test("w3_this_page_is_renamed_and_forgotten", async () => {
  const opened = await show("/#page", {});
  const { page } = opened;
  await page.evaluate(async () => {
    localStorage.setItem("hither.language", "en");
    await new Promise((done) => (indexedDB.open("hither-visits", 1).onsuccess = ({ target }) => (target.result.close(), done())));
  });
  await page.getByLabel("Name of this page").fill("Kitchen");
  await button(page, "Change the name").click();
  assert.deepEqual(await acts(page, "rename"), [["rename", "Kitchen"]]);
  await button(page, "Forget this page").click();
  await page.evaluate(() => (globalThis.before = true));
  await button(page.getByRole("dialog"), "Forget this page").click();
  await page.waitForFunction(() => globalThis.before === undefined);
  assert.equal(new URL(page.url()).pathname, "/");
  assert.deepEqual(await page.evaluate(async () => [(await indexedDB.databases()).filter(({ name }) => name === "hither-visits"), localStorage.length]), [[], 0], "visits and the language are gone too");
  await done(opened);
});

test("w1_a_link_s_first_view_loads_nothing_of_devices", async () => {
  const seen = server.seen.length;
  const opened = await open(browser, `${server.origin}/l#hither1${"q".repeat(60)}`);
  await opened.page.locator(".list .row").first().waitFor();
  // A worker is ready when it has all that it keeps; its answer comes after what the page told it before.
  await opened.page.evaluate(async () => {
    const { active } = await navigator.serviceWorker.ready;
    const { port1, port2 } = new MessageChannel();
    const answered = new Promise((done) => (port1.onmessage = done));
    active.postMessage({ kind: "ping" }, [port2]);
    await answered;
  });
  assert.ok(server.seen.slice(seen).some((line) => line.includes("/assets/words-link-")), "the worker keeps the link's files");
  assert.deepEqual(server.seen.slice(seen).filter((line) => /device|visit/.test(line)), []);
  await opened.context.close();
});
