// Serves what a daemon does for its dashboard: the built pages and the local API below /v1/, with the daemon's headers.
// The code of the address gives a session, whose secret every call carries in X-Hither-Dashboard. By hand:
//   node tests/tools/dashboard-proxy.mjs SOCKET [PORT]
import http from "node:http";
import { readFileSync, existsSync } from "node:fs";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { randomBytes } from "node:crypto";

export const DIST = fileURLToPath(new URL("../../dist", import.meta.url));
const TYPES = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".wasm": "application/wasm", ".png": "image/png", ".json": "application/json", ".webmanifest": "application/manifest+json" };

/** The headers of daemon/src/browser/headers.rs. */
export const HEADERS = {
  "Content-Security-Policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; connect-src 'self'; font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
  "Referrer-Policy": "no-referrer",
  "X-Content-Type-Options": "nosniff",
  "Cache-Control": "no-store",
  "Cross-Origin-Resource-Policy": "same-origin",
};

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
  const [code, session] = [randomBytes(16).toString("hex"), randomBytes(16).toString("hex")];
  let spent = false;
  const calls = [];
  const open = new Set();
  const refused = (answer) => problem(answer, 403, "refused", "This page has no session (any more).", "Open the dashboard again: hither ui");
  const served = { calls, session, refuse: false };
  const server = http.createServer((request, answer) => {
    const url = new URL(request.url, served.origin);
    let body = "";
    request.setEncoding("utf8");
    request.on("data", (part) => (body += part));
    request.on("end", () => {
      if (url.pathname === "/") return serve_file(dist, "dashboard.html", answer, HEADERS);
      if (url.pathname === "/session") {
        if (spent || JSON.parse(body).code !== code) return refused(answer);
        spent = true;
        answer.writeHead(200, { "Content-Type": "application/json" });
        return answer.end(JSON.stringify({ session }));
      }
      if (!url.pathname.startsWith("/v1/")) return serve_file(dist, url.pathname, answer, HEADERS) || problem(answer, 404, "not_found", "There is nothing here.");
      if (served.refuse || request.headers["x-hither-dashboard"] !== session) return refused(answer);
      calls.push({ method: request.method, path: url.pathname + url.search, body: body === "" ? undefined : JSON.parse(body) });
      return api(request, answer, body, url);
    });
  });
  server.on("connection", (socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
  });
  await new Promise((ready) => server.listen(port, "127.0.0.1", ready));
  served.port = server.address().port;
  served.origin = `http://127.0.0.1:${served.port}`;
  served.url = `${served.origin}/#open=${code}`;
  served.close = async () => {
    for (const socket of open) socket.destroy();
    await new Promise((done) => server.close(done));
  };
  return served;
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
