// Opens a link of a real relay in Chromium, downloads everything, compares it, and prints one line of JSON.
//
//   node tests/e2e-link.mjs URL [options]
//     --expect PATH        the file or folder that was shared: the download must be equal
//     --file NAME          downloads this file of the top folder instead of everything
//     --kill-at PERCENT    kills the tab there and goes on in a new one (by the browser's own storage)
//     --plain              afterwards also the same bytes by plain HTTPS in the same browser, from the same listener of
//                          the relay: the chunks of the file as they lie there, in ranges of up to 64 MiB
//     --spki HASH          base64 SHA-256 of the key of a certificate of one's own
//     --map RULE           host resolver rule, such as "MAP relay.test 10.0.0.1"
//     --memory             also downloads once in a tab whose network nobody records: what memory that takes
//     --throttled          also measures how long a fresh browser with a processor slowed down 4 times takes
//     --timeout SECONDS    for the download (600)
//
// Figures: open_ms until the list is there, usable_4x_ms the same throttled, page_bytes and share_bytes of
// the first view as they came over the wire (the share's are its list and keys), bytes and seconds of the download, grown_bytes of
// memory of all browser processes (with what the tool has them keep, up to 200 MB), grown_alone_bytes without that; plain_saved_mib_s where the browser saves what comes, plain_read_mib_s where a script throws it
// away, and share_of_plain, the speed of the download as a part of the faster of them.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, rm, stat, unlink } from "node:fs/promises";
import { execFileSync } from "node:child_process";
import { dirname, join, relative, sep } from "node:path";
import { parseArgs } from "node:util";

import { launch, open, wrong } from "./browser.mjs";
import { compiled } from "./compiled.mjs";
import { watch_memory } from "./memory.mjs";
import { unwatched_download } from "./unwatched.mjs";

const { save_name } = await compiled("src/ui-kit/names.ts");

const text = { type: "string" };
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { expect: text, file: text, "kill-at": text, plain: { type: "boolean" }, spki: text, map: text, throttled: { type: "boolean" }, memory: { type: "boolean" }, timeout: text },
});
const [link] = positionals;
if (!link) {
  console.error("usage: node tests/e2e-link.mjs URL [options]; see the head of this file");
  process.exit(2);
}
const most_ms = Number(options.timeout ?? 600) * 1000;

const flags = [];
if (options.spki) flags.push(`--ignore-certificate-errors-spki-list=${options.spki}`);
if (options.map) flags.push(`--host-resolver-rules=${options.map}`);

const no_picker = (page) => page.addInitScript(() => delete globalThis.showSaveFilePicker);
const listed = (page) => page.locator(".list .row").first().waitFor({ timeout: 120_000 });

/** Opens the link without a service worker, whose own copies would count twice; the bytes are those of the wire. */
async function first_view(browser, slower) {
  const context = await browser.newContext({ serviceWorkers: "block", locale: "en" });
  const page = await context.newPage();
  const sizes = [];
  page.on("requestfinished", (request) => sizes.push(wire_bytes(request)));
  if (slower > 1) await (await context.newCDPSession(page)).send("Emulation.setCPUThrottlingRate", { rate: slower });
  const start = performance.now();
  await page.goto(link);
  await listed(page);
  const ms = Math.round(performance.now() - start);
  const paint_ms = await page.evaluate(() => Math.round(performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? -1));
  const all = await Promise.all(sizes);
  const sum = (of) => all.filter(of).reduce((bytes, size) => bytes + size.bytes, 0);
  await context.close();
  return { ms, paint_ms, requests: all.length, page_bytes: sum((size) => !size.share), share_bytes: sum((size) => size.share) };
}

/** Bytes of an answer as they came over the wire, and whether they are of the share or of the page. */
async function wire_bytes(request) {
  const share = new URL(request.url()).pathname.startsWith("/hither/");
  const [size, answer] = [await request.sizes().catch(() => undefined), await request.response()];
  // Chromium says 0 for the body of a worker's script.
  const body = size?.responseBodySize || Number((await answer?.allHeaders())?.["content-length"] ?? 0);
  return { share, bytes: body + (size?.responseHeadersSize ?? 0) };
}

async function hash_of(path) {
  const hash = createHash("sha256");
  for await (const bytes of createReadStream(path)) hash.update(bytes);
  return hash.digest("hex");
}

/** Names what differs between a download and what was shared; nothing when it is equal. */
async function difference(path, name, expected) {
  const shared = await stat(expected);
  const file = shared.isFile() ? expected : options.file ? join(expected, options.file) : undefined;
  if (file) return (await hash_of(file)) === (await hash_of(path)) ? undefined : `${name} is not ${file}`;
  const script = "import zipfile,sys,hashlib,json\nz=zipfile.ZipFile(sys.argv[1])\nfor i in z.infolist():\n  h=hashlib.sha256()\n  if not i.is_dir():\n    with z.open(i) as f:\n      while b:=f.read(1<<20): h.update(b)\n  print(json.dumps([i.filename,h.hexdigest()]))";
  const found = new Map(execFileSync("python3", ["-c", script, path], { encoding: "utf8", maxBuffer: 2 ** 28 }).trim().split("\n").map((line) => JSON.parse(line)));
  const top = [...found.keys()][0].split("/")[0];
  let files = 0;
  for (const entry of await readdir(expected, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    files += 1;
    const whole = join(entry.parentPath ?? entry.path, entry.name);
    const inside = `${top}/${relative(expected, whole).split(sep).map(save_name).join("/")}`;
    if (found.get(inside) !== (await hash_of(whole))) return `${inside} differs or is not in the archive`;
  }
  const archived = [...found.keys()].filter((key) => !key.endsWith("/")).length;
  return files === archived ? undefined : `${archived} files in the archive, ${files} were shared`;
}

const WHOLE = /^Download( all)?$/;
const button_of = (page) => (options.file ? page.getByRole("button", { name: `Download ${options.file}`, exact: true }) : page.getByRole("button", { name: WHOLE }));

/** Downloads everything once more in a tab that nobody watches. */
async function alone(browser) {
  const { path, seconds, grown } = await unwatched_download(browser, link, WHOLE, most_ms);
  const { size } = await stat(path);
  await rm(dirname(path), { recursive: true });
  return { grown_alone_bytes: grown, alone_mib_s: Number((size / 2 ** 20 / seconds).toFixed(1)) };
}

const percent_reached = (page, percent) =>
  page.waitForFunction((percent) => Number(document.querySelector("[role=progressbar]")?.getAttribute("aria-valuenow")) >= percent, percent, { timeout: most_ms });

/** Starts the download, kills the tab on the way, and goes on in another one of the same browser. */
async function killed_and_resumed(browser, opened) {
  await opened.page.getByRole("checkbox", { name: /go on after this tab was closed/ }).check();
  await button_of(opened.page).click();
  await percent_reached(opened.page, Number(options["kill-at"]));
  const session = await opened.context.newCDPSession(opened.page);
  const crashed = opened.page.waitForEvent("crash", { timeout: 20_000 });
  void session.send("Page.crash").catch(() => {});
  await crashed;
  await opened.page.close();
  const again = await open(browser, link, { keep_context: opened.context, setup: no_picker });
  await again.page.getByRole("button", { name: /^Continue/ }).click({ timeout: 120_000 });
  return again;
}

async function main() {
  const browser = await launch(flags);
  const figures = { ok: false };
  try {
    const view = await first_view(browser, 1);
    Object.assign(figures, { open_ms: view.ms, paint_ms: view.paint_ms, page_bytes: view.page_bytes, share_bytes: view.share_bytes, requests: view.requests });
    if (options.throttled) {
      const slow = await first_view(browser, 4);
      Object.assign(figures, { usable_4x_ms: slow.ms, paint_4x_ms: slow.paint_ms });
    }
    if (options.memory) Object.assign(figures, await alone(browser));
    let opened = await open(browser, link, { setup: no_picker });
    await listed(opened.page);
    const gets = data_gets(opened.context);
    const memory = watch_memory();
    const start = performance.now();
    // Whichever tab it begins in, and without a bound of its own: the way by storage saves at the end.
    const coming = new Promise((resolve) => opened.context.on("page", (page) => page.on("download", resolve)).pages().forEach((page) => page.on("download", resolve)));
    if (options["kill-at"]) opened = await killed_and_resumed(browser, opened);
    else await button_of(opened.page).click();
    const download = await within(coming, most_ms, "no download began");
    const path = await within(download.path(), most_ms, "the download does not end");
    const seconds = (performance.now() - start) / 1000;
    const { size } = await stat(path);
    Object.assign(figures, { name: download.suggestedFilename(), bytes: size, seconds: Number(seconds.toFixed(3)), mib_s: Number((size / 2 ** 20 / seconds).toFixed(1)), grown_bytes: memory().grown });
    figures.sources = await opened.page.locator(".sources .row").allTextContents();
    const problems = await wrong(opened);
    if (options.expect) {
      const differs = await difference(path, figures.name, options.expect);
      if (differs) problems.push(differs);
    } else figures.sha256 = await hash_of(path);
    await unlink(path);
    if (options.plain) Object.assign(figures, await beside_plain(opened.page, gets, figures.mib_s));
    Object.assign(figures, { ok: problems.length === 0, problems });
  } catch (problem) {
    figures.problems = [...(figures.problems ?? []), String(problem.message ?? problem)];
  } finally {
    await browser.close();
  }
  console.log(JSON.stringify(figures));
  process.exitCode = figures.ok ? 0 : 1;
}

/** Watches which chunks are got by GET, and how: `before` is the address up to the range. */
function data_gets(context) {
  const seen = { before: undefined, first: Infinity, last: -1 };
  context.on("request", (request) => {
    const [, before, first, last] = /^(.*\/hither\/1\/chunks\/.*\/data\/)(\d+)-(\d+)$/.exec(request.url()) ?? [];
    if (before) Object.assign(seen, { before, first: Math.min(seen.first, first), last: Math.max(seen.last, last) });
  });
  return seen;
}

/** Bytes of one plain answer of the relay at most. */
const PLAIN_BYTES = 64 * 2 ** 20;

/** Gets the same chunks once more without the core: saved by the browser, and read by a script. */
async function beside_plain(page, { before, first, last }, mib_s) {
  if (before === undefined) throw new Error("no chunk came by GET, so there is nothing plain to compare with");
  const ranges = await page.evaluate(plain_ranges, { before, first, last, most: PLAIN_BYTES });
  const speed = async (of) => {
    const start = performance.now();
    let bytes = 0;
    for (const { url } of ranges) bytes += await of(url);
    return Number((bytes / 2 ** 20 / ((performance.now() - start) / 1000)).toFixed(1));
  };
  const plain_saved_mib_s = await speed(async (url) => {
    const coming = page.waitForEvent("download", { timeout: most_ms });
    await page.evaluate(save_plain, url);
    const path = await within((await coming).path(), most_ms, "the plain download does not end");
    const { size } = await stat(path);
    await unlink(path);
    return size;
  });
  const plain_read_mib_s = await speed((url) => page.evaluate(read_plain, url));
  const share_of_plain = Number((mib_s / Math.max(plain_saved_mib_s, plain_read_mib_s)).toFixed(2));
  return { plain_saved_mib_s, plain_read_mib_s, share_of_plain };
}

/** Runs in the page: the addresses that together give all chunks, each as many as one answer may hold. */
async function plain_ranges({ before, first, last, most }) {
  const ranges = [];
  const length = async (from, to) => {
    const answer = await fetch(`${before}${from}-${to}`, { method: "HEAD", cache: "no-store" });
    return answer.ok ? Number(answer.headers.get("content-length")) : Infinity;
  };
  for (let from = first; from <= last; ) {
    let to = Math.min(last, from + 255);
    while (to > from && (await length(from, to)) > most) to = from + Math.floor((to - from) / 2);
    ranges.push({ url: `${before}${from}-${to}` });
    from = to + 1;
  }
  return ranges;
}

/** Runs in the page: the browser saves what is at an address. */
function save_plain(url) {
  const link = document.createElement("a");
  Object.assign(link, { href: url, download: "plain.bin" });
  link.click();
}

/** Runs in the page: reads what is at an address and throws it away; gives its length. */
async function read_plain(url) {
  const reader = (await fetch(url, { cache: "no-store" })).body.getReader();
  let bytes = 0;
  for (let next = await reader.read(); !next.done; next = await reader.read()) bytes += next.value.length;
  return bytes;
}

function within(promise, ms, what) {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(what)), ms)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

await main();
