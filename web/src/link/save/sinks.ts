/** Places where bytes go: a file that the person chose, the browser's downloads, its own storage, or memory. */
import { script_url } from "../../ui-kit/trusted.ts";
import type { DiskAnswer, DiskCall } from "./disk-worker.ts";
import { owned, type ServiceLink } from "./sw-link.ts";

export interface Sink {
  write(bytes: Uint8Array): Promise<void>;
  /** Makes what is written so far last, where the way allows it, and says whether it does now. */
  secure(): Promise<boolean>;
  /** Everything is written. */
  finish(): Promise<void>;
  /** Gives up what was written. */
  abandon(): Promise<void>;
}

/** The browser's own list of downloads ended it. */
export class StoppedByBrowser extends Error {}

/** Bytes that were written before are not there any more, or not as they were left. */
export class LostProgress extends Error {}

/**
 * A file that the person chose. Browsers write into a copy and put it in place at the end, so what is to
 * last has to be put in place in between; each time costs a copy of the whole file, so it is done whenever the
 * file has doubled: in all one copy more.
 */
export class FileSink implements Sink {
  static readonly FIRST_SECURE = 64 * 1024 * 1024;
  #at = 0;
  #secured = 0;
  #writable: FileSystemWritableFileStream | undefined;
  modified: number | undefined;

  private constructor(readonly handle: FileSystemFileHandle) {}

  static async open(handle: FileSystemFileHandle, offset: number, modified: number | undefined): Promise<FileSink> {
    const sink = new FileSink(handle);
    if (offset > 0) {
      const file = await handle.getFile();
      if (file.size !== offset || file.lastModified !== modified) throw new LostProgress();
    }
    sink.#at = sink.#secured = offset;
    sink.modified = modified;
    await sink.#reopen();
    return sink;
  }

  async #reopen(): Promise<void> {
    this.#writable = await this.handle.createWritable({ keepExistingData: this.#at > 0 });
    if (this.#at > 0) await this.#writable.seek(this.#at);
  }

  /** True when enough is new for what it costs to make it last. */
  get worth_securing(): boolean {
    return this.#at >= Math.max(FileSink.FIRST_SECURE, this.#secured * 2);
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (!this.#writable) await this.#reopen();
    await this.#writable?.write(owned(bytes));
    this.#at += bytes.length;
  }

  async secure(): Promise<boolean> {
    await this.#writable?.close();
    this.#writable = undefined;
    this.#secured = this.#at;
    this.modified = (await this.handle.getFile()).lastModified;
    return true;
  }

  async finish(): Promise<void> {
    if (!this.#writable) await this.#reopen();
    await this.#writable?.close();
  }

  async abandon(): Promise<void> {
    await this.#writable?.abort().catch(() => {});
    const { handle } = this as unknown as { handle: { remove?(): Promise<void> } };
    await handle.remove?.().catch(() => {}); // Browsers without it leave an empty file.
  }
}

/** The browser's own downloads, by the service worker. */
export class StreamSink implements Sink {
  readonly #end: () => void;
  readonly #frame: HTMLIFrameElement;
  #pulled: (() => void) | undefined;
  #refused: ((why: Error) => void) | undefined;
  #piece: { bytes: Uint8Array | undefined; taken: () => void; failed: (why: Error) => void } | undefined;
  #stopped: Error | undefined;

  constructor(link: ServiceLink, name: string, type: string, size: number) {
    const [url, end] = link.offer({
      name,
      type,
      size,
      attachment: true,
      give: () => ({ next: () => this.#next(), cancel: () => this.#stop(new StoppedByBrowser()) }),
    });
    this.#end = end;
    // A frame, so that this page stays whatever comes of it.
    this.#frame = document.createElement("iframe");
    this.#frame.hidden = true;
    this.#frame.src = url;
    document.body.append(this.#frame);
  }

  /** Waits for a piece; called by the service worker's pulls, one at a time. */
  #next(): Promise<Uint8Array | undefined> {
    return new Promise((resolve, reject) => {
      if (this.#stopped) return reject(this.#stopped);
      this.#refused = reject;
      this.#pulled = () => {
        this.#pulled = undefined;
        const piece = this.#piece;
        this.#piece = undefined;
        resolve(piece?.bytes);
        piece?.taken();
      };
      if (this.#piece) this.#pulled();
    });
  }

  #stop(why: Error): void {
    this.#stopped = why;
    this.#piece?.failed(why);
    this.#refused?.(why);
    this.#end();
  }

  #put(bytes: Uint8Array | undefined): Promise<void> {
    return new Promise((taken, failed) => {
      if (this.#stopped) return failed(this.#stopped);
      this.#piece = { bytes, taken, failed };
      this.#pulled?.();
    });
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#put(bytes);
  }

  async secure(): Promise<boolean> {
    return false;
  }

  async finish(): Promise<void> {
    await this.#put(undefined);
    this.#end();
  }

  async abandon(): Promise<void> {
    this.#stop(new StoppedByBrowser());
    this.#frame.remove();
  }
}

/** The browser's own storage, by a worker that writes in place. */
export class DiskSink implements Sink {
  readonly #worker = new Worker(script_url(HITHER_DISK_URL), { type: "module" });
  readonly #waiting = new Map<number, { resolve: () => void; reject: (why: Error) => void }>();
  #calls = 0;
  #unsecured = 0;

  private constructor(readonly stored: string) {
    this.#worker.onmessage = ({ data }: MessageEvent<DiskAnswer>) => {
      const waiting = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if (data.ok) waiting?.resolve();
      else waiting?.reject(Object.assign(new Error(data.message), { name: data.name }));
    };
    this.#worker.onerror = () => {
      for (const { reject } of this.#waiting.values()) reject(new Error("the browser's storage does not work"));
      this.#waiting.clear();
    };
  }

  static async open(stored: string, offset: number): Promise<DiskSink> {
    const sink = new DiskSink(stored);
    try {
      await sink.#call({ call: "open", name: stored, offset });
    } catch (problem) {
      sink.#worker.terminate();
      if (offset > 0) throw new LostProgress();
      throw problem;
    }
    return sink;
  }

  #call(call: { call: "open"; name: string; offset: number } | { call: "write"; bytes: Uint8Array } | { call: "flush" } | { call: "close" }): Promise<void> {
    const id = (this.#calls += 1);
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, ...call } as DiskCall, call.call === "write" ? [call.bytes.buffer as ArrayBuffer] : []);
    });
  }

  get worth_securing(): boolean {
    return this.#unsecured >= 16 * 1024 * 1024;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#unsecured += bytes.length;
    await this.#call({ call: "write", bytes: owned(bytes) });
  }

  async secure(): Promise<boolean> {
    this.#unsecured = 0;
    await this.#call({ call: "flush" });
    return true;
  }

  async finish(): Promise<void> {
    await this.#call({ call: "close" });
    this.#worker.terminate();
  }

  async abandon(): Promise<void> {
    await this.#call({ call: "close" }).catch(() => {});
    this.#worker.terminate();
    await remove_stored(this.stored);
  }
}

export async function stored_file(name: string): Promise<File> {
  const root = await navigator.storage.getDirectory();
  return (await root.getFileHandle(name)).getFile();
}

/** Names of all downloads in the browser's storage. */
export async function all_stored(): Promise<string[]> {
  const root = (await navigator.storage?.getDirectory?.()) as (FileSystemDirectoryHandle & { keys(): AsyncIterable<string> }) | undefined;
  const names: string[] = [];
  if (root) for await (const name of root.keys()) if (name.startsWith("download-")) names.push(name);
  return names;
}

export async function remove_stored(name: string): Promise<void> {
  const root = await navigator.storage.getDirectory();
  await root.removeEntry(name).catch(() => {}); // It is gone already, or another tab has it open.
}

/** Memory, for what is small where nothing else is there. */
export class BlobSink implements Sink {
  readonly #parts: Uint8Array<ArrayBuffer>[] = [];
  constructor(readonly type: string) {}

  async write(bytes: Uint8Array): Promise<void> {
    this.#parts.push(owned(bytes));
  }

  async secure(): Promise<boolean> {
    return false;
  }

  blob(): Blob {
    return new Blob(this.#parts, { type: this.type });
  }

  async finish(): Promise<void> {}

  async abandon(): Promise<void> {
    this.#parts.length = 0;
  }
}

/** Gives a blob to the browser's downloads. A file in the browser's storage is read from there, not from memory. */
export function save_blob(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.hidden = true;
  document.body.append(link);
  link.click();
  link.remove();
  // Browsers read it for as long as they copy: a minute is not enough for gigabytes.
  setTimeout(() => URL.revokeObjectURL(url), 3_600_000);
}
