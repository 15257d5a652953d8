// The build: the same bytes twice, integrity of everything that the pages load, nothing inline, and its weight.
import { test, before, after } from "node:test";
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliCompressSync, brotliDecompressSync, gunzipSync } from "node:zlib";
import { build, differences, first_views } from "../build.mjs";

let folder, sizes;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "hither-build-"));
  sizes = await build({ out: join(folder, "a"), ask: join(folder, "ask") });
});
after(() => rm(folder, { recursive: true }));

test("the same sources give the same bytes", async () => {
  await build({ out: join(folder, "b") });
  assert.deepEqual(await differences(join(folder, "a"), join(folder, "b")), []);
  for (const path of await readdir(join(folder, "a/assets"))) {
    assert.ok((await readFile(join(folder, "a/assets", path))).equals(await readFile(join(folder, "b/assets", path))), path);
  }
});

test("dist/ is what the sources give", async () => {
  assert.deepEqual(await differences(join(folder, "a"), new URL("../dist", import.meta.url).pathname), [], "run: npm run build");
});

test("pages load files of the build only, each with its integrity; nothing is inline", async () => {
  const pages = [...sizes.keys()].filter((path) => path.endsWith(".html"));
  assert.ok(pages.length > 0);
  for (const path of pages) {
    const html = await readFile(join(folder, "a", path), "utf8");
    assert.doesNotMatch(html, /<style|style=|\son[a-z]+=|javascript:|<base|https?:\/\//i, path);
    assert.ok([...html.matchAll(/<script([^>]*)>([^<]*)/g)].every(([, attributes, inside]) => /src=/.test(attributes) && inside === ""), path);
    const loaded = [...html.matchAll(/<(?:script|link rel="stylesheet")[^>]*?(?:src|href)="([^"]+)"[^>]*?integrity="([^"]+)"/g)];
    assert.equal(loaded.length, (html.match(/<script|rel="stylesheet"/g) ?? []).length, path);
    for (const [, url, integrity] of loaded) {
      assert.match(url, /^\/assets\/[a-z-]+-[0-9A-F]{12}\.(js|css)$/);
      const bytes = await readFile(join(folder, "a", url));
      assert.equal(integrity, `sha384-${createHash("sha384").update(bytes).digest("base64")}`);
    }
  }
});

test("compressed forms hold what they stand for", async () => {
  for (const path of sizes.keys()) {
    const bytes = await readFile(join(folder, "a", path));
    if (/\.(png)$/.test(path)) continue;
    assert.ok(brotliDecompressSync(await readFile(join(folder, "a", `${path}.br`))).equals(bytes), path);
    assert.ok(gunzipSync(await readFile(join(folder, "a", `${path}.gz`))).equals(bytes), path);
  }
});

test("the first view of a link is light", (t) => {
  const views = first_views(sizes);
  t.diagnostic(JSON.stringify(views));
  assert.ok(views["link, JS and CSS"] <= 40_000);
  assert.ok(views["link, with HTML and wasm"] <= 350_000);
  assert.ok(views["device page, JS and CSS"] <= 80_000);
  assert.ok(views["visitors' page, JS and CSS"] <= 60_000);
  assert.ok(views["LAN page"] <= 60_000);
  assert.ok(views.dashboard <= 60_000);
});

test("the asking element is one module that loads nothing by itself", async (t) => {
  const script = await readFile(join(folder, "ask/hither-ask.js"));
  const packed = brotliCompressSync(script).length;
  t.diagnostic(`hither-ask.js: ${packed} bytes with brotli`);
  assert.ok(packed <= 40_000);
  assert.doesNotMatch(script.toString(), /\bimport\s*["'(]|\bfrom\s*["'][./@a-z]/, "it imports nothing");
  const { exports, files, types, license, version } = JSON.parse(await readFile(new URL("../ask/package.json", import.meta.url), "utf8"));
  assert.ok(exports["."] && files.includes("dist") && types && license && version);
  assert.deepEqual((await readdir(join(folder, "ask"))).sort(), ["hither-ask.d.ts", "hither-ask.js", "hither.wasm"]);
});
