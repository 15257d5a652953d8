// A site with one form that has `<hither-ask>` in it: it answers with what the form sent. For tests and to look at.
//   node server.mjs [--port N] [--relay https://relay.example.org] [--ask FOLDER]
// The folder has what `npm run build` makes of the element (../dist).
import { createServer } from "node:http";
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { join } from "node:path";

const here = fileURLToPath(new URL(".", import.meta.url));
const TYPES = { js: "text/javascript; charset=utf-8", wasm: "application/wasm", css: "text/css; charset=utf-8", html: "text/html; charset=utf-8" };
/** Largest form that is taken, bytes. */
const MOST = 1 << 30;

/** The strictest policy that the element works with. */
export function policy(relay) {
  const { host, protocol } = new URL(relay);
  const socket = `${protocol === "https:" ? "wss" : "ws"}://${host}`;
  return ["default-src 'none'", "script-src 'self' 'wasm-unsafe-eval'", "style-src 'self'", `connect-src 'self' ${relay} ${socket}`, "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"].join("; ");
}

async function form_of(request) {
  const parts = [];
  let size = 0;
  for await (const part of request) {
    size += part.length;
    if (size > MOST) throw new Error("the form is too large");
    parts.push(part);
  }
  return new Response(Buffer.concat(parts), { headers: { "Content-Type": request.headers["content-type"] ?? "" } }).formData();
}

async function echo(request) {
  const fields = [];
  for (const [name, value] of await form_of(request)) {
    if (typeof value === "string") fields.push({ name, value });
    else fields.push({ name, file: value.name, type: value.type, bytes: value.size, sha256: createHash("sha256").update(Buffer.from(await value.arrayBuffer())).digest("hex") });
  }
  return fields;
}

/** Serves the example on 127.0.0.1; `relay` is where the element asks, `ask` the folder of the element. */
export async function serve_example({ relay, ask = join(here, "../dist"), port = 0, host = "127.0.0.1" }) {
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://x");
    const send = (status, type, body) => response.writeHead(status, { "Content-Type": type, "Content-Security-Policy": policy(relay), "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store" }).end(body);
    try {
      if (request.method === "POST" && pathname === "/echo") return send(200, "application/json", JSON.stringify(await echo(request), undefined, 1));
      const files = { "/": [here, "index.html"], "/example.css": [here, "example.css"], "/hither-ask/hither-ask.js": [ask, "hither-ask.js"], "/hither-ask/hither.wasm": [ask, "hither.wasm"] };
      const [folder, file] = files[pathname] ?? [];
      if (!file) return send(404, "text/plain", "not found\n");
      const bytes = await readFile(join(folder, file));
      send(200, TYPES[file.split(".").at(-1)], file.endsWith(".html") ? bytes.toString().replaceAll("%RELAY%", relay) : bytes);
    } catch (problem) {
      send(500, "text/plain", `${problem.message}\n`);
    }
  });
  await new Promise((resolve) => server.listen(port, host, resolve));
  return {
    origin: `http://${host}:${server.address().port}`,
    close: () => new Promise((resolve) => {
      server.closeAllConnections();
      server.close(resolve);
    }),
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const option = (name, otherwise) => (process.argv.includes(name) ? process.argv[process.argv.indexOf(name) + 1] : otherwise);
  const served = await serve_example({ relay: option("--relay", "https://relay.example.org"), port: Number(option("--port", "0")), ask: option("--ask", join(here, "../dist")) });
  console.log(served.origin);
}
