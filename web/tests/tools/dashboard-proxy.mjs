// What a daemon will serve for its dashboard: the built pages, and the local API below /v1/, with the headers of
// the contract. A cookie authenticates, and what changes something must carry X-Hither-Dashboard. By hand:
//   node tests/tools/dashboard-proxy.mjs SOCKET [PORT]
import http from "node:http";
import { readFileSync, existsSync } from "node:fs";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { randomBytes } from "node:crypto";

export const DIST = fileURLToPath(new URL("../../dist", import.meta.url));
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".wasm": "application/wasm", ".png": "image/png", ".json": "application/json", ".webmanifest": "application/manifest+json" };

export function headers(origin) {
  return {
    "Content-Security-Policy": `default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self' ${origin}; worker-src 'self'; manifest-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'`,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
  };
}

/** Answers with a file of the build; false when there is none. */
export function serve_file(dist, path, answer, extra = {}) {
  const file = join(dist, normalize(path));
  if (!file.startsWith(dist) || !existsSync(file) || extname(file) === "") return false;
  answer.writeHead(200, { ...extra, "Content-Type": TYPES[extname(file)] ?? "application/octet-stream" });
  answer.end(readFileSync(file));
  return true;
}

export function problem(answer, status, code, message, hint = "") {
  answer.writeHead(status, { "Content-Type": "application/problem+json" });
  answer.end(JSON.stringify({ type: "about:blank", title: http.STATUS_CODES[status], status, detail: message, code, message, hint }));
}

/**
 * Serves a dashboard. `api(request, answer, body)` answers what is below /v1/. Gives the address of the one-time
 * link, every call that was made, and a way to end it.
 */
export async function serve_dashboard({ api, dist = DIST, port = 0 }) {
  const secret = randomBytes(16).toString("hex");
  const calls = [];
  const open = new Set();
  const server = http.createServer((request, answer) => {
    const origin = `http://127.0.0.1:${server.address().port}`;
    const url = new URL(request.url, origin);
    if (url.pathname === "/" || url.pathname === "/dashboard.html") {
      const cookie = url.searchParams.get("key") === secret ? { "Set-Cookie": `hither=${secret}; HttpOnly; SameSite=Strict; Path=/` } : {};
      return serve_file(dist, "dashboard.html", answer, { ...headers(origin), ...cookie });
    }
    if (!url.pathname.startsWith("/v1/")) return serve_file(dist, url.pathname, answer, headers(origin)) || problem(answer, 404, "not_found", "There is nothing here.");
    if (!request.headers.cookie?.includes(`hither=${secret}`)) return problem(answer, 401, "refused", "This browser is not signed in.", "Open the page with: hither ui");
    if (request.method !== "GET" && request.headers["x-hither-dashboard"] !== "1") return problem(answer, 403, "refused", "This request does not come from the dashboard.");
    let body = "";
    request.setEncoding("utf8");
    request.on("data", (part) => (body += part));
    request.on("end", () => {
      calls.push({ method: request.method, path: url.pathname + url.search, body: body === "" ? undefined : JSON.parse(body), header: request.headers["x-hither-dashboard"] });
      api(request, answer, body, url);
    });
    return undefined;
  });
  server.on("connection", (socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
  });
  await new Promise((ready) => server.listen(port, "127.0.0.1", ready));
  const origin = `http://127.0.0.1:${server.address().port}`;
  return {
    origin, calls, url: `${origin}/?key=${secret}`, port: server.address().port,
    async close() {
      for (const socket of open) socket.destroy();
      await new Promise((done) => server.close(done));
    },
  };
}

/** Passes calls on to the socket of a daemon. */
export function pass_on(socket) {
  return (request, answer, body) => {
    const on = http.request({ socketPath: socket, method: request.method, path: request.url, headers: body === "" ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(body) } }, (from) => {
      answer.writeHead(from.statusCode, { "Content-Type": from.headers["content-type"] ?? "application/json", "Cache-Control": "no-store" });
      from.on("error", () => answer.destroy());
      from.pipe(answer);
    });
    on.on("error", () => answer.destroy());
    answer.on("close", () => on.destroy());
    on.end(body);
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const served = await serve_dashboard({ api: pass_on(process.argv[2]), port: Number(process.argv[3] ?? 0) });
  console.log(served.url);
}
