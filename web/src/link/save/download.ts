/** One download: it reads a source into a sink, pauses, waits out breaks, and goes on where it was. */
import { CoreError } from "../../core/api.ts";
import { forget, keep, key_of, type Kept } from "./kept.ts";
import { BlobSink, DiskSink, FileSink, LostProgress, remove_stored, save_blob, StoppedByBrowser, stored_file, StreamSink, type Sink } from "./sinks.ts";
import type { Mark, Reading, Source } from "./source.ts";
import { owned, type ServiceLink } from "./sw-link.ts";
import type { Way } from "./ways.ts";

export type DownloadState =
  | "running"
  | "paused"
  /** A break: it goes on by itself, at `retry_at` or when the network is back. */
  | "waiting"
  | "failed"
  | "done";

/** Reasons for failure: codes of the core, and `stopped` (by the browser's list), `full` (no room), `disk` (cannot be written). */
export type Failure = string;

/** The name of the lock on a download's key or stored file. */
export const lock_of = (what: string) => `hither ${what}`;

/**
 * Bytes that are written at once, at least: each write into a file costs a way to another process. What goes to
 * the service worker is given away as it came where it is not tiny, because a copy is garbage that waits.
 */
const PIECE = 1024 * 1024;
const STREAM_PIECE = 128 * 1024;
/** Breaks are waited out this long at first, and at most, in ms. */
const FIRST_WAIT = 1_000;
const LONGEST_WAIT = 30_000;
/** Failures that no waiting mends. */
const FINAL = new Set(["ticket", "not_found", "gone", "damaged", "too_new"]);

export interface Target {
  way: Way;
  handle?: FileSystemFileHandle;
  /** The place where it goes on. */
  kept?: Kept;
}

export interface Context {
  share: string;
  version: number;
  link: ServiceLink | undefined;
}

export class Download {
  static #made = 0;
  readonly id = `download-${(Download.#made += 1)}`;
  state: DownloadState = "running";
  failure: Failure | undefined;
  retry_at = 0;
  bytes: number;
  readonly #rates: Rate;
  readonly #key: string;
  readonly #stored: string | undefined;
  #mark: Mark;
  #sink: Sink | undefined;
  #reading: Reading | undefined;
  #wake: (() => void) | undefined;
  #cancelled = false;
  #let_go = () => {};
  readonly #listeners = new Set<() => void>();
  readonly ended: Promise<void>;

  constructor(readonly source: Source, readonly target: Target, readonly context: Context) {
    this.#key = key_of(context.share, context.version, source.chosen);
    this.#mark = target.kept?.mark ?? { bytes: 0 };
    this.bytes = this.#mark.bytes;
    this.#rates = new Rate(this.bytes);
    if (target.way === "disk") this.#stored = target.kept?.stored ?? `download-${crypto.randomUUID()}`;
    this.ended = this.#run();
    // Other tabs leave alone what this one has: the lock ends with the tab at the latest.
    if (this.lasting) void navigator.locks?.request(lock_of(this.#key), () => this.ended);
    const stored = this.#stored;
    if (stored) void navigator.locks?.request(lock_of(stored), () => new Promise<void>((resolve) => (this.#let_go = resolve)));
  }

  get way(): Way {
    return this.target.way;
  }

  /** True when it is still there after the tab was closed. */
  get lasting(): boolean {
    return this.way === "file" || this.way === "disk";
  }

  /** Bytes per second, of late. */
  get rate(): number {
    return this.state === "running" ? this.#rates.rate(this.bytes) : 0;
  }

  /** Seconds that are left at this rate; undefined while it is not known. */
  get remaining_s(): number | undefined {
    const rate = this.rate;
    return rate > 0 ? (this.source.size - this.bytes) / rate : undefined;
  }

  onchange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  pause(): void {
    if (this.state !== "running" && this.state !== "waiting") return;
    this.#become("paused");
    this.#reading?.cancel();
    this.#wake?.();
  }

  resume(): void {
    if (this.state !== "paused" && this.state !== "waiting") return;
    this.#rates.restart(this.bytes);
    this.#become("running");
    this.#wake?.();
  }

  /** Gives it up, and what was written. */
  async cancel(): Promise<void> {
    this.#cancelled = true;
    this.#reading?.cancel();
    // A write that waits for the browser to pull ends with its sink.
    if (this.#sink instanceof StreamSink) await this.#sink.abandon();
    this.#wake?.();
    await this.ended;
  }

  /** Gives a file that is complete in the browser's storage to its downloads, once more. */
  async save_again(): Promise<void> {
    if (this.#stored) save_blob(await stored_file(this.#stored), this.source.name);
  }

  /** Removes a file that was saved from the browser's storage. */
  async clear(): Promise<void> {
    if (this.#stored) await remove_stored(this.#stored);
    this.#let_go();
  }

  /** Asked anew after each wait: others pause and cancel meanwhile. */
  #paused(): boolean {
    return this.state === "paused";
  }

  #become(state: DownloadState): void {
    this.state = state;
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }

  async #run(): Promise<void> {
    let breaks = 0;
    for (;;) {
      const before = this.bytes;
      try {
        await this.#pump();
        if (this.state === "running" && !this.#cancelled) {
          await this.#finish();
          return this.#become("done");
        }
      } catch (problem) {
        if (!this.#cancelled && !this.#paused()) {
          if (problem instanceof LostProgress) {
            this.#mark = { bytes: 0 };
            this.bytes = 0;
            this.#rates.restart(0);
            continue;
          }
          this.failure = failure_of(problem);
          if (this.failure !== "unreachable" && this.failure !== "busy") return this.#fail();
          breaks = this.bytes > before ? 0 : breaks + 1;
          const wanted = problem instanceof CoreError ? problem.retry_after_ms : undefined;
          await this.#wait(Math.min(Math.max(wanted ?? 0, FIRST_WAIT * 2 ** breaks), Math.max(LONGEST_WAIT, wanted ?? 0)));
        }
      }
      if (this.#cancelled) return this.#give_up();
      if (this.#paused()) await this.#rest();
      if (this.#cancelled) return this.#give_up();
      if (this.state === "waiting") this.#become("running");
    }
  }

  async #fail(): Promise<void> {
    const lasting = this.lasting && !FINAL.has(this.failure ?? "") && (await this.#keep().catch(() => false));
    if (!lasting) await this.#sink?.abandon().catch(() => {});
    if (!lasting) await forget(this.#key).catch(() => {});
    this.#become("failed");
  }

  async #give_up(): Promise<void> {
    await this.#sink?.abandon().catch(() => {});
    await forget(this.#key).catch(() => {});
    this.#tell();
  }

  /** Reads into the sink until the end, a pause or a break. */
  async #pump(): Promise<void> {
    const sink = (this.#sink ??= await this.#open());
    if (this.#cancelled || this.#paused()) return;
    const reading = (this.#reading = this.source.open(this.#mark));
    let piece: Uint8Array[] = [];
    let held = 0;
    const put = async () => {
      if (held === 0) return;
      const bytes = joined(piece, held);
      piece = [];
      held = 0;
      const length = bytes.length;
      await sink.write(bytes);
      this.bytes += length;
      this.#rates.at(this.bytes);
      this.#tell();
    };
    try {
      for (;;) {
        const bytes = await reading.next();
        if (!bytes) break;
        piece.push(bytes);
        held += bytes.length;
        if (held < (this.way === "stream" ? STREAM_PIECE : PIECE)) continue;
        await put();
        const securing = worth_securing(sink);
        // A mark of an archive is as long as its list of files, so it is made only where one is needed.
        if (securing || this.#paused()) this.#mark = reading.mark();
        if (securing) await this.#keep();
        if (this.#cancelled || this.#paused()) return;
      }
      await put();
      this.#mark = reading.mark();
    } catch (problem) {
      // Bytes that were read before the break count: the mark stands behind them.
      if (!(problem instanceof StoppedByBrowser) && !this.#cancelled) {
        await put();
        this.#mark = reading.mark();
      }
      throw problem;
    } finally {
      reading.cancel();
      this.#reading = undefined;
    }
  }

  async #open(): Promise<Sink> {
    const { way, handle, kept } = this.target;
    switch (way) {
      case "file": {
        if (!handle) throw new Error("no file was chosen");
        return FileSink.open(handle, this.#mark.bytes, kept?.modified);
      }
      case "disk": {
        const sink = await DiskSink.open(this.#stored ?? "", this.#mark.bytes);
        this.#sink = sink;
        await this.#keep();
        return sink;
      }
      case "stream": {
        if (!this.context.link) throw new Error("there is no service worker");
        return new StreamSink(this.context.link, this.source.name, this.source.type, this.source.size);
      }
      case "memory":
        return new BlobSink(this.source.type);
    }
  }

  async #finish(): Promise<void> {
    const sink = this.#sink;
    await sink?.finish();
    if (sink instanceof DiskSink) save_blob(await stored_file(sink.stored), this.source.name);
    if (sink instanceof BlobSink) save_blob(sink.blob(), this.source.name);
    await forget(this.#key).catch(() => {});
  }

  /** Makes what was written last, and says whether it does. */
  async #keep(): Promise<boolean> {
    const sink = this.#sink;
    if (!sink || !(await sink.secure())) return false;
    const record: Kept = {
      key: this.#key,
      share: this.context.share,
      version: this.context.version,
      chosen: this.source.chosen,
      name: this.source.name,
      size: this.source.size,
      files: this.source.files,
      way: this.way === "file" ? "file" : "disk",
      ...(this.target.handle ? { handle: this.target.handle } : {}),
      ...(this.#stored ? { stored: this.#stored } : {}),
      ...(sink instanceof FileSink && sink.modified !== undefined ? { modified: sink.modified } : {}),
      mark: this.#mark,
      at: Date.now(),
    };
    // A browser that keeps no records downloads all the same.
    return keep(record).then(() => true, () => false);
  }

  /** Paused: what is written is made to last, and nothing is read until it is resumed. */
  async #rest(): Promise<void> {
    if (this.lasting) await this.#keep().catch(() => false); // What is wrong with the file shows at the next write.
    if (!this.#paused() || this.#cancelled) return;
    await new Promise<void>((resolve) => (this.#wake = resolve));
    this.#wake = undefined;
  }

  /** A break: until the time is over, the network is back, or somebody says so. */
  async #wait(ms: number): Promise<void> {
    this.retry_at = Date.now() + ms;
    this.#become("waiting");
    await new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer);
        removeEventListener("online", done);
        this.#wake = undefined;
        resolve();
      };
      const timer = setTimeout(done, ms);
      addEventListener("online", done);
      this.#wake = done;
    });
    this.#rates.restart(this.bytes);
  }
}

function worth_securing(sink: Sink): boolean {
  return (sink instanceof FileSink || sink instanceof DiskSink) && sink.worth_securing;
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  const [only] = parts;
  if (parts.length === 1 && only) return owned(only);
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function failure_of(problem: unknown): Failure {
  if (problem instanceof StoppedByBrowser) return "stopped";
  // Errors of the core may have come from a worker, so they are told by what they have.
  const { code, name } = problem as { code?: unknown; name?: unknown };
  if (typeof code === "string") return code;
  if (name === "QuotaExceededError") return "full";
  if (name === "NotAllowedError" || name === "NotFoundError" || name === "NoModificationAllowedError" || name === "InvalidStateError") return "disk";
  return "unknown";
}

/** The rate over the last seconds: steady enough to read, quick enough to believe. */
export class Rate {
  static readonly WINDOW = 6_000;
  #points: [at: number, bytes: number][] = [];

  constructor(bytes: number, readonly now: () => number = () => performance.now()) {
    this.restart(bytes);
  }

  restart(bytes: number): void {
    this.#points = [[this.now(), bytes]];
  }

  at(bytes: number): void {
    const now = this.now();
    const last = this.#points[this.#points.length - 1];
    if (last && now - last[0] < 100) return;
    this.#points.push([now, bytes]);
    while (this.#points.length > 2 && now - (this.#points[0]?.[0] ?? now) > Rate.WINDOW) this.#points.shift();
  }

  /** Bytes per second up to now; 0 while nothing is known. */
  rate(bytes: number): number {
    const first = this.#points[0];
    const ms = this.now() - (first?.[0] ?? 0);
    return !first || ms < 500 ? 0 : Math.max(0, ((bytes - first[1]) / ms) * 1000);
  }
}
