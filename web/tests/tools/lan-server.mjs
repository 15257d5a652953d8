// Serves what a daemon does on its network (daemon/src/page/), over made-up shares: for tests, and by hand:
//   node tests/tools/lan-server.mjs [PORT]
import http from "node:http";
import { crc32, deflateSync } from "node:zlib";
import { fileURLToPath } from "node:url";
import { DIST, HEADERS, problem, serve_file } from "./dashboard-proxy.mjs";

export const TOKEN = "k3v9q0x7m2";

/** A picture of a sky over the sea, as PNG. */
function picture(width, height, sky, sea) {
  const rows = Buffer.alloc((width * 3 + 1) * height);
  for (let y = 0; y < height; y += 1) {
    const [from, far] = y < height * 0.6 ? [sky, y / (height * 0.6)] : [sea, (y - height * 0.6) / (height * 0.4)];
    for (let x = 0; x < width; x += 1) for (let c = 0; c < 3; c += 1) rows[y * (width * 3 + 1) + 1 + x * 3 + c] = Math.round(from[0][c] + (from[1][c] - from[0][c]) * far);
  }
  const chunk = (kind, data) => {
    const body = Buffer.concat([Buffer.from(kind), data]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, sum]);
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2, 0, 0, 0], 8);
  return Buffer.concat([Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]), chunk("IHDR", head), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

const BEACH = picture(960, 540, [[96, 165, 220], [250, 228, 190]], [[40, 120, 150], [16, 62, 98]]);
const SUNSET = picture(960, 540, [[70, 40, 110], [255, 150, 80]], [[120, 60, 90], [30, 20, 60]]);

const file = (path, bytes, modified_ms = 1796053505000) => ({ path, kind: "file", bytes: Buffer.from(bytes), modified_ms });
const folder = (...path) => ({ path, kind: "folder", bytes: Buffer.alloc(0), modified_ms: 1796053505000 });

/** Shares by id, each with its entries depth first, the share's own name first in every path. */
export function some_shares() {
  return {
    "19213b751d4785cd60f5f2638fea5433": [folder("holiday"), file(["holiday", "beach.png"], BEACH), folder("holiday", "notes"), file(["holiday", "notes", "plan.txt"], "ferry at nine\nhotel: Anchor\n"), file(["holiday", "notes", "packing.md"], "# Packing\n\n- sun hat\n"), file(["holiday", "sunset.png"], SUNSET), file(["holiday", "video.mkv"], Buffer.alloc(3_500_000))],
    "4e657656d530ab58ac2f60c92cb7637a": [file(["report.pdf"], Buffer.alloc(184_000))],
    "5185a22ebd89965847b48545dc82f783": [file(["long.log"], "a line of the log\n".repeat(40_000))],
  };
}

const TYPES = { png: "image/png", txt: "text/plain; charset=utf-8", md: "text/plain; charset=utf-8", log: "text/plain; charset=utf-8" };

/**
 * Serves the page. What it gives can be changed while it runs: `ended`, `expires_s`, `may_upload`, `shares`,
 * `refuse_upload` (a function of a name that gives [status, code, message] or nothing), `slow` (uploads wait for
 * `release()`). `uploads`, `texts` and `seen` have what came.
 */
export async function serve_lan({ port = 0, host = "127.0.0.1", dist = DIST, shares = some_shares(), device = "desk" } = {}) {
  const served = { ended: false, expires_s: 3540, may_upload: true, shares, device, uploads: [], texts: [], seen: [], refuse_upload: () => undefined, slow: false, waiting: [] };
  served.release = () => {
    served.slow = false;
    for (const go of served.waiting.splice(0)) go();
  };
  const open = new Set();
  const json = (answer, status, value) => {
    answer.writeHead(status, { ...HEADERS, "Content-Type": "application/json" });
    answer.end(JSON.stringify(value));
  };
  const give = (request, answer, one, inline) => {
    const name = one.path.at(-1);
    const shown = inline ? TYPES[name.split(".").pop()] : undefined;
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
    const [from, to] = range ? [Number(range[1]), range[2] === "" ? one.bytes.length - 1 : Math.min(Number(range[2]), one.bytes.length - 1)] : [0, one.bytes.length - 1];
    answer.writeHead(range ? 206 : 200, {
      ...HEADERS, "Accept-Ranges": "bytes", "Content-Type": shown ?? "application/octet-stream", "Content-Length": to - from + 1,
      "Content-Disposition": `${shown ? "inline" : "attachment"}; filename*=UTF-8''${encodeURIComponent(name)}`, "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; media-src 'self'; img-src 'self'",
      ...(range ? { "Content-Range": `bytes ${from}-${to}/${one.bytes.length}` } : {}),
    });
    answer.end(one.bytes.subarray(from, to + 1));
  };
  const server = http.createServer((request, answer) => {
    const url = new URL(request.url, served.origin);
    served.seen.push(`${request.method} ${url.pathname}${url.search}`);
    const here = `/p/${TOKEN}/`;
    if (url.pathname === here) return serve_file(dist, "lan.html", answer, HEADERS);
    if (!url.pathname.startsWith(here)) return serve_file(dist, url.pathname, answer, HEADERS) || problem(answer, 404, "not_found", "There is nothing here.");
    if (served.ended) return problem(answer, 404, "not_found", "This page has ended.", "Whoever opened it can open another: hither page");
    const [what, id, index] = url.pathname.slice(here.length).split("/");
    const entries = served.shares[what === "api" ? index : id];
    if (what === "files" || what === "zip" || id === "shares") {
      if (!entries) return problem(answer, 404, "not_found", "That share is not here (any more).", "Look at this page anew.");
      if (what === "files") return give(request, answer, entries[Number(index)], url.searchParams.has("inline"));
      if (what === "zip") {
        answer.writeHead(200, { ...HEADERS, "Content-Type": "application/zip", "Content-Disposition": `attachment; filename*=UTF-8''${encodeURIComponent(entries[Number(url.searchParams.get("entry") ?? 0)].path.at(-1))}.zip` });
        return answer.end("PK");
      }
      return json(answer, 200, { name: entries[0].path[0], entries: entries.map(({ path, kind, bytes, modified_ms }, at) => ({ index: at, path, kind, size: bytes.length, modified_ms })) });
    }
    if (id === "page") {
      const list = Object.entries(served.shares).map(([share, of]) => ({ id: share, name: of[0].path[0], kind: of[0].kind, size: of.reduce((sum, one) => sum + one.bytes.length, 0), files: of.filter((one) => one.kind === "file").length }));
      return json(answer, 200, { device: served.device, expires_s: served.expires_s, may_upload: served.may_upload, shares: list });
    }
    const parts = [];
    request.on("data", (part) => parts.push(part));
    request.on("end", async () => {
      if (served.slow) await new Promise((go) => served.waiting.push(go));
      const bytes = Buffer.concat(parts);
      if (id === "text") {
        served.texts.push(bytes.toString());
        answer.writeHead(201, HEADERS);
        return answer.end();
      }
      const name = url.searchParams.get("name");
      const refused = served.refuse_upload(name);
      if (refused) return problem(answer, ...refused);
      const kept = served.uploads.some((one) => one.name === name) ? name.replace(/(\.\w+)?$/, " (2)$1") : name;
      served.uploads.push({ name: kept, size: bytes.length });
      return json(answer, 201, { name: kept, size: bytes.length });
    });
    return undefined;
  });
  server.on("connection", (socket) => {
    open.add(socket);
    socket.on("close", () => open.delete(socket));
  });
  await new Promise((ready) => server.listen(port, host, ready));
  served.origin = `http://${host === "0.0.0.0" ? "127.0.0.1" : host}:${server.address().port}`;
  served.url = `${served.origin}/p/${TOKEN}/`;
  served.close = async () => {
    for (const socket of open) socket.destroy();
    await new Promise((done) => server.close(done));
  };
  return served;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log((await serve_lan({ port: Number(process.argv[2] ?? 0) })).url);
