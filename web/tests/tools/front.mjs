// This build in front of a real relay: pages come from dist/, everything else from the relay, to which the page's own
// origin is the one that it is set up with.
import { createServer, request as ask } from "node:http";
import { connect } from "node:net";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { HEADERS, TYPES } from "../serve.mjs";

const PAGES = { "/": "device.html", "/p": "device.html", "/l": "index.html", "/i": "visit.html", "/a": "visit.html" };

/** `port` is that of the relay's plain HTTP, `origin` what it takes for its own. */
export async function serve_front({ dist, port, origin }) {
  const own = (headers) => (headers.origin === `http://${headers.host}` ? { ...headers, origin } : headers);
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, "http://x");
    const path = PAGES[pathname] ?? normalize(pathname).slice(1);
    if (!path.startsWith("..") && extname(path) && existsSync(join(dist, path))) {
      response.writeHead(200, { ...HEADERS, "Content-Type": TYPES[extname(path)] ?? "application/octet-stream" }).end(await readFile(join(dist, path)));
      return;
    }
    const passed = ask({ host: "127.0.0.1", port, path: request.url, method: request.method, headers: own(request.headers) }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    passed.on("error", () => response.destroy());
    request.pipe(passed);
  });
  server.on("upgrade", (request, socket, head) => {
    const relay = connect(port, "127.0.0.1", () => {
      const lines = Object.entries(own(request.headers)).map(([name, value]) => `${name}: ${value}\r\n`);
      relay.write(`GET ${request.url} HTTP/1.1\r\n${lines.join("")}\r\n`);
      relay.write(head);
      relay.pipe(socket);
      socket.pipe(relay);
    });
    for (const [one, other] of [[relay, socket], [socket, relay]]) one.on("error", () => other.destroy()).on("close", () => other.destroy());
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}
