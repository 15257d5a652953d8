// Builds the pages into dist/: hashed names, integrity in the HTML, .br and .gz beside each file. The same
// sources give the same bytes.
//   node build.mjs                build dist/
//   node build.mjs --check        build into a scratch folder and compare with the committed dist/
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, extname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, brotliDecompressSync, constants, gunzipSync, gzipSync } from "node:zlib";
import esbuild from "esbuild";

const web = dirname(fileURLToPath(import.meta.url));

/** The pages: `<name>.html` from a template and an entry. A page whose entry, or what it needs, is not there is left out. */
const PAGES = [
  { name: "index", folder: "src/link", needs: "src/core/load.ts" },
  { name: "device", folder: "src/device", needs: "src/core/device/load.ts" },
  { name: "visit", folder: "src/visit", needs: "src/core/device/load.ts" },
  { name: "lan", folder: "src/lan" },
  { name: "dashboard", folder: "src/dashboard" },
];
/** Web workers: the address of each is a constant that the sources see. */
const WORKERS = [
  { name: "worker", entry: "src/core/worker.ts", constant: "HITHER_WORKER_URL" },
  { name: "device-worker", entry: "src/core/device/worker.ts", constant: "HITHER_DEVICE_WORKER_URL" },
  { name: "disk", entry: "src/link/save/disk-worker.ts", constant: "HITHER_DISK_URL" },
];
/** Modules: a page of a link does not load what a device needs. Where there is one module, it is both. */
const MODULES = [
  { name: "core", file: "src/core/core.wasm", constant: "HITHER_WASM" },
  { name: "device-core", file: "src/core/device.wasm", constant: "HITHER_DEVICE_WASM", else: "HITHER_WASM" },
];
/** Parts of the pages' words whose English is in the page, while other languages are fetched. */
const WORDS = ["link", "give", "device", "visit"];
/** The asking element: one module for other people's sites. */
const ASK = { entry: "ask/src/index.ts", needs: "src/core/device/load.ts", place: "ask/src/place.ts" };
/** The page that has a core, and the script by which it begins to load it. */
const WITH_CORE = { name: "index", start: "src/core/start.ts" };
const COMPRESSED = new Set([".html", ".js", ".css", ".wasm", ".svg", ".webmanifest", ".json"]);

const TAGS = {
  script: (asset) => `<script type="module" src="${asset.url}" integrity="${asset.integrity}"></script>`,
  style: (asset) => `<link rel="stylesheet" href="${asset.url}" integrity="${asset.integrity}">`,
};

const digest = (kind, bytes, form) => createHash(kind).update(bytes).digest(form);

/**
 * Builds everything into `out`. `core` is a file that stands for the core of links, `devices` for that of devices
 * (tests), `ask` is the folder for the asking element. Returns sizes by file.
 */
export async function build({ out, core, devices, ask, minify = true }) {
  await rm(out, { recursive: true, force: true });
  await mkdir(join(out, "assets"), { recursive: true });
  const files = new Map();
  const put = (path, bytes) => files.set(path, Buffer.from(bytes));
  const asset = (stem, extension, bytes) => {
    const url = `/assets/${stem}-${digest("sha256", bytes, "hex").slice(0, 12).toUpperCase()}${extension}`;
    put(url.slice(1), bytes);
    return { url, integrity: `sha384-${digest("sha384", bytes, "base64")}` };
  };

  const define = {};
  for (const module of MODULES) {
    const there = existsSync(join(web, module.file)) && !core;
    const wasm = there ? asset(module.name, ".wasm", await readFile(join(web, module.file))) : { url: "", integrity: "" };
    const whole = there || !module.else;
    define[`${module.constant}_URL`] = whole ? JSON.stringify(wasm.url) : define[`${module.else}_URL`];
    define[`${module.constant}_INTEGRITY`] = whole ? JSON.stringify(wasm.integrity) : define[`${module.else}_INTEGRITY`];
  }
  for (const part of WORDS) {
    const words = {};
    for (const language of ["de", "zh"]) {
      const source = join(web, `src/i18n/${part}.${language}.json`);
      // Parsed and written anew: without what is there for people who edit it.
      if (existsSync(source)) words[language] = asset(`words-${part}-${language}`, ".json", JSON.stringify(JSON.parse(await readFile(source, "utf8"))));
    }
    define[`HITHER_${part.toUpperCase()}_WORDS`] = JSON.stringify(words);
  }
  const there = (path) => existsSync(join(web, path)) || (core && path === "src/core/load.ts") || (devices && path === "src/core/device/load.ts");
  const bundle = async (entry, inject = []) => {
    const result = await esbuild.build({
      absWorkingDir: web,
      entryPoints: [entry],
      outdir: "out",
      write: false,
      bundle: true,
      minify,
      format: "esm",
      target: ["es2022", "chrome110", "firefox115", "safari16.4"],
      jsx: "automatic",
      jsxImportSource: "preact",
      legalComments: "none",
      charset: "utf8",
      inject,
      // A name that a file stands for is no constant.
      define: Object.fromEntries(Object.entries(define).filter(([name]) => inject.length === 0 || !name.startsWith("HITHER_DEVICE_WASM"))),
      plugins: core || devices ? [instead_of_core(core, devices)] : [],
      logLevel: "warning",
    });
    return Object.fromEntries(result.outputFiles.map((file) => [extname(file.path), file.contents]));
  };

  for (const { name, entry, constant } of WORKERS) {
    define[constant] = '""';
    if (!existsSync(join(web, entry)) || ((core || devices) && name.endsWith("worker"))) continue;
    define[constant] = JSON.stringify(asset(name, ".js", (await bundle(entry))[".js"]).url);
  }
  const { url, integrity } = asset("qr", ".js", (await bundle("src/ui-kit/qr-code.ts"))[".js"]);
  define.HITHER_QR = JSON.stringify({ url, integrity });
  const pages = {};
  for (const { name, folder, needs } of PAGES) {
    const entry = join(folder, "main.tsx");
    if (!existsSync(join(web, entry)) || (needs && !there(needs))) continue;
    const built = await bundle(entry);
    const script = asset(name, ".js", built[".js"]);
    const style = asset(name, ".css", built[".css"]);
    const template = await readFile(join(web, folder, "page.html"), "utf8");
    const scripts = [TAGS.script(script)];
    pages[name] = [script.url, style.url];
    if (name === WITH_CORE.name && define.HITHER_WASM_URL !== '""') {
      const start = asset("start", ".js", (await bundle(WITH_CORE.start))[".js"]);
      scripts.unshift(TAGS.script(start));
      pages[name].push(start.url);
    }
    const html = template.replace("%STYLE%", TAGS.style(style)).replace("%SCRIPT%", scripts.join("\n"));
    if (/%[A-Z]+%/.test(html)) throw new Error(`${folder}/page.html: a place is left open`);
    put(`${name}.html`, html);
  }
  for (const folder of ["static", "static/icons"]) {
    if (!existsSync(join(web, folder))) continue;
    for (const entry of await readdir(join(web, folder), { withFileTypes: true })) {
      if (entry.isFile()) put(join(folder, entry.name).slice("static/".length), await readFile(join(web, folder, entry.name)));
    }
  }
  if (pages.index) {
    // The shell of the link page: what the service worker keeps. Its hash names the cache.
    const named = (pattern) => [...files.keys()].filter((path) => pattern.test(path)).map((path) => `/${path}`);
    const shell = [...pages.index, ...named(/^assets\/(worker|core|disk|qr|words-link-..)-/)].sort();
    const html = files.get("index.html");
    // Files of other pages are kept once they were loaded: a link's page does not fetch them.
    const later = named(/^assets\/(device|device-worker|device-core|visit|words-(give|device|visit)-..)-/).sort();
    define.HITHER_LATER = JSON.stringify(later);
    define.HITHER_SHELL = JSON.stringify(shell);
    define.HITHER_VERSION = JSON.stringify(digest("sha256", [...shell, ...later].join() + html, "hex").slice(0, 12));
    put("sw.js", (await bundle("sw/sw.ts"))[".js"]);
  }

  if (ask && there(ASK.needs)) await element(ask, bundle);

  const sizes = new Map();
  for (const [path, bytes] of [...files].sort(([a], [b]) => (a < b ? -1 : 1))) {
    await mkdir(dirname(join(out, path)), { recursive: true });
    await writeFile(join(out, path), bytes);
    const size = { raw: bytes.length, br: bytes.length, gz: bytes.length };
    if (COMPRESSED.has(extname(path))) {
      const br = brotliCompressSync(bytes, {
        params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length, [constants.BROTLI_PARAM_LGWIN]: 22 },
      });
      const gz = gzipSync(bytes, { level: 9 });
      gz[9] = 255; // The operating system that made it: unknown, whoever builds.
      await writeFile(join(out, `${path}.br`), br);
      await writeFile(join(out, `${path}.gz`), gz);
      size.br = br.length;
      size.gz = gz.length;
    }
    sizes.set(path, size);
  }
  return sizes;
}

/** The asking element with its module, as its package has them. */
async function element(out, bundle) {
  await mkdir(out, { recursive: true });
  await writeFile(join(out, "hither-ask.js"), (await bundle(ASK.entry, [join(web, ASK.place)]))[".js"]);
  await writeFile(join(out, "hither-ask.d.ts"), await readFile(join(web, "ask/src/hither-ask.d.ts")));
  const wasm = MODULES.map(({ file }) => join(web, file)).filter(existsSync).at(-1);
  if (wasm) await writeFile(join(out, "hither.wasm"), await readFile(wasm));
}

function instead_of_core(core, devices) {
  return {
    name: "instead-of-core",
    setup(build) {
      if (core) build.onResolve({ filter: /core\/load\.ts$/ }, () => ({ path: core }));
      if (devices) build.onResolve({ filter: /\/load-(device|asker)\.ts$/ }, () => ({ path: devices }));
    },
  };
}

/** The cost of each page at its first view, in bytes with brotli. */
export function first_views(sizes) {
  const sum = (patterns) => [...sizes].filter(([path]) => patterns.some((pattern) => pattern.test(path))).reduce((all, [, size]) => all + size.br, 0);
  const wasm = [...sizes.keys()].some((path) => /^assets\/device-core-/.test(path)) ? /^assets\/device-core-/ : /^assets\/core-/;
  return {
    "link, JS and CSS": sum([/^assets\/(index|start|worker)-/]),
    "link, with HTML and wasm": sum([/^index\.html$/, /^assets\/(index|start|worker|core)-/]),
    "device page, JS and CSS": sum([/^assets\/(device|device-worker)-[0-9A-F]/]),
    "device page, with HTML and wasm": sum([/^device\.html$/, /^assets\/(device|device-worker)-[0-9A-F]/, wasm]),
    "visitors' page, JS and CSS": sum([/^assets\/(visit|device-worker)-[0-9A-F]/]),
    "visitors' page, with HTML and wasm": sum([/^visit\.html$/, /^assets\/(visit|device-worker)-[0-9A-F]/, wasm]),
    "LAN page": sum([/^lan\.html$/, /^assets\/lan-/]),
    dashboard: sum([/^dashboard\.html$/, /^assets\/dashboard-/]),
  };
}

async function tree(folder) {
  if (!existsSync(folder)) return [];
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => relative(folder, join(entry.parentPath ?? entry.path, entry.name))).sort();
}

/** The files in which two builds differ. Compressed forms are compared by what they hold: another version of the compressor is no other build. */
export async function differences(a, b) {
  const opened = (path, bytes) => (path.endsWith(".br") ? brotliDecompressSync(bytes) : path.endsWith(".gz") ? gunzipSync(bytes) : bytes);
  const [in_a, in_b] = [new Set(await tree(a)), new Set(await tree(b))];
  const found = [];
  for (const path of new Set([...in_a, ...in_b])) {
    if (!in_a.has(path) || !in_b.has(path)) found.push(path);
    else if (!opened(path, await readFile(join(a, path))).equals(opened(path, await readFile(join(b, path))))) found.push(path);
  }
  return found.sort();
}

async function main() {
  const check = process.argv.includes("--check");
  const dist = join(web, "dist");
  const out = check ? await mkdtemp(join(tmpdir(), "hither-web-")) : dist;
  const sizes = await build({ out, ...(check ? {} : { ask: join(web, "ask/dist") }) });
  const column = (text) => String(text).padStart(9);
  console.log(`${column("bytes")}${column("br")}${column("gz")}  file`);
  for (const [path, size] of sizes) console.log(`${column(size.raw)}${column(size.br)}${column(size.gz)}  ${path}`);
  for (const [view, bytes] of Object.entries(first_views(sizes))) console.log(`${column(bytes)} bytes: first view, ${view}`);
  if (!check) return;
  const differ = await differences(out, dist);
  await rm(out, { recursive: true });
  if (differ.length > 0) {
    console.error(`dist/ is not what the sources give: ${differ.join(", ")}\nRun: npm run build`);
    process.exitCode = 1;
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
