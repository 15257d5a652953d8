// The link page in Chromium, with a core without network: every screen in both schemes and two widths, the
// keyboard, hostile names, downloads by every way, breaks, pauses and reloads.
import { test, before, after } from "node:test";
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFile, stat, unlink } from "node:fs/promises";
import { axe, launch, layout, open, PHONE, WIDE, wrong } from "./browser.mjs";
import { compiled } from "./compiled.mjs";
import { watch_memory } from "./memory.mjs";
import { serve, test_build } from "./serve.mjs";

const TICKET = `hither1${"qpzry9x8gf2tvdw0s3jn54khce6mua7l".repeat(6)}`;
let browser, server, fake;

before(async () => {
  server = await serve({ dist: await test_build() });
  browser = await launch(["--host-resolver-rules=MAP hither.test 127.0.0.1"]);
  fake = await compiled("tests/fake-core.ts");
});
after(async () => {
  await browser.close();
  await server.close();
});

/** The page with a fake share. Chromium's file picker is a window of the system, so it is left out unless a test brings one. */
async function show(config = {}, options = {}) {
  const { fragment = TICKET, origin = server.origin, picker, ...rest } = options;
  const opened = await open(browser, `${origin}/l${fragment === "" ? "" : `#${fragment}`}`, {
    ...rest,
    async setup(page, context) {
      await page.addInitScript((config) => (globalThis.fake = config), config);
      if (picker) await page.addInitScript(picker);
      else await page.addInitScript(() => delete globalThis.showSaveFilePicker);
      await rest.setup?.(page, context);
    },
  });
  return opened;
}

async function clean(opened, what) {
  assert.deepEqual(await wrong(opened), [], what);
}

/** A screen must have no violation, no small target, no sideways scrolling and no error. */
async function good(opened, what) {
  if (process.env.HITHER_TRACE) console.error(new Date().toISOString().slice(14, 23), what);
  await opened.page.waitForTimeout(150); // Transitions of colours end.
  assert.deepEqual(await axe(opened.page), [], what);
  assert.deepEqual(await layout(opened.page), [], what);
  await clean(opened, what);
}

const rows = (page) => page.locator(".list .row");
const listed = (page) => rows(page).first().waitFor();

for (const [scheme, size, name] of [["light", WIDE, "light, 1440 px"], ["dark", WIDE, "dark, 1440 px"], ["light", PHONE, "light, 360 px"], ["dark", PHONE, "dark, 360 px"]]) {
  test(`W7: every screen, ${name}`, { timeout: 300_000 }, async () => {
    const look = { scheme, size };
    for (const [fragment, heading] of [["", "Open a link"], ["hither1broken!", "Open a link"]]) {
      const opened = await show({}, { ...look, fragment });
      await opened.page.getByRole("heading", { name: heading }).waitFor();
      await opened.page.getByRole("button", { name: "Open", exact: true }).click();
      await opened.page.getByRole("alert").first().waitFor();
      await good(opened, `start ${fragment}`);
      await opened.context.close();
    }
    for (const code of ["ticket", "not_found", "gone", "unreachable", "damaged", "busy", "too_new", "nonsense"]) {
      const opened = await show({ fails: { code } }, look);
      await opened.page.locator("main h1:focus").waitFor();
      await good(opened, code);
      await opened.context.close();
    }
    const waiting = await show({ open_ms: 600_000 }, look);
    await waiting.page.getByText("This takes longer than usual").waitFor({ timeout: 15_000 });
    await good(waiting, "opening");
    await waiting.context.close();

    const opened = await show({ rate: 300_000 }, look);
    const { page } = opened;
    await listed(page);
    assert.equal(await page.title(), "Bergtour 2026 – Hither");
    await good(opened, "list");
    await page.getByRole("group").getByText("2 sources").click();
    await good(opened, "sources");
    await page.getByRole("searchbox").fill("dsc 41");
    await good(opened, "search");
    await page.getByRole("searchbox").fill("nowhere");
    await good(opened, "nothing found");
    await page.getByRole("searchbox").fill("");
    for (const file of ["Gipfel.svg", "Anreise.md", "Ton vom Bach.wav", "Rest.zip", "film.mp4", "neueste"]) {
      await page.getByRole("button", { name: new RegExp(`^${file}`) }).click();
      await page.locator("dialog[open]").waitFor();
      if (file.endsWith(".svg")) await page.locator(".preview img").waitFor();
      if (file.endsWith(".md")) await page.locator(".preview pre").waitFor();
      if (file.endsWith(".mp4")) await page.getByText("This browser cannot show this file").waitFor();
      await good(opened, file);
      await page.keyboard.press("Escape");
    }
    for (const button of ["Open in Hither", "About this page"]) {
      await page.getByRole("button", { name: button }).click();
      if (button === "Open in Hither") await page.getByRole("img", { name: "The link as a QR code" }).waitFor();
      await good(opened, button);
      await page.keyboard.press("Escape");
    }
    await page.getByRole("checkbox", { name: "Choose RAW" }).check();
    await page.getByRole("checkbox", { name: "Choose Karten" }).check();
    await good(opened, "chosen");
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download chosen" }).click()]);
    await page.getByRole("progressbar").waitFor();
    await good(opened, "downloading");
    await page.getByRole("button", { name: "Pause: Bergtour 2026.zip" }).click();
    await page.getByRole("button", { name: "Continue: Bergtour 2026.zip" }).waitFor();
    await good(opened, "paused");
    await page.getByRole("button", { name: "Cancel: Bergtour 2026.zip" }).click();
    await good(opened, "cancel?");
    await page.getByRole("button", { name: "Cancel the download" }).click();
    await page.getByRole("progressbar").waitFor({ state: "detached" });
    assert.notEqual(await download.failure(), null);
    await page.getByRole("button", { name: /^Karten/ }).click();
    await page.locator("h1:focus").waitFor();
    await good(opened, "folder");
    await opened.context.close();
  });
}

test("W7: German and Chinese, by the browser's choice and by the menu", { timeout: 120_000 }, async () => {
  for (const [language, tag, words, size] of [["de-AT", "de", "Alles herunterladen", PHONE], ["zh-CN", "zh-Hans", "全部下载", WIDE]]) {
    const opened = await show({}, { language, size });
    await opened.page.getByRole("button", { name: words }).waitFor();
    assert.equal(await opened.page.locator("html").getAttribute("lang"), tag);
    await good(opened, language);
    await opened.page.getByRole("combobox").first().selectOption("en");
    await opened.page.getByRole("button", { name: "Download all" }).waitFor();
    await opened.page.reload();
    await opened.page.getByRole("button", { name: "Download all" }).waitFor();
    assert.equal(await opened.page.locator("html").getAttribute("lang"), "en");
    await opened.context.close();
  }
});

test("W7: the keyboard alone", { timeout: 120_000 }, async () => {
  const opened = await show();
  const { page } = opened;
  await listed(page);
  const focused = () => page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? document.activeElement?.textContent ?? "");
  await page.keyboard.press("Tab");
  assert.equal(await focused(), "Skip to the content");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement?.id), "main");
  assert.equal(new URL(page.url()).hash, `#${TICKET}`, "the fragment stays");
  const stops = [];
  for (let n = 0; n < 12; n += 1) {
    await page.keyboard.press("Tab");
    stops.push(await focused());
  }
  assert.deepEqual(stops.slice(0, 7).map((stop) => stop.slice(0, 14)), ["Download all", "Open in Hither", "", "", "Order", "Choose Karten", "Karten2 files "], stops.join(" | "));
  assert.equal(stops[7], "Download Karten");
  assert.match(stops[9], /sources/, "one row is one stop, and what follows is the choice of the way and the sources");
  await page.getByRole("button", { name: /^Karten/ }).focus();
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  assert.match(await focused(), /^Abend.svg/);
  await page.keyboard.press("Space");
  assert.ok(await page.getByRole("checkbox", { name: "Choose Abend.svg" }).isChecked());
  assert.equal(await page.locator("dialog").count(), 0, "space chooses and does not open");
  await page.keyboard.press("Space");
  assert.ok(!(await page.getByRole("checkbox", { name: "Choose Abend.svg" }).isChecked()));
  await page.keyboard.press("Enter");
  await page.locator("dialog[open] img").waitFor();
  await page.locator(".preview").focus().catch(() => {});
  await page.keyboard.press("Escape");
  assert.match(await focused(), /^Abend.svg/, "the focus returns");
  await page.keyboard.press("End");
  assert.match(await focused(), /^Ton vom Bach/);
  await page.keyboard.press("Home");
  await page.keyboard.press("Enter");
  await page.locator("h1:focus", { hasText: "Karten" }).waitFor();
  await page.getByRole("button", { name: /^Route/ }).focus();
  await page.keyboard.press("Backspace");
  await page.locator("h1:focus", { hasText: "Bergtour" }).waitFor();
  await page.goBack();
  await page.locator("h1", { hasText: "Karten" }).waitFor();
  await page.goForward();
  await page.locator("h1", { hasText: "Bergtour" }).waitFor();
  await clean(opened);
  await opened.context.close();
});

test("W8: hostile names are text, previews run nothing, nothing is asked of others", { timeout: 180_000 }, async () => {
  const before = server.seen.length;
  const opened = await show({ share: "hostile" });
  const { page } = opened;
  const asked = [];
  page.on("dialog", (dialog) => {
    asked.push(dialog.message());
    void dialog.dismiss();
  });
  await listed(page);
  const { entries } = fake.fake_share({ share: "hostile" });
  const shown = await rows(page).locator(".row-title").allTextContents();
  assert.equal(shown.length, entries.length - 2);
  assert.ok(shown.includes("<img src=x onerror=alert(1)>.txt"));
  assert.ok(shown.includes("invoice\ufffdgpj.exe"));
  assert.ok(shown.includes("two\ufffdlines\ufffd.txt"));
  assert.ok(shown.includes("zero\ufffdwidth.txt") && shown.includes("zerowidth.txt"));
  assert.equal(await page.title(), "<b>share</b>\ufffd – Hither");
  assert.ok((await page.locator(".row", { hasText: "Leads to" }).textContent()).includes("../../etc/\ufffdpasswd"));
  for (const name of ["<img src=x", "\"><script", "<svg onload", "page.html", "__proto__", "long long"]) {
    await page.locator(".row-main", { hasText: name }).click();
    await page.locator("dialog[open]").waitFor();
    if (name.startsWith("<svg")) await page.waitForFunction(() => document.querySelector(".preview img")?.naturalWidth === 1200);
    if (name === "page.html") assert.match(await page.locator(".preview pre").textContent(), /^<!doctype html><script>/);
    await good(opened, name);
    await page.keyboard.press("Escape");
  }
  // A picture opened as a page of its own: the worker's answer forbids everything there.
  await page.locator(".row-main", { hasText: "<svg onload" }).click();
  const address = await page.locator(".preview img").getAttribute("src");
  const own = await opened.context.newPage();
  own.on("request", (request) => request.url().includes("/ran") && asked.push("ran"));
  const answer = await own.goto(server.origin + address);
  assert.match(answer.headers()["content-security-policy"], /default-src 'none'.*sandbox/);
  assert.equal(answer.headers()["content-type"], "image/svg+xml");
  assert.equal(await own.evaluate(() => globalThis.ran), undefined);
  await own.close();
  await page.keyboard.press("Escape");

  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download all" }).click()]);
  const path = await download.path();
  const names = JSON.parse(execFileSync("python3", ["-c", "import zipfile,sys,json;z=zipfile.ZipFile(sys.argv[1]);assert z.testzip() is None;print(json.dumps(z.namelist()))", path], { encoding: "utf8" }));
  assert.ok(names.every((name) => !/[\\:*?"<>|\u0000-\u001f\u202e]/.test(name) && !name.split("/").includes("..") && !name.startsWith("/")), names.join("\n"));
  assert.ok(names.includes("_b_share__b__/.._.._windows_system32.dll") && names.includes("_b_share__b__/_CON.txt"), names.join("\n"));
  await unlink(path);
  assert.equal(await page.evaluate(() => globalThis.ran), undefined);
  assert.deepEqual(asked, []);
  assert.ok(!server.seen.slice(before).some((line) => line.includes("ran") || line.includes("hither1")), "the server saw neither the ticket nor what a script would ask");
  await clean(opened);
  await opened.context.close();
});

test("W8: a fragment cannot put anything into the command", { timeout: 60_000 }, async () => {
  const opened = await show({}, { fragment: `${TICKET}';touch%20x;'` });
  await opened.page.getByText("This link is broken").first().waitFor();
  await clean(opened);
  await opened.context.close();
  const fine = await show();
  await fine.page.getByRole("button", { name: "Open in Hither" }).click();
  assert.equal(await fine.page.locator("dialog code").first().textContent(), `hither fetch '${server.origin}/l#${TICKET}'`);
  await fine.context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await fine.page.getByRole("button", { name: "Copy" }).first().click();
  await fine.page.getByRole("button", { name: "Copied" }).waitFor();
  assert.match(await fine.page.evaluate(() => navigator.clipboard.readText()), /^hither fetch 'http/);
  await fine.context.close();
});

/** The bytes of an entry of a fake share. */
function bytes_of(config, name) {
  const { entries, content } = fake.fake_share(config);
  const entry = entries.find(({ path }) => path[path.length - 1] === name) ?? entries[0];
  return Buffer.from(content(entry, 0, entry.size));
}

async function same(download, bytes) {
  const path = await download.path();
  const got = await readFile(path);
  await unlink(path);
  assert.equal(got.length, bytes.length);
  assert.ok(got.equals(bytes), "the bytes are those of the share");
}

/** Reads an archive with Python and compares it with the fake share. */
async function same_archive(path, config) {
  const { entries, content } = fake.fake_share(config);
  const script = "import zipfile,sys,json,hashlib;z=zipfile.ZipFile(sys.argv[1]);print(json.dumps([[i.filename,hashlib.sha256(z.read(i)).hexdigest(),i.external_attr>>16] for i in z.infolist()]))";
  const found = new Map(JSON.parse(execFileSync("python3", ["-c", script, path], { encoding: "utf8", maxBuffer: 1e8 })).map(([name, hash, mode]) => [name, [hash, mode]]));
  const { createHash } = await import("node:crypto");
  for (const entry of entries.slice(1)) {
    if (entry.kind === "symlink") continue;
    const name = [...found.keys()].find((key) => key.replace(/\/$/, "").endsWith(entry.path.join("/")));
    assert.ok(name, entry.path.join("/"));
    const [hash, mode] = found.get(name);
    if (entry.kind === "file") {
      assert.equal(hash, createHash("sha256").update(content(entry, 0, entry.size)).digest("hex"), name);
      assert.equal(mode & 0o111, entry.executable ? 0o111 : 0, name);
    }
  }
  assert.equal(found.size, entries.filter(({ kind }) => kind !== "symlink").length);
}

test("W1: one file and all as a zip, by the service worker; a break is waited out", { timeout: 180_000 }, async () => {
  const config = { share: "single", breaks: [{ index: 0, at: 3_000_000, code: "unreachable" }] };
  const opened = await show(config);
  await listed(opened.page);
  const broken = opened.page.getByText("The connection broke").first().waitFor();
  const [download] = await Promise.all([opened.page.waitForEvent("download"), opened.page.getByRole("button", { name: "Download", exact: true }).click()]);
  assert.equal(download.suggestedFilename(), "film.bin");
  await broken;
  await same(download, bytes_of({ share: "single" }, "film.bin"));
  await opened.page.locator("p", { hasText: "Complete, in the browser's downloads" }).waitFor();
  await clean(opened);
  await opened.context.close();

  const many = { share: "small-files", breaks: [{ index: 7, at: 0, code: "busy" }, { index: 304, at: 5_000_000, code: "unreachable" }] };
  const folder = await show(many);
  await listed(folder.page);
  const [zip] = await Promise.all([folder.page.waitForEvent("download"), folder.page.getByRole("button", { name: "Download all" }).click()]);
  assert.equal(zip.suggestedFilename(), "small files.zip");
  const path = await zip.path();
  assert.match(execFileSync("unzip", ["-t", path], { encoding: "utf8", maxBuffer: 1e8 }), /No errors detected/);
  await same_archive(path, { share: "small-files" });
  await unlink(path);
  await clean(folder);
  await folder.context.close();
});

test("W1: a share that ends meanwhile ends the download, and says so", { timeout: 60_000 }, async () => {
  const opened = await show({ share: "single", rate: 1_500_000, breaks: [{ index: 0, at: 3_000_000, code: "gone" }] });
  await listed(opened.page);
  const [download] = await Promise.all([opened.page.waitForEvent("download"), opened.page.getByRole("button", { name: "Download", exact: true }).click()]);
  await opened.page.locator("p", { hasText: "The share ended meanwhile" }).waitFor();
  assert.notEqual(await download.failure(), null, "no half of a file looks whole");
  await clean(opened);
  await opened.context.close();
});

test("W1: ended in the browser's list, said on the page", { timeout: 60_000 }, async () => {
  const opened = await show({ share: "single", rate: 400_000 });
  await listed(opened.page);
  const [download] = await Promise.all([opened.page.waitForEvent("download"), opened.page.getByRole("button", { name: "Download", exact: true }).click()]);
  await download.cancel();
  await opened.page.locator("p", { hasText: "Ended in the browser's list" }).waitFor({ timeout: 30_000 });
  await clean(opened);
  await opened.context.close();
});

test("W1: a service worker that the browser stops ends its download, and the page says so", { timeout: 120_000 }, async () => {
  const opened = await show({ share: "single", rate: 200_000 });
  await listed(opened.page);
  await Promise.all([opened.page.waitForEvent("download"), opened.page.getByRole("button", { name: "Download", exact: true }).click()]);
  // As browsers do when a worker was idle for too long.
  const session = await browser.newBrowserCDPSession();
  const { targetInfos } = await session.send("Target.getTargets", { filter: [{ type: "service_worker" }] });
  const worker = await opened.context.newCDPSession(opened.page);
  await worker.send("ServiceWorker.enable");
  await worker.send("ServiceWorker.stopAllWorkers");
  assert.ok(targetInfos.length > 0);
  await opened.page.locator("p", { hasText: "Ended in the browser's list" }).waitFor({ timeout: 60_000 });
  await clean(opened);
  await opened.context.close();
});

test("W1: without a service worker by the browser's storage; without that by memory, up to 100 MB", { timeout: 120_000 }, async () => {
  const none = () => {
    delete globalThis.showSaveFilePicker;
    Object.defineProperty(Navigator.prototype, "serviceWorker", { get: undefined });
    delete Navigator.prototype.serviceWorker;
  };
  const disk = await show({ share: "single" }, { picker: none });
  await listed(disk.page);
  const [first] = await Promise.all([disk.page.waitForEvent("download"), disk.page.getByRole("button", { name: "Download", exact: true }).click()]);
  assert.equal(first.suggestedFilename(), "film.bin");
  await same(first, bytes_of({ share: "single" }, "film.bin"));
  const [again] = await Promise.all([disk.page.waitForEvent("download"), disk.page.getByRole("button", { name: "Save again: film.bin" }).click()]);
  await same(again, bytes_of({ share: "single" }, "film.bin"));
  const stored = () => disk.page.evaluate(async () => {
    const names = [];
    for await (const name of (await navigator.storage.getDirectory()).keys()) names.push(name);
    return names;
  });
  assert.equal((await stored()).length, 1);
  await disk.page.getByRole("button", { name: "Remove from the list: film.bin" }).click();
  await disk.page.waitForFunction(async () => {
    for await (const _ of (await navigator.storage.getDirectory()).keys()) return false;
    return true;
  });
  await clean(disk);
  await disk.context.close();

  const nothing = () => {
    delete globalThis.showSaveFilePicker;
    delete Navigator.prototype.serviceWorker;
    delete StorageManager.prototype.getDirectory;
  };
  const memory = await show({}, { picker: nothing });
  await listed(memory.page);
  const [small] = await Promise.all([memory.page.waitForEvent("download"), memory.page.getByRole("button", { name: "Download Rest.zip" }).click()]);
  await same(small, bytes_of({}, "Rest.zip"));
  await memory.page.getByRole("button", { name: "Download film.mp4" }).click();
  await memory.page.getByText("This browser cannot save 734 MB here").waitFor();
  await memory.page.getByRole("button", { name: /^Gipfel/ }).click();
  await memory.page.waitForFunction(() => document.querySelector(".preview img")?.naturalWidth === 1200);
  await good(memory, "without worker and storage");
  await memory.context.close();
});

/** Waits until a pause is written down: more than the first megabyte of a download. */
const kept_on_disk = (page) =>
  page.waitForFunction(() => new Promise((resolve) => {
    const opening = indexedDB.open("hither-page");
    opening.onsuccess = () => {
      const stores = opening.result.objectStoreNames.contains("downloads");
      const all = stores ? opening.result.transaction("downloads").objectStore("downloads").getAll() : undefined;
      const done = (is) => {
        opening.result.close();
        resolve(is);
      };
      if (!all) return done(false);
      all.onsuccess = () => done((all.result[0]?.mark.bytes ?? 0) > 1_000_000);
    };
  }));

test("W1: the browser's storage goes on after a reload, a file and a zip", { timeout: 180_000 }, async () => {
  for (const [share, button, name] of [["single", "Download", "film.bin"], ["small-files", "Download all", "small files.zip"]]) {
    const config = { share, rate: 900_000 };
    const opened = await show(config);
    const { page } = opened;
    await listed(page);
    await page.getByRole("checkbox", { name: /go on after this tab was closed/ }).check();
    await page.getByRole("button", { name: button, exact: true }).click();
    await page.waitForFunction(() => Number(document.querySelector("[role=progressbar]")?.getAttribute("aria-valuenow")) >= 40, undefined, { timeout: 60_000 });
    await page.getByRole("button", { name: `Pause: ${name}` }).click();
    await page.getByText("Paused").first().waitFor();
    await kept_on_disk(page);
    await page.reload();
    await page.getByRole("heading", { name: "Not complete yet" }).waitFor();
    await good(opened, "unfinished");
    const [download] = await Promise.all([page.waitForEvent("download", { timeout: 60_000 }), page.getByRole("button", { name: "Continue" }).click()]);
    const read = await page.evaluate(() => document.querySelector(".sources .row-detail")?.textContent ?? "");
    assert.equal(download.suggestedFilename(), name);
    const path = await download.path();
    if (share === "single") await same(download, bytes_of({ share }, name));
    else await same_archive(path, { share });
    assert.match(read, /connected/);
    await page.reload();
    await listed(page);
    await page.waitForTimeout(500);
    assert.equal(await page.getByRole("heading", { name: "Not complete yet" }).count(), 0, "nothing is left");
    await clean(opened);
    await opened.context.close();
  }
});

test("W1: a tab that is killed: what was written before goes on", { timeout: 120_000 }, async () => {
  const opened = await show({ share: "big", big: 60_000_000, rate: 8_000_000 });
  await listed(opened.page);
  await opened.page.getByRole("checkbox", { name: /go on after this tab was closed/ }).check();
  await opened.page.getByRole("button", { name: "Download big.bin" }).click();
  await opened.page.waitForFunction(() => Number(document.querySelector("[role=progressbar]")?.getAttribute("aria-valuenow")) >= 60, undefined, { timeout: 60_000 });
  const next = await open(browser, `${server.origin}/`, { keep_context: opened.context });
  const session = await opened.context.newCDPSession(opened.page);
  void session.send("Page.crash").catch(() => {});
  await opened.page.waitForEvent("crash", { timeout: 20_000 }).catch(() => {});
  await opened.page.close().catch(() => {});
  await next.page.close();
  const again = await show({ share: "big", big: 60_000_000 }, { keep_context: opened.context });
  await again.page.getByRole("heading", { name: "Not complete yet" }).waitFor();
  const [download] = await Promise.all([again.page.waitForEvent("download", { timeout: 60_000 }), again.page.getByRole("button", { name: "Continue" }).click()]);
  await same(download, bytes_of({ share: "big", big: 60_000_000 }, "big.bin"));
  await opened.context.close();
});

test("W1: a file that the person chose, paused, reloaded, gone on with; changed by others it begins anew", { timeout: 180_000 }, async () => {
  // Stands for the system's window: a file in the browser's own storage has the same interface.
  const picker = () => {
    globalThis.showSaveFilePicker = async ({ suggestedName }) => (await (await navigator.storage.getDirectory()).getDirectoryHandle("picked", { create: true })).getFileHandle(suggestedName, { create: true });
  };
  for (const meddle of [false, true]) {
    const opened = await show({ share: "single", rate: 1_500_000 }, { picker });
    const { page } = opened;
    await listed(page);
    assert.equal(await page.getByRole("checkbox", { name: /go on after this tab/ }).count(), 0, "no choice is needed here");
    await page.getByRole("button", { name: "Download", exact: true }).click();
    await page.waitForFunction(() => Number(document.querySelector("[role=progressbar]")?.getAttribute("aria-valuenow")) >= 30, undefined, { timeout: 60_000 });
    await page.getByRole("button", { name: "Pause: film.bin" }).click();
    await kept_on_disk(page);
    if (meddle) {
      await page.evaluate(async () => {
        const handle = await (await (await navigator.storage.getDirectory()).getDirectoryHandle("picked")).getFileHandle("film.bin");
        const writable = await handle.createWritable({ keepExistingData: true });
        // Longer now: files in this storage keep their time when they are changed, others do not.
        await writable.write({ type: "write", position: (await handle.getFile()).size, data: "meddled" });
        await writable.close();
      });
    }
    await page.reload();
    await page.getByRole("button", { name: "Continue" }).click();
    await page.locator("p", { hasText: "Complete, saved where you chose" }).waitFor({ timeout: 60_000 });
    const hash = await page.evaluate(async () => {
      const file = await (await (await (await navigator.storage.getDirectory()).getDirectoryHandle("picked")).getFileHandle("film.bin")).getFile();
      return [...new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    });
    const { createHash } = await import("node:crypto");
    assert.equal(hash, createHash("sha256").update(bytes_of({ share: "single" }, "film.bin")).digest("hex"), meddle ? "begun anew" : "gone on with");
    await clean(opened);
    await opened.context.close();
  }
});

test("W1: sound is read in parts, so that one can go to any place of it", { timeout: 60_000 }, async () => {
  const opened = await show();
  const { page } = opened;
  await listed(page);
  await page.getByRole("button", { name: /^Ton vom Bach/ }).click();
  await page.waitForFunction(() => document.querySelector("audio")?.duration === 60);
  const at = await page.evaluate(async () => {
    const audio = document.querySelector("audio");
    audio.currentTime = 45;
    await new Promise((resolve) => (audio.onseeked = resolve));
    return audio.currentTime;
  });
  assert.equal(at, 45);
  const answer = await page.evaluate(async () => {
    const response = await fetch(document.querySelector("audio").src, { headers: { Range: "bytes=4-7" } });
    return [response.status, response.headers.get("content-range"), (await response.arrayBuffer()).byteLength, response.headers.get("content-type")];
  });
  assert.deepEqual(answer, [206, "bytes 4-7/480044", 4, "audio/wav"]);
  await clean(opened);
  await opened.context.close();
});

test("W1: a problem that passes is tried again by itself", { timeout: 60_000 }, async () => {
  const opened = await show({ fails: { code: "busy", retry_after_ms: 2_000, times: 1 } });
  await opened.page.getByRole("heading", { name: "Busy" }).waitFor();
  await opened.page.getByText(/tries again in/).waitFor();
  await listed(opened.page);
  await clean(opened);
  await opened.context.close();
});

test("W1: on plain HTTP the page says what does not work, and does the rest", { timeout: 60_000 }, async () => {
  const opened = await show({}, { origin: `http://hither.test:${server.port}`, allowed: /Cross-Origin-Opener-Policy/ });
  const { page } = opened;
  await listed(page);
  await page.getByText("This page did not come over HTTPS").waitFor();
  await good(opened, "insecure");
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name: "Download Rest.zip" }).click()]);
  await same(download, bytes_of({}, "Rest.zip"));
  await page.getByRole("button", { name: "Download all" }).click();
  await page.getByText(/This browser cannot save/).waitFor();
  await page.getByRole("button", { name: "Open in Hither" }).first().click();
  await page.getByRole("button", { name: "Copy" }).first().click();
  await page.getByRole("button", { name: "Copied" }).waitFor();
  await clean(opened);
  await opened.context.close();
});

test("the page opens without a network, and no content is kept", { timeout: 60_000 }, async () => {
  const opened = await show({}, { allowed: /ERR_INTERNET_DISCONNECTED|Failed to load resource|ServiceWorker/ });
  const { page, context } = opened;
  await listed(page);
  await page.getByRole("button", { name: /^Gipfel/ }).click();
  await page.locator(".preview img").waitFor();
  await page.keyboard.press("Escape");
  const kept = await page.evaluate(async () => {
    const urls = [];
    for (const name of await caches.keys()) for (const request of await (await caches.open(name)).keys()) urls.push(new URL(request.url).pathname);
    return urls;
  });
  assert.ok(kept.includes("/l") && kept.every((path) => path === "/l" || /^\/assets\/(index|worker|core|disk|qr|words-de|words-zh)-/.test(path)), kept.join());
  await context.setOffline(true);
  await page.reload();
  await listed(page);
  await context.close();
});

test("20,000 files: the list is there at once and the search finds", { timeout: 60_000 }, async () => {
  const opened = await show({ share: "many" });
  const { page } = opened;
  await listed(page);
  assert.equal(await rows(page).count(), 200);
  await page.getByRole("button", { name: "Show more" }).click();
  assert.equal(await rows(page).count(), 400);
  const ms = await page.evaluate(async () => {
    const input = document.querySelector("input[type=search]");
    const start = performance.now();
    input.value = "file 19999";
    input.dispatchEvent(new Event("input", { bubbles: true }));
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    return performance.now() - start;
  });
  await page.waitForFunction(() => document.querySelectorAll(".list .row").length === 1);
  assert.ok(ms < 3_000, `${ms} ms`);
  await page.getByRole("checkbox", { name: "Choose all" }).check();
  await page.getByText("1 chosen").waitFor();
  await good(opened, "many");
  await opened.context.close();
});

test("2 GiB by the service worker in little memory", { timeout: 600_000 }, async (t) => {
  const size = 2 ** 31;
  const alone = await launch();
  try {
    const opened = await open(alone, `${server.origin}/l#${TICKET}`, {
      setup: async (page) => {
        await page.addInitScript((config) => (globalThis.fake = config), { share: "big", big: size });
        await page.addInitScript(() => delete globalThis.showSaveFilePicker);
      },
    });
    await listed(opened.page);
    const memory = watch_memory();
    const started = Date.now();
    const [download] = await Promise.all([opened.page.waitForEvent("download"), opened.page.getByRole("button", { name: "Download big.bin" }).click()]);
    const path = await download.path();
    const { before, grown } = memory();
    const seconds = (Date.now() - started) / 1000;
    assert.equal((await stat(path)).size, size);
    const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
    t.diagnostic(`${mib(size / seconds)}/s; all processes of the browser: ${mib(before)} before, at most ${mib(grown)} more`);
    assert.ok(grown < 300 * 2 ** 20, mib(grown));
    assert.deepEqual(await wrong(opened), []);
    await unlink(path);
  } finally {
    await alone.close();
  }
});
