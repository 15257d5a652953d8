// Modules of the sources for tests in node.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import esbuild from "esbuild";

/** Compiles a source file with what it imports, and loads it. */
export async function compiled(source) {
  const folder = await mkdtemp(join(tmpdir(), "hither-web-test-"));
  const outfile = join(folder, "module.mjs");
  await esbuild.build({
    entryPoints: [fileURLToPath(new URL(`../${source}`, import.meta.url))],
    outfile,
    bundle: true,
    format: "esm",
    platform: "browser",
    jsx: "automatic",
    jsxImportSource: "preact",
    define: { HITHER_DISK_URL: '"/assets/disk-0.js"', HITHER_WORKER_URL: '""', HITHER_WASM_URL: '""', HITHER_WASM_INTEGRITY: '""', HITHER_LINK_WORDS: "{}", HITHER_GIVE_WORDS: "{}", HITHER_DEVICE_WORDS: "{}", HITHER_VISIT_WORDS: "{}", HITHER_QR: "{}" },
    logLevel: "warning",
  });
  const loaded = await import(pathToFileURL(outfile));
  await rm(folder, { recursive: true });
  return loaded;
}
