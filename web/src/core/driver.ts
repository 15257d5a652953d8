/** Carries out what the module wants, with the means that it is given: those of a worker, or of a test. */

import { type Opened, type Output, Input, input, outputs } from "./wire.ts";
import type { Source } from "./api.ts";
import { Body, Buffers } from "./buffers.ts";

/** Longest binary message of a byte pipe. */
const MAX_MESSAGE = 64 * 1024;
const NONCE = new Uint8Array(12);
/** Time for which a request may bring nothing. */
const SILENCE_MS = 20_000;

/** A byte pipe to a relay. */
export interface Pipe {
  send(bytes: Uint8Array<ArrayBuffer>): void;
  close(): void;
}

export interface PipeEvents {
  opened(): void;
  bytes(bytes: Uint8Array): void;
  closed(): void;
}

/** Everything that the module cannot do itself. */
export interface Means {
  /** Milliseconds; never goes back. */
  now(): number;
  random(bytes: Uint8Array<ArrayBuffer>): void;
  open_pipe(endpoint: number, events: PipeEvents): Pipe;
  get(endpoint: number, path: string, signal: AbortSignal): Promise<Response>;
  /** WebCrypto; there is none on pages without a secure origin. */
  subtle: SubtleCrypto | undefined;
  /** The reports of a device's module. */
  event?(json: string, bytes: Uint8Array<ArrayBuffer>): void;
}

/** Reports to the page about its shares. */
export type Report =
  | { kind: "started"; device: string }
  | { kind: "opened"; opened: Opened }
  | { kind: "bytes"; share: number; reading: number; bytes: Uint8Array<ArrayBuffer> }
  | { kind: "end"; share: number; reading: number }
  | { kind: "failed"; share: number; reading: number; code: string; retry_after_ms: number; message: string }
  | { kind: "sources"; share: number; sources: Source[] };

interface Exports {
  memory: WebAssembly.Memory;
  hither_buffer(length: number): number;
  hither_handle(now_ms: number): number;
  hither_output(): number;
}

/** The opening of one file that is being read: what was handed out is opened one after the other, and reported in order. */
interface Opening {
  last: Promise<void>;
}

export class Driver {
  #exports: Exports | undefined;
  readonly #means: Means;
  readonly #report: (report: Report) => void;
  readonly #pipes = new Map<number, Pipe>();
  readonly #gets = new Map<number, AbortController>();
  readonly #openings = new Map<string, Opening>();
  readonly #buffers = new Buffers();
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Inputs that came while another one was carried out. */
  #waiting: Input[] | undefined;

  constructor(means: Means, report: (report: Report) => void) {
    this.#means = means;
    this.#report = report;
  }

  /** Starts the module as the device with this key. */
  async start(module: WebAssembly.Module | Promise<WebAssembly.Module>, seed: Uint8Array): Promise<void> {
    const random = (to: number, length: number): number => {
      try {
        // Not every source fills a view of the module's own memory.
        const bytes = new Uint8Array(length);
        this.#means.random(bytes);
        new Uint8Array(this.#memory().buffer, to, length).set(bytes);
        return 0;
      } catch {
        return 1;
      }
    };
    const instance = await WebAssembly.instantiate(await module, { hither: { random } });
    this.#exports = instance.exports as unknown as Exports;
    this.tell(input.start(seed, this.#means.subtle === undefined));
  }

  #memory(): WebAssembly.Memory {
    if (!this.#exports) throw new Error("the module is not there");
    return this.#exports.memory;
  }

  /** Tells the module something, and does what it wants then. */
  tell(message: Input): void {
    if (this.#waiting) {
      this.#waiting.push(message);
      return;
    }
    this.#waiting = [message];
    try {
      for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) this.#handle(next);
    } finally {
      this.#waiting = undefined;
    }
  }

  #handle(message: Input): void {
    const exports = this.#exports;
    if (!exports) return;
    const at = exports.hither_buffer(message.length);
    if (at === 0) throw new Error("a message is too long");
    message.write(new Uint8Array(exports.memory.buffer, at, message.length));
    const length = exports.hither_handle(this.#means.now());
    const answer = new Uint8Array(exports.memory.buffer, exports.hither_output(), length);
    for (const output of outputs(answer)) this.#carry_out(output);
  }

  #carry_out(output: Output): void {
    switch (output.kind) {
      case "open_pipe":
        return this.#open_pipe(output.pipe, output.endpoint);
      case "send": {
        const pipe = this.#pipes.get(output.pipe);
        for (let at = 0; at < output.bytes.length; at += MAX_MESSAGE) pipe?.send(output.bytes.slice(at, at + MAX_MESSAGE));
        return;
      }
      case "close_pipe": {
        const pipe = this.#pipes.get(output.pipe);
        this.#pipes.delete(output.pipe);
        pipe?.close();
        return;
      }
      case "get":
        return void this.#get(output.get, output.endpoint, output.path);
      case "get_no_more":
        this.#gets.get(output.get)?.abort();
        this.#gets.delete(output.get);
        return;
      case "chunk":
        return this.#chunk(output);
      case "end":
        return this.#in_order(output.share, output.reading, async () => {
          this.#openings.delete(`${output.share}/${output.reading}`);
          this.#report(output);
        });
      case "wake":
        clearTimeout(this.#timer);
        this.#timer = undefined;
        if (output.after_ms !== undefined) this.#timer = setTimeout(() => this.tell(input.time()), output.after_ms);
        return;
      case "event":
        return this.#means.event?.(output.json, output.bytes);
      case "malformed":
        console.error("the core did not understand a message of its page");
        return;
      case "failed":
        this.#openings.delete(`${output.share}/${output.reading}`);
        this.#report(output);
        return;
      default:
        this.#report(output);
    }
  }

  // --- byte pipes ---

  #open_pipe(pipe: number, endpoint: number): void {
    const closed = () => {
      if (this.#pipes.delete(pipe)) this.tell(input.pipe_closed(pipe));
    };
    const alive = () => this.#pipes.has(pipe);
    try {
      const opened = this.#means.open_pipe(endpoint, {
        opened: () => alive() && this.tell(input.pipe_opened(pipe)),
        bytes: (bytes) => alive() && this.tell(input.pipe_bytes(pipe, bytes)),
        closed,
      });
      this.#pipes.set(pipe, opened);
    } catch {
      queueMicrotask(() => this.tell(input.pipe_closed(pipe)));
    }
  }

  // --- chunks by GET ---

  async #get(get: number, endpoint: number, path: string): Promise<void> {
    const stop = new AbortController();
    this.#gets.set(get, stop);
    const alive = () => this.#gets.get(get) === stop;
    let silence = setTimeout(() => stop.abort(), SILENCE_MS);
    let complete = false;
    try {
      const answer = await this.#means.get(endpoint, path, stop.signal);
      if (!alive()) return;
      this.tell(input.answer(get, answer.status, retry_after(answer)));
      if (!answer.ok || !answer.body) {
        stop.abort();
        return;
      }
      const body = new Body(answer.body, this.#buffers);
      for (;;) {
        const bytes = await body.next();
        if (!alive()) return;
        clearTimeout(silence);
        silence = setTimeout(() => stop.abort(), SILENCE_MS);
        if (!bytes) break;
        this.tell(input.answer_bytes(get, bytes));
        if (!alive()) return;
      }
      complete = true;
    } catch {
      // Told below: the module asks on the stream for what did not come.
    } finally {
      clearTimeout(silence);
      if (alive()) {
        this.#gets.delete(get);
        this.tell(input.answer_end(get, complete));
      }
    }
  }

  // --- opening chunks ---

  #chunk(chunk: Output & { kind: "chunk" }): void {
    const { share, reading, skip, give } = chunk;
    const plain = chunk.key ? this.#open(chunk.key.slice(), this.#buffers.copy(chunk.bytes)) : Promise.resolve(chunk.bytes.slice());
    // Whoever waits for its turn hears of it; until then nobody does.
    plain.catch(() => undefined);
    this.#in_order(share, reading, async () => {
      try {
        const bytes = (await plain).subarray(skip, skip + give);
        if (bytes.length !== give) throw new Error("a chunk has another length");
        this.#report({ kind: "bytes", share, reading, bytes });
      } catch {
        this.tell(input.does_not_open(share));
      }
    });
  }

  async #open(raw: Uint8Array<ArrayBuffer>, sealed: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
    const { subtle } = this.#means;
    if (!subtle) throw new Error("there is no WebCrypto");
    try {
      const key = await subtle.importKey("raw", raw, "AES-GCM", false, ["decrypt"]);
      // The nonce is always zero: every key is used for one message.
      const opened = subtle.decrypt({ name: "AES-GCM", iv: NONCE }, key, sealed);
      return new Uint8Array(await opened);
    } finally {
      this.#buffers.back(sealed);
    }
  }

  #in_order(share: number, reading: number, work: () => Promise<void>): void {
    const name = `${share}/${reading}`;
    const opening = this.#openings.get(name) ?? { last: Promise.resolve() };
    opening.last = opening.last.then(work);
    this.#openings.set(name, opening);
  }
}

function retry_after(answer: Response): number {
  const seconds = Number(answer.headers.get("retry-after") ?? "1");
  return Number.isFinite(seconds) ? Math.min(Math.max(seconds, 0) * 1000, 3_600_000) : 1000;
}
