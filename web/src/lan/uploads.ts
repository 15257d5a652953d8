/** Files on their way to the device: a few at a time, each to be tried again. */
import { LanError, send_file, type Sending } from "./api.ts";

export type State = "waiting" | "sending" | "done" | "failed";

export interface Upload {
  readonly id: number;
  readonly name: string;
  readonly size: number;
  state: State;
  /** Bytes that were sent in this attempt. */
  sent: number;
  /** The device's name for it, once it is there: another name where this one was taken. */
  kept: string;
  error: LanError | undefined;
}

/** The number that are sent at once: the daemon writes four of all its pages. */
const AT_ONCE = 2;
/** Most that are listed; what is done goes first. */
const MOST = 500;

type Send = (file: Blob, name: string, told: Sending) => () => void;

export class Uploads {
  list: readonly Upload[] = [];
  #files = new Map<number, Blob>();
  #stops = new Map<number, () => void>();
  #listeners = new Set<() => void>();
  #next = 1;
  #send: Send;

  constructor(send: Send = send_file) {
    this.#send = send;
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Takes files in and begins. Gives how many found no room in the list. */
  add(files: readonly { file: Blob; name: string }[]): number {
    const room = MOST - this.list.filter((one) => one.state !== "done").length;
    const taken = files.slice(0, Math.max(0, room));
    const added = taken.map(({ file, name }): Upload => {
      const id = this.#next++;
      this.#files.set(id, file);
      return { id, name, size: file.size, state: "waiting", sent: 0, kept: "", error: undefined };
    });
    const all = [...this.list, ...added];
    let over = all.length - MOST;
    this.list = all.filter((one) => !(one.state === "done" && over-- > 0));
    this.#go_on();
    return files.length - taken.length;
  }

  retry(id: number): void {
    const one = this.list.find((other) => other.id === id);
    if (one?.state !== "failed") return;
    this.#set(id, { state: "waiting", sent: 0, error: undefined });
    this.#go_on();
  }

  /** Takes one off the list; what is being sent breaks off, and leaves nothing at the device. */
  drop(id: number): void {
    this.#stops.get(id)?.();
    this.#stops.delete(id);
    this.#files.delete(id);
    this.list = this.list.filter((one) => one.id !== id);
    this.#go_on();
  }

  /** Takes off the list what is there. */
  clear_done(): void {
    this.list = this.list.filter((one) => one.state !== "done");
    this.#tell();
  }

  /** True when leaving the page would break something off. */
  get busy(): boolean {
    return this.list.some((one) => one.state === "sending" || one.state === "waiting");
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }

  #set(id: number, change: Partial<Upload>): void {
    this.list = this.list.map((one) => (one.id === id ? { ...one, ...change } : one));
    this.#tell();
  }

  #go_on(): void {
    for (const one of this.list) {
      if (this.#stops.size >= AT_ONCE) break;
      const file = this.#files.get(one.id);
      if (one.state === "waiting" && file) this.#begin(one, file);
    }
    this.#tell();
  }

  #begin(one: Upload, file: Blob): void {
    const over = (change: Partial<Upload>) => {
      if (!this.#stops.delete(one.id)) return; // It was dropped meanwhile.
      if (change.state === "done") this.#files.delete(one.id);
      this.#set(one.id, change);
      this.#go_on();
    };
    this.#set(one.id, { state: "sending" });
    const stop = this.#send(file, one.name, {
      onprogress: (sent) => {
        if (this.#stops.has(one.id)) this.#set(one.id, { sent });
      },
      ondone: (kept) => over({ state: "done", sent: one.size, kept }),
      onfailed: (error) => over({ state: "failed", error }),
    });
    this.#stops.set(one.id, stop);
  }
}

/** The files of a drop, those in folders too: a device keeps them by their own names. */
export async function dropped_files(data: DataTransfer): Promise<{ file: File; name: string }[]> {
  const entries = [...data.items].map((item) => item.webkitGetAsEntry?.()).filter((entry) => entry != null);
  if (entries.length === 0) return [...data.files].map((file) => ({ file, name: file.name }));
  const found: { file: File; name: string }[] = [];
  const waiting = [...entries];
  for (let entry = waiting.shift(); entry && found.length < MOST; entry = waiting.shift()) {
    if (entry.isFile) {
      const at = entry as FileSystemFileEntry;
      const file = await new Promise<File | undefined>((done) => at.file(done, () => done(undefined)));
      if (file) found.push({ file, name: file.name });
      continue;
    }
    const reader = (entry as FileSystemDirectoryEntry).createReader();
    for (;;) {
      const part = await new Promise<FileSystemEntry[]>((done) => reader.readEntries(done, () => done([])));
      if (part.length === 0) break;
      waiting.push(...part);
    }
  }
  return found;
}
