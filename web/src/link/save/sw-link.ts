/** The page's side of the service worker: offers what it can read under an address. */
import { script_url } from "../../ui-kit/trusted.ts";
import { GET, VIEW, type FromPage, type FromWorker, type Giving, type Hello, type ToWorker, type Wanted } from "./sw-protocol.ts";

/** Bytes from `start` to `end` (exclusive), pulled one piece after another. */
export interface Giver {
  next(): Promise<Uint8Array | undefined>;
  cancel(): void;
}

export interface Offer {
  name: string;
  type: string;
  size: number;
  /** A download, or else a preview, which is read in parts and more than once. */
  attachment: boolean;
  give(start: number, end: number): Giver;
}

/** Pause between pings that keep the worker awake, in ms: browsers stop one after about 30 s without an event. */
const PING_MS = 10_000;

/** Time that the first installation may take before the page goes on without a worker, in ms. */
const READY_MS = 8_000;

export class ServiceLink {
  readonly #worker: ServiceWorker;
  readonly #tab: string;
  readonly #offers = new Map<string, Offer>();
  #giving = 0;
  #pinged = 0;
  /** Downloads that the worker pulls, by token. */
  readonly #pulled = new Map<string, Giver>();

  private constructor(worker: ServiceWorker, tab: string) {
    this.#worker = worker;
    this.#tab = tab;
    navigator.serviceWorker.addEventListener("message", ({ data, ports }: MessageEvent<Wanted>) => {
      const port = ports[0];
      if (data?.kind === "wanted" && port) this.#answer(data.token, port);
    });
    setInterval(() => this.#giving > 0 && this.ping(), PING_MS);
  }

  /** Registers the worker, which takes this tab over when it is greeted; undefined where there is none. */
  static async start(): Promise<ServiceLink | undefined> {
    if (!("serviceWorker" in navigator)) return undefined;
    try {
      await navigator.serviceWorker.register(script_url("/sw.js"), { scope: "/", updateViaCache: "none" });
      const worker = (await within(navigator.serviceWorker.ready, READY_MS))?.active;
      if (!worker) return undefined;
      const { port1, port2 } = new MessageChannel();
      const tab = new Promise<string>((resolve) => (port1.onmessage = ({ data }: MessageEvent<Hello>) => resolve(data.tab)));
      worker.postMessage({ kind: "hello" } satisfies ToWorker, [port2]);
      const id = await within(tab, READY_MS);
      return id === undefined ? undefined : new ServiceLink(worker, id);
    } catch {
      return undefined; // Forbidden by the browser's settings, or no HTTPS that it trusts.
    }
  }

  /** Makes an address for an offer; the second function takes it back. */
  offer(offer: Offer): [url: string, end: () => void] {
    const token = crypto.randomUUID();
    this.#offers.set(token, offer);
    const name = encodeURIComponent(offer.name);
    return [`${offer.attachment ? GET : VIEW}${this.#tab}/${token}/${name}`, () => void this.#offers.delete(token)];
  }

  ping(): void {
    this.#pinged = Date.now();
    const asked = [...this.#pulled];
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = ({ data }: MessageEvent<Giving>) => {
      port1.close();
      // The browser stopped the worker in between, and its download with it.
      for (const [token, giver] of asked) if (!data.tokens.includes(token) && this.#pulled.get(token) === giver) giver.cancel();
    };
    this.#worker.postMessage({ kind: "ping" } satisfies ToWorker, [port2]);
  }

  #answer(token: string, port: MessagePort): void {
    const offer = this.#offers.get(token);
    const say = (message: FromPage, transfer: Transferable[] = []) => port.postMessage(message, transfer);
    if (!offer) return say({ kind: "none" });
    let giver: Giver | undefined;
    const over = () => {
      if (!giver) return; // A worker that wants no more and a piece that fails say it both.
      giver = undefined;
      this.#giving -= 1;
      this.#pulled.delete(token);
    };
    port.onmessage = async ({ data }: MessageEvent<FromWorker>) => {
      if (data.kind === "part") {
        this.#giving += 1;
        giver = offer.give(data.start, data.end);
        if (offer.attachment) this.#pulled.set(token, giver);
      } else if (data.kind === "cancel") {
        giver?.cancel();
        port.close();
        over();
      } else if (giver) {
        // Timers of tabs in the background hardly run: what is pulled keeps the worker awake as well.
        if (Date.now() - this.#pinged > PING_MS) this.ping();
        try {
          const next = await giver.next();
          const bytes = next && owned(next);
          if (bytes) return say({ kind: "bytes", bytes }, [bytes.buffer]);
          say({ kind: "end" });
        } catch {
          say({ kind: "failed" });
        }
        over();
      }
    };
    say({ kind: "head", name: offer.name, type: offer.type, size: offer.size, attachment: offer.attachment });
  }
}

/** Bytes with a buffer of their own, which can be given away whole. */
export function owned(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const whole = bytes.byteLength === bytes.buffer.byteLength && bytes.buffer instanceof ArrayBuffer;
  return whole ? (bytes as Uint8Array<ArrayBuffer>) : bytes.slice();
}

async function within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<undefined>((resolve) => (timer = setTimeout(() => resolve(undefined), ms)));
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
