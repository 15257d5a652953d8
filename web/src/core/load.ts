/** The page's side of the core: promises and streams around messages to its worker. */

import { script_url } from "../ui-kit/trusted.ts";
import { type Core, CoreError, type Entry, type OpenShare, type Source } from "./api.ts";
import type { FromWorker, ToWorker } from "./messages.ts";
import type { Started } from "./start.ts";
import { type Opened, WHOLE_SHARE } from "./wire.ts";

/** The parts of a worker that are used. */
export interface Port {
  postMessage(message: ToWorker): void;
  onmessage: ((event: MessageEvent<FromWorker>) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;
}

/** A file that is being read. */
class Reading {
  #controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  #queue: Uint8Array[] = [];
  #ended = false;
  #over = false;
  #pulled: (() => void) | undefined;
  readonly stream: ReadableStream<Uint8Array>;

  constructor(taken: (bytes: number) => void, stop: () => void) {
    this.stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: async () => {
          while (this.#queue.length === 0 && !this.#ended && !this.#over) {
            await new Promise<void>((resolve) => (this.#pulled = resolve));
          }
          const next = this.#queue.shift();
          if (next && !this.#over) {
            this.#controller?.enqueue(next);
            taken(next.length);
          }
          if (this.#ended && this.#queue.length === 0 && !this.#over) {
            this.#over = true;
            this.#controller?.close();
          }
        },
        cancel: () => {
          this.#stop();
          stop();
        },
      },
      // Bytes that were not asked for wait here, and the core does not read on.
      { highWaterMark: 0 },
    );
  }

  #stop(): void {
    this.#over = true;
    this.#queue = [];
    this.#wake();
  }

  #wake(): void {
    this.#pulled?.();
    this.#pulled = undefined;
  }

  bytes(bytes: Uint8Array): void {
    if (this.#over) return;
    this.#queue.push(bytes);
    this.#wake();
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  fail(error: CoreError): void {
    if (this.#over) return;
    this.#stop();
    this.#controller?.error(error);
  }
}

/** A share that is open. */
class Share implements OpenShare {
  readonly id: string;
  readonly owner: string;
  readonly name: string;
  readonly version: number;
  readonly published_ms: number;
  readonly size: number;
  readonly entries: Entry[];
  readonly #readings = new Map<number, Reading>();
  readonly #listeners = new Set<() => void>();
  readonly #tell: (message: ToWorker) => void;
  readonly #number: number;
  readonly #forget: () => void;
  #sources: Source[];
  #next = 1;
  #failure: CoreError | undefined;

  constructor(opened: Opened, sources: Source[], tell: (message: ToWorker) => void, forget: () => void) {
    this.id = opened.id;
    this.owner = opened.owner;
    this.name = opened.entries[0]?.path[0] ?? "";
    this.version = opened.version;
    this.published_ms = opened.published_ms;
    this.size = opened.size;
    this.entries = opened.entries;
    this.#number = opened.share;
    this.#sources = sources;
    this.#tell = tell;
    this.#forget = forget;
  }

  read(entry: Entry, offset = 0, signal?: AbortSignal): ReadableStream<Uint8Array> {
    const [share, reading] = [this.#number, this.#next++];
    const stop = () => {
      if (this.#readings.delete(reading)) this.#tell({ kind: "read_no_more", share, reading });
    };
    const taken = (bytes: number) => this.#tell({ kind: "taken", share, reading, bytes });
    const made = new Reading(taken, stop);
    const failure = signal?.aborted ? aborted() : this.#failure;
    if (failure) {
      made.fail(failure);
      return made.stream;
    }
    this.#readings.set(reading, made);
    signal?.addEventListener(
      "abort",
      () => {
        made.fail(aborted());
        stop();
      },
      { once: true },
    );
    this.#tell({ kind: "read", share, reading, entry: entry.index, offset });
    return made.stream;
  }

  sources(): Source[] {
    return this.#sources;
  }

  onchange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    if (this.#failure) return;
    this.fail(aborted());
    this.#tell({ kind: "close", share: this.#number });
    this.#forget();
  }

  hear(message: FromWorker & { kind: "bytes" | "end" | "failed" | "sources" }): void {
    switch (message.kind) {
      case "bytes":
        return this.#readings.get(message.reading)?.bytes(message.bytes);
      case "end":
        this.#readings.get(message.reading)?.end();
        this.#readings.delete(message.reading);
        return;
      case "failed":
        this.#readings.get(message.reading)?.fail(error_of(message));
        this.#readings.delete(message.reading);
        return;
      case "sources":
        this.#sources = message.sources;
        for (const listener of this.#listeners) listener();
    }
  }

  fail(error: CoreError): void {
    this.#failure ??= error;
    for (const reading of this.#readings.values()) reading.fail(error);
    this.#readings.clear();
  }
}

function error_of(failed: { code: string; message: string; retry_after_ms: number }): CoreError {
  return new CoreError(failed.code, failed.message, failed.retry_after_ms > 0 ? failed.retry_after_ms : undefined);
}

function aborted(): CoreError {
  return new CoreError("aborted", "the page does not read on");
}

interface Opening {
  resolve(share: OpenShare): void;
  reject(error: CoreError): void;
  sources: Source[];
}

/** The core behind a port to its worker. */
export class RemoteCore implements Core {
  device_id = "";
  readonly #port: Port;
  readonly #openings = new Map<number, Opening>();
  readonly #shares = new Map<number, Share>();
  #next = 1;
  #broken: CoreError | undefined;
  #started: ((core: Core) => void) | undefined;
  #not_started: ((error: CoreError) => void) | undefined;

  private constructor(port: Port) {
    this.#port = port;
    port.onmessage = ({ data }) => this.#hear(data);
    port.onerror = (event) => this.#break(new CoreError("unreachable", event.message));
  }

  static start(port: Port): Promise<Core> {
    const core = new RemoteCore(port);
    return new Promise((resolve, reject) => {
      core.#started = resolve;
      core.#not_started = reject;
    });
  }

  /** The network, or the page, is back. */
  back(): void {
    this.#port.postMessage({ kind: "back" });
  }

  open(ticket: string, options: { signal?: AbortSignal } = {}): Promise<OpenShare> {
    const { signal } = options;
    if (this.#broken) return Promise.reject(this.#broken);
    if (signal?.aborted) return Promise.reject(aborted());
    const share = this.#next++;
    return new Promise((resolve, reject) => {
      this.#openings.set(share, { resolve, reject, sources: [] });
      signal?.addEventListener(
        "abort",
        () => {
          if (!this.#openings.delete(share)) return;
          this.#port.postMessage({ kind: "close", share });
          reject(aborted());
        },
        { once: true },
      );
      this.#port.postMessage({ kind: "open", share, ticket });
    });
  }

  #hear(message: FromWorker): void {
    switch (message.kind) {
      case "started":
        this.device_id = message.device;
        this.#started?.(this);
        return;
      case "broken":
        return this.#break(new CoreError(message.code, message.message));
      case "opened": {
        const number = message.opened.share;
        const opening = this.#openings.get(number);
        if (!opening) return;
        this.#openings.delete(number);
        const tell = (said: ToWorker) => this.#port.postMessage(said);
        const share = new Share(message.opened, opening.sources, tell, () => this.#shares.delete(number));
        this.#shares.set(number, share);
        opening.resolve(share);
        return;
      }
      case "failed":
        if (message.reading === WHOLE_SHARE) return this.#fail(message.share, error_of(message));
        break;
      case "sources": {
        const opening = this.#openings.get(message.share);
        if (opening) opening.sources = message.sources;
        break;
      }
    }
    this.#shares.get(message.share)?.hear(message);
  }

  #fail(number: number, error: CoreError): void {
    this.#openings.get(number)?.reject(error);
    this.#openings.delete(number);
    this.#shares.get(number)?.fail(error);
    this.#shares.delete(number);
  }

  #break(error: CoreError): void {
    this.#broken ??= error;
    this.#not_started?.(error);
    for (const number of [...this.#openings.keys(), ...this.#shares.keys()]) this.#fail(number, error);
  }
}

let loaded: Promise<Core> | undefined;

/** The core of this page: one for all its shares. The device's key is made once and kept by the browser. */
export function load_core(): Promise<Core> {
  loaded ??= begin();
  return loaded;
}

async function begin(): Promise<Core> {
  const { worker, said } = (globalThis as { hither_started?: Started }).hither_started ?? { worker: new Worker(script_url(HITHER_WORKER_URL), { type: "module" }), said: [] };
  const started = RemoteCore.start(worker as Port);
  for (const data of said) worker.onmessage?.({ data } as MessageEvent<FromWorker>);
  const core = (await started) as RemoteCore;
  addEventListener("online", () => core.back());
  addEventListener("pageshow", () => core.back());
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") core.back();
  });
  return core;
}
