// A server of dist/ with the headers and the policy that relay and daemon send, for tests.
//   node tests/serve.mjs [--port N]        builds the relay's pages with fake cores and serves them
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { existsSync, rmSync } from "node:fs";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "../build.mjs";

const tests = fileURLToPath(new URL(".", import.meta.url));

export const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".wasm": "application/wasm",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".webmanifest": "application/manifest+json",
};

export const POLICY = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "style-src 'self'",
  "img-src 'self' blob: data:",
  "media-src 'self' blob:",
  "connect-src 'self'",
  "worker-src 'self'",
  "manifest-src 'self'",
  "font-src 'self'",
  "frame-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
].join("; ");

export const HEADERS = {
  "Content-Security-Policy": POLICY,
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
  "Cross-Origin-Opener-Policy": "same-origin",
};

/**
 * Serves `dist` on 127.0.0.1. `answer(request, response, url)` comes first and returns true for what it
 * answered; `names` maps further paths to files of dist. `host` is the name in the address: 127.0.0.1 and
 * localhost are secure contexts to browsers, other names over http are not.
 */
export async function serve({ dist, answer, names = {}, port = 0, host = "127.0.0.1" }) {
  const paths = { "/": "device.html", "/p": "device.html", "/l": "index.html", "/i": "visit.html", "/a": "visit.html", ...names };
  const seen = [];
  const server = createServer(async (request, response) => {
    try {
      const url = new URL(request.url, "http://x");
      seen.push(`${request.method} ${request.url}`);
      if (await answer?.(request, response, url)) return;
      const path = paths[url.pathname] ?? normalize(url.pathname).slice(1);
      const file = join(dist, path);
      if (path.startsWith("..") || !extname(file) || !existsSync(file)) {
        response.writeHead(404, { "Content-Type": "text/plain", ...HEADERS }).end("not found\n");
        return;
      }
      const packed = /\bbr\b/.test(request.headers["accept-encoding"] ?? "") && existsSync(`${file}.br`);
      response.writeHead(200, {
        ...HEADERS,
        "Content-Type": TYPES[extname(file)] ?? "application/octet-stream",
        "Cache-Control": path.startsWith("assets/") ? "public, max-age=31536000, immutable" : "no-cache",
        ...(packed ? { "Content-Encoding": "br", Vary: "Accept-Encoding" } : {}),
      });
      response.end(await readFile(packed ? `${file}.br` : file));
    } catch (problem) {
      response.destroy(problem);
    }
  });
  await new Promise((resolve) => server.listen(port, "0.0.0.0", resolve));
  const origin = `http://${host}:${server.address().port}`;
  return {
    origin,
    port: server.address().port,
    seen,
    close: () => new Promise((resolve) => {
      server.closeAllConnections();
      server.close(resolve);
    }),
  };
}

/** Builds the pages, with the fake core in the place of the real one, once for all tests of a process. */
let built;
export function test_build() {
  built ??= (async () => {
    // One for each process: two of them may run at once.
    const out = join(tests, ".build", String(process.pid));
    process.on("exit", () => rmSync(out, { recursive: true, force: true }));
    await build({ out, core: join(tests, "fake-core.ts"), devices: join(tests, "fake-device.ts"), ask: join(out, "ask") });
    return out;
  })();
  return built;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const at = process.argv.indexOf("--port");
  const server = await serve({ dist: await test_build(), port: at < 0 ? 0 : Number(process.argv[at + 1]) });
  for (const path of ["l#fake", "", "p#hither-pair1qqqq", "i#hither-inbox1qqqq", "a#hither-ask1qqqq"]) console.log(`${server.origin}/${path}`);
}
