// `<hither-ask>` on the example site, with a core without network: as a file input, by keyboard, in forms, hostile names.
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { serve_example } from "../ask/example/server.mjs";
import { compiled } from "./compiled.mjs";
import { axe, launch, layout, open, PHONE, WIDE, wrong } from "./browser.mjs";
import { test_build } from "./serve.mjs";

const RELAY = "https://relay.example";
let browser, site;

before(async () => {
  site = await serve_example({ relay: RELAY, ask: join(await test_build(), "ask") });
  browser = await launch();
});
after(async () => {
  await browser?.close();
  await site?.close();
});

/** The example, with shadow roots that a test can see into: the element's own are closed. */
async function show(asker = {}, { language = "en", closed = false, ...options } = {}) {
  const opened = await open(browser, site.origin, {
    language,
    ...options,
    async setup(page) {
      await page.addInitScript((asker) => {
        globalThis.fake_device = { asker };
        globalThis.events = [];
        for (const kind of ["input", "change", "cancel"]) document.addEventListener(kind, (event) => globalThis.events.push(`${kind} ${event.target.id}`), true);
        globalThis.open = (...what) => void globalThis.events.push(["open", ...what]);
      }, asker);
      if (!closed) {
        await page.addInitScript(() => {
          const attach = Element.prototype.attachShadow;
          Element.prototype.attachShadow = function (how) {
            return attach.call(this, { ...how, mode: "open" });
          };
        });
      }
    },
  });
  await opened.page.waitForFunction(() => customElements.get("hither-ask"));
  return opened;
}
const field = (page, id) => page.locator(`#${id}`);
const ask = (page, id) => field(page, id).locator("button").first();
const dialog = (page) => page.locator("dialog[open]");
const given = (page, id) => page.waitForFunction((id) => document.getElementById(id).value !== "", id);
const events = (page) => page.evaluate(() => globalThis.events);
const sha = (text) => createHash("sha256").update(text).digest("hex");
async function sent(page) {
  await page.getByRole("button", { name: "Send the claim" }).click();
  await page.waitForURL(/echo/);
  return JSON.parse(await page.locator("pre, body").first().innerText());
}

test("c8_a_form_gets_the_file_as_from_a_file_input", async () => {
  const opened = await show({ opened_ms: 1_500, answer_ms: 3_000, things: [{ name: "parcel.jpg", media_type: "image/jpeg", content: "picture" }] });
  const { page } = opened;
  // Required and empty: the form is not sent, and the element says why.
  await page.getByRole("button", { name: "Send the claim" }).click();
  assert.equal(new URL(page.url()).pathname, "/");
  assert.equal(await field(page, "photo").evaluate((one) => one.validity.valueMissing && one.validationMessage !== ""), true);
  await ask(page, "photo").click();
  await dialog(page).getByRole("img", { name: "QR code for your other device" }).waitFor();
  await dialog(page).getByText("47", { exact: true }).waitFor();
  await given(page, "photo");
  assert.equal(await dialog(page).count(), 0);
  assert.deepEqual(await events(page), ["input photo", "change photo"]);
  assert.deepEqual(await field(page, "photo").evaluate((one) => [one.files.length, one.files[0].name, one.files[0].type, one.value, one.validity.valid, one.form.id]), [1, "parcel.jpg", "image/jpeg", "parcel.jpg", true, "claim"]);
  const asked = await page.evaluate(() => globalThis.acts.find(([what]) => what === "ask"));
  assert.equal(asked[1].kind, "photo");
  assert.equal(asked[2], RELAY);
  assert.deepEqual(await sent(page), [{ name: "photo", file: "parcel.jpg", type: "image/jpeg", bytes: 7, sha256: sha("picture") }]);
  assert.deepEqual(await wrong(opened), []);
  await opened.context.close();
});

test("c8_several_files_and_a_digest_reach_the_form", async () => {
  const opened = await show({ things: [{ name: "a.txt", media_type: "text/plain", content: "one" }, { name: "large.bin", media_type: "application/x-thing", bytes: 300_000 }] });
  const { page } = opened;
  await ask(page, "more").click();
  await given(page, "more");
  await ask(page, "photo").click();
  await given(page, "photo");
  await ask(page, "film").click();
  await given(page, "film");
  const fields = await sent(page);
  const more = fields.filter(({ name }) => name === "more");
  assert.deepEqual(more.map(({ file, bytes }) => [file, bytes]), [["a.txt", 3], ["large.bin", 300_000]]);
  assert.equal(more[1].sha256, sha(Buffer.alloc(300_000, 66)));
  const film = JSON.parse(fields.find(({ name }) => name === "film").value);
  assert.deepEqual([film.name, film.size, film.type, film.thumbnail], ["a.txt", 3, "text/plain", `data:image/jpeg;base64,${btoa("small")}`]);
  assert.ok(!fields.some(({ name }) => name === "later"), "what is disabled is not sent");
  await opened.context.close();
});

test("c8_labels_keyboard_reset_and_disabling_work_as_for_an_input", async () => {
  const opened = await show({ opened_ms: 600_000, answer_ms: 600_000 });
  const { page } = opened;
  // A label's click opens; Escape closes, says "cancel" and gives the focus back.
  await page.getByText("A photo of the damage").click();
  await dialog(page).waitFor();
  await page.keyboard.press("Escape");
  await dialog(page).waitFor({ state: "detached" });
  assert.deepEqual(await events(page), ["cancel photo"]);
  assert.equal(await page.evaluate(() => document.activeElement.id), "photo");
  assert.ok(await page.evaluate(() => globalThis.acts.some(([what]) => what === "close")), "the request is taken back");
  await page.keyboard.press("Enter");
  await dialog(page).waitFor();
  await dialog(page).getByRole("button", { name: "Cancel" }).click();
  // A second click beside the first asks once.
  await field(page, "photo").evaluate((one) => (one.click(), one.click()));
  await dialog(page).waitFor();
  assert.equal(await dialog(page).count(), 1);
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "A photo of the damage: From my other device" }).waitFor();
  // Disabled by its fieldset.
  assert.equal(await page.locator("#later hither-ask button").first().isDisabled(), true);
  await page.locator("#later hither-ask").evaluate((one) => one.click());
  assert.equal(await dialog(page).count(), 0);
  await page.locator("#later").evaluate((one) => (one.disabled = false));
  assert.equal(await page.locator("#later hither-ask button").first().isDisabled(), false);
  assert.deepEqual(await wrong(opened), []);
  await opened.context.close();

  const again = await show();
  await ask(again.page, "photo").click();
  await given(again.page, "photo");
  assert.equal(await field(again.page, "photo").evaluate((one) => {
    one.formStateRestoreCallback("", "restore");
    const nothing = one.value;
    one.formStateRestoreCallback(new File(["x"], "kept.txt"), "restore");
    return nothing === "" && one.value === "kept.txt";
  }), true);
  await again.page.getByRole("button", { name: "Clear all" }).click();
  assert.deepEqual(await field(again.page, "photo").evaluate((one) => [one.files.length, one.value, one.validity.valueMissing]), [0, "", true]);
  await again.context.close();
});

test("c8_what_goes_wrong_is_said_and_can_be_tried_again", async () => {
  for (const [fails, words, retry] of [["refused", "does not let this site ask", false], ["declined", "was refused", true], ["expired", "in time", true], ["unreachable", "cannot be reached", true], ["odd", "did not work", true]]) {
    const opened = await show({ fails, answer_ms: 30, opened_ms: 600_000 });
    await ask(opened.page, "photo").click();
    await opened.page.getByRole("alert").filter({ hasText: words }).waitFor();
    assert.equal(await dialog(opened.page).getByRole("button", { name: "Try again" }).count(), retry ? 1 : 0, fails);
    await opened.context.close();
  }
  const opened = await show();
  await field(opened.page, "photo").evaluate((one) => (one.relay = "http://relay.example"));
  await ask(opened.page, "photo").click();
  await opened.page.getByRole("alert").filter({ hasText: "names no relay" }).waitFor();
  assert.equal(await opened.page.evaluate(() => globalThis.acts), undefined, "nobody was asked over an open line");
  await opened.context.close();
});

test("c8_the_page_is_opened_beside_and_shares_nothing_with_it", async () => {
  const opened = await show({ opened_ms: 600_000, answer_ms: 600_000 });
  const { page } = opened;
  await ask(page, "photo").click();
  const link = dialog(page).getByRole("link", { name: "Open it here" });
  assert.deepEqual(await link.evaluate((one) => [one.target, one.rel, new URL(one.href).origin]), ["_blank", "noopener noreferrer", RELAY]);
  await link.click();
  const [, url, target, how] = (await events(page)).find(([what]) => what === "open");
  assert.ok(url.startsWith(`${RELAY}/a#hither-ask1`) && target === "_blank" && /noopener/.test(how));
  assert.deepEqual(await wrong(opened), []);
  await opened.context.close();
});

test("c8_its_root_is_closed_and_hostile_names_are_text", async () => {
  const closed = await show({}, { closed: true });
  assert.equal(await closed.page.evaluate(() => document.getElementById("photo").shadowRoot), null);
  await closed.context.close();
  const name = "../<img src=x onerror=globalThis.hit=1>\u202egpj.exe";
  const opened = await show({ things: [{ name, media_type: "text/html; <script>", content: "x" }] });
  await ask(opened.page, "photo").click();
  await given(opened.page, "photo");
  assert.deepEqual(await field(opened.page, "photo").evaluate((one) => [one.files[0].name, one.files[0].type, globalThis.hit]), [".._<img src=x onerror=globalThis.hit=1>_gpj.exe".replaceAll(/[<>]/g, "_"), "application/octet-stream", undefined]);
  assert.equal(await field(opened.page, "photo").locator("img").count(), 0);
  assert.deepEqual(await wrong(opened), []);
  await opened.context.close();
});

for (const [scheme, size] of [["light", WIDE], ["dark", WIDE], ["light", PHONE], ["dark", PHONE]]) {
  test(`c8_axe_finds_nothing, ${scheme}, ${size.width} px`, async () => {
    const waiting = await show({ opened_ms: 600_000, answer_ms: 600_000 }, { scheme, size, language: scheme === "dark" ? "de" : "zh" });
    const good = async (opened, what) => {
      assert.deepEqual(await axe(opened.page), [], what);
      assert.deepEqual((await layout(opened.page)), [], what);
      assert.deepEqual(await wrong(opened), [], what);
    };
    await good(waiting, "form");
    // The example is English: the element speaks as the part of the page that it is in.
    await ask(waiting.page, "photo").click();
    await dialog(waiting.page).getByRole("link", { name: "Open it here" }).waitFor();
    await good(waiting, "code");
    await waiting.context.close();
    const opened = await show({ opened_ms: 60, answer_ms: 600_000 }, { scheme, size });
    await opened.page.locator("#film").evaluate((one) => (one.lang = "de"));
    await ask(opened.page, "film").click();
    await dialog(opened.page).getByText("47", { exact: true }).waitFor();
    await good(opened, "number");
    await opened.context.close();
  });
}

test("c8_accept_says_what_is_asked_for", async () => {
  const { kind_of } = await compiled("ask/src/given.ts");
  assert.deepEqual(["image/*", ".jpg, .png", "video/mp4", "audio/*,.mp3", "image/*,video/*", "", "application/pdf"].map(kind_of), ["photo", "photo", "video", "audio", "file", "file", "file"]);
});
