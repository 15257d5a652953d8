/**
 * The pages' service worker: it turns what a tab decrypts into downloads and previews that the browser reads by
 * address, keeps the pages themselves for when the network is away, takes what other apps share with the installed
 * page, and shows a notification when the relay wakes this browser. Of content it keeps only what was shared so,
 * until the page takes it.
 */
import { keep_shared } from "../src/device/shared.ts";
import { attachment, GET, NOTICE_CACHE, NOTICE_WORDS, range_of, SHARE_TARGET, VIEW, type FromPage, type FromWorker, type Giving, type Hello, type ToWorker, type Wanted } from "../src/link/save/sw-protocol.ts";

/** The interfaces that are used here: TypeScript's own for workers and pages exclude each other. */
interface Client {
  readonly id: string;
  readonly url: string;
  readonly focused?: boolean;
  focus?(): Promise<unknown>;
  navigate?(url: string): Promise<unknown>;
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
  readonly clients: {
    claim(): Promise<void>;
    get(id: string): Promise<Client | undefined>;
    matchAll(options: { type: "window"; includeUncontrolled: boolean }): Promise<Client[]>;
    openWindow(url: string): Promise<unknown>;
  };
  readonly registration: { showNotification(title: string, options: NotificationOptions): Promise<void> };
  addEventListener(kind: "push", act: (event: Extendable) => void): void;
  addEventListener(kind: "notificationclick", act: (event: Extendable & { notification: Notification }) => void): void;
  addEventListener(kind: "install" | "activate", act: (event: Extendable) => void): void;
  addEventListener(kind: "fetch", act: (event: Fetching) => void): void;
  addEventListener(kind: "message", act: (event: Extendable & MessageEvent<ToWorker> & { source: Client | null }) => void): void;
}
const scope = self as unknown as Scope;

/** Tokens of the downloads that go through here. */
const giving = new Set<string>();

const CACHE = `hither-shell-${HITHER_VERSION}`;
const PAGE = "/l";
/** The page of a device: kept once it was opened. */
const DEVICE = "/";

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
  if (is_device_page(source.url)) event.waitUntil(keep_device());
  // A tab that was loaded past the worker (Shift and reload) is taken over as well.
  event.waitUntil(scope.clients.claim().then(() => ports[0]?.postMessage({ tab: source.id } satisfies Hello)));
});

scope.addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (url.origin !== scope.location.origin) return;
  if (request.method === "POST" && url.pathname === SHARE_TARGET) return event.respondWith(shared(request));
  if (request.method !== "GET") return;
  if (url.pathname.startsWith(GET) || url.pathname.startsWith(VIEW)) event.respondWith(content(request, url.pathname));
  else if (request.mode === "navigate" && url.pathname === PAGE) event.respondWith(page(request, PAGE, false));
  else if (request.mode === "navigate" && (url.pathname === DEVICE || url.pathname === "/p")) event.respondWith(page(request, DEVICE, true));
  else if (HITHER_SHELL.includes(url.pathname)) event.respondWith(kept(request, false));
  else if (HITHER_LATER.includes(url.pathname)) event.respondWith(kept(request, true));
});

/** The page as it is served now; the kept one when the network is away. `keep`: this one is kept for then. */
async function page(request: Request, path: string, keep: boolean): Promise<Response> {
  try {
    const answer = await fetch(request);
    if (keep && answer.ok) await (await caches.open(CACHE)).put(path, answer.clone()).catch(() => {});
    return answer;
  } catch (problem) {
    const kept = await caches.match(path, { cacheName: CACHE });
    if (kept) return kept;
    throw problem;
  }
}

/** Files that are named by their hash: the kept ones are the right ones. `keep`: others are kept from now on. */
async function kept(request: Request, keep: boolean): Promise<Response> {
  const found = await caches.match(request, { cacheName: CACHE });
  if (found) return found;
  const answer = await fetch(request);
  if (keep && answer.ok) await (await caches.open(CACHE)).put(request, answer.clone()).catch(() => {});
  return answer;
}

/** Keeps all of the device page, so that it begins without a network also after its first visit, which no worker saw. */
async function keep_device(): Promise<void> {
  const cache = await caches.open(CACHE);
  const missing: string[] = [];
  for (const path of [DEVICE, ...HITHER_LATER]) if (!(await cache.match(path))) missing.push(path);
  // Files that do not come now come another time.
  await cache.addAll(missing).catch(() => undefined);
}

/** Most files of another app that are taken at once. */
const SHARED_MOST = 1_000;

/** Keeps what another app shared, and leads to the page that sends it. */
async function shared(request: Request): Promise<Response> {
  try {
    const form = await request.formData();
    const words = ["title", "text", "url"].map((name) => form.get(name)).filter((word) => typeof word === "string" && word !== "");
    const files = form.getAll("files").filter((file): file is File => file instanceof File).slice(0, SHARED_MOST);
    await keep_shared({ text: [...new Set(words)].join("\n"), files, at: Date.now() });
  } catch {
    // The page says that there is nothing, when nothing could be kept.
  }
  return Response.redirect("/#shared", 303);
}

scope.addEventListener("push", (event) => {
  event.waitUntil(woken());
});

/** Says that something waits. The relay tells neither what nor from whom: it does not know. */
async function woken(): Promise<void> {
  const tabs = await scope.clients.matchAll({ type: "window", includeUncontrolled: true });
  // A person who looks at the page sees it there.
  if (tabs.some((tab) => tab.focused && is_device_page(tab.url))) return;
  const left = await caches.match(NOTICE_WORDS, { cacheName: NOTICE_CACHE }).then((words) => words?.json()).catch(() => undefined);
  const said = left as { title?: unknown; body?: unknown } | undefined;
  const title = typeof said?.title === "string" ? said.title : "Hither";
  const body = typeof said?.body === "string" ? said.body : "Something waits for you.";
  await scope.registration.showNotification(title, { body, tag: "hither", icon: "/icons/icon-192.png", badge: "/icons/icon-192.png" });
}

function is_device_page(url: string): boolean {
  const { origin, pathname } = new URL(url);
  return origin === scope.location.origin && (pathname === DEVICE || pathname === "/p");
}

scope.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(
    (async () => {
      const tabs = await scope.clients.matchAll({ type: "window", includeUncontrolled: true });
      const tab = tabs.find(({ url }) => is_device_page(url));
      if (tab?.focus) await tab.focus();
      else await scope.clients.openWindow("/#inbox");
    })(),
  );
});

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
