/**
 * The link page's service worker: it turns what a tab decrypts into downloads and previews that the browser
 * reads by address, and keeps the page itself for when the network is away. It never keeps content.
 */
import { attachment, GET, range_of, VIEW, type FromPage, type FromWorker, type Giving, type Hello, type ToWorker, type Wanted } from "../src/link/save/sw-protocol.ts";

/** The interfaces that are used here: TypeScript's own for workers and pages exclude each other. */
interface Client {
  readonly id: string;
  postMessage(message: unknown, transfer: Transferable[]): void;
}
interface Extendable extends Event {
  waitUntil(work: Promise<unknown>): void;
}
interface Fetching extends Extendable {
  readonly request: Request;
  respondWith(response: Response | Promise<Response>): void;
}
interface Scope {
  readonly location: Location;
  readonly clients: { claim(): Promise<void>; get(id: string): Promise<Client | undefined> };
  addEventListener(kind: "install" | "activate", act: (event: Extendable) => void): void;
  addEventListener(kind: "fetch", act: (event: Fetching) => void): void;
  addEventListener(kind: "message", act: (event: Extendable & MessageEvent<ToWorker> & { source: Client | null }) => void): void;
}
const scope = self as unknown as Scope;

/** Tokens of the downloads that go through here. */
const giving = new Set<string>();

const CACHE = `hither-shell-${HITHER_VERSION}`;
const PAGE = "/l";

scope.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll([PAGE, ...HITHER_SHELL])));
});

scope.addEventListener("activate", (event) => {
  event.waitUntil(
    (async () => {
      for (const name of await caches.keys()) if (name.startsWith("hither-shell-") && name !== CACHE) await caches.delete(name);
      await scope.clients.claim();
    })(),
  );
});

scope.addEventListener("message", (event) => {
  const { data, source, ports } = event;
  if (data.kind === "ping") ports[0]?.postMessage({ tokens: [...giving] } satisfies Giving);
  if (data.kind !== "hello" || !source) return;
  // A tab that was loaded past the worker (Shift and reload) is taken over as well.
  event.waitUntil(scope.clients.claim().then(() => ports[0]?.postMessage({ tab: source.id } satisfies Hello)));
});

scope.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (url.origin !== scope.location.origin || request.method !== "GET") return;
  if (url.pathname.startsWith(GET) || url.pathname.startsWith(VIEW)) event.respondWith(content(request, url.pathname));
  else if (request.mode === "navigate" && (url.pathname === PAGE || url.pathname === "/")) event.respondWith(page(request));
  else if (HITHER_SHELL.includes(url.pathname)) event.respondWith(kept(request));
});

/** The page as it is served now; the kept one when the network is away. */
async function page(request: Request): Promise<Response> {
  try {
    return await fetch(request);
  } catch (problem) {
    const kept = await caches.match(PAGE, { cacheName: CACHE });
    if (kept) return kept;
    throw problem;
  }
}

/** Files that are named by their hash: the kept ones are the right ones. */
async function kept(request: Request): Promise<Response> {
  return (await caches.match(request, { cacheName: CACHE })) ?? fetch(request);
}

/** Time that a tab may take to say what is behind an address, in ms. */
const HEAD_MS = 20_000;

async function content(request: Request, path: string): Promise<Response> {
  const [, kind, tab = "", token = ""] = path.split("/");
  const client = await scope.clients.get(tab);
  if (!client) return plain(410, "The tab that this came from is closed.");
  const { port1: port, port2 } = new MessageChannel();
  const first = new Promise<FromPage>((resolve) => {
    port.onmessage = ({ data }: MessageEvent<FromPage>) => resolve(data);
    setTimeout(() => resolve({ kind: "none" }), HEAD_MS);
  });
  client.postMessage({ kind: "wanted", token } satisfies Wanted, [port2]);
  const head = await first;
  if (head.kind !== "head") return plain(404, "There is nothing here any more.");
  const range = kind === "~view" ? range_of(request.headers.get("range"), head.size) : undefined;
  if (range === null) return plain(416, "", { "Content-Range": `bytes */${head.size}` });
  const [start, end] = range ?? [0, head.size];
  const headers: Record<string, string> = {
    "Content-Type": head.type,
    "Content-Length": String(end - start),
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
  };
  if (head.attachment) headers["Content-Disposition"] = attachment(head.name);
  else headers["Accept-Ranges"] = "bytes";
  // Nothing runs, should a picture be opened as a page of its own. Viewers of PDF refuse to start with it,
  // and they run nothing on this origin.
  if (head.type !== "application/pdf") headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src 'self'; sandbox";
  if (range) headers["Content-Range"] = `bytes ${start}-${end - 1}/${head.size}`;
  // Before the tab is told, so that it never believes in what is not here.
  if (head.attachment) giving.add(token);
  say(port, { kind: "part", start, end });
  return new Response(stream_of(port, () => giving.delete(token)), { status: range ? 206 : 200, headers });
}

function say(port: MessagePort, message: FromWorker): void {
  port.postMessage(message);
}

/** The bytes that a tab gives on a port, one piece for each that is pulled. */
function stream_of(port: MessagePort, ended: () => void): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        return new Promise<void>((resolve) => {
          port.onmessage = ({ data }: MessageEvent<FromPage>) => {
            if (data.kind === "bytes") controller.enqueue(data.bytes);
            else if (data.kind === "end") controller.close();
            else controller.error(new Error("the tab gives no more"));
            if (data.kind !== "bytes") {
              ended();
              port.close();
            }
            resolve();
          };
          say(port, { kind: "pull" });
        });
      },
      cancel() {
        ended();
        say(port, { kind: "cancel" });
        port.close();
      },
    },
    { highWaterMark: 2 },
  );
}

function plain(status: number, text: string, headers: Record<string, string> = {}): Response {
  return new Response(text, { status, headers: { "Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store", ...headers } });
}
