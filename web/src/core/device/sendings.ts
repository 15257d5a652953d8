/**
 * The sendings of a part of the page: texts, files in letters, and shares that are uploaded first.
 *
 * Kept for each: what is shown, and of an upload its secrets, the files' names, sizes and times, the handles by which the browser
 * gives them again, and 68 bytes for each chunk that was read (at most some MB for 10 GiB). Never the files themselves: a browser
 * would copy them.
 */

import { CoreError } from "../api.ts";
import type { GivenFile, Sending, SendState } from "../device-api.ts";
import { Changes } from "./changes.ts";
import { type DeviceEvent, joined, type LetterJson, type ThingJson, type UploadSecrets } from "./commands.ts";
import { Feed } from "./feed.ts";
import type { CoreLink } from "./link.ts";
import type { Outbox } from "./outbox.ts";

/** Files that are together at most so long go in the letter. */
export const IN_LETTER = 192 * 1024;
const MAX_IN_LETTER = 64;
/** Bytes that are kept for a chunk. */
const RECORD = 68;
/** Uploads at a time: the others wait. */
const MAX_UPLOADS = 3;

interface Upload extends UploadSecrets {
  name: string;
  paths: string[][];
  handles: (FileSystemFileHandle | undefined)[];
  share?: string;
  ticket?: string;
  shown?: { name: string; files: number; bytes: number };
}

/** The kept record of one. */
interface Kept {
  view: Sending;
  /** The order in which they were made. */
  made: number;
  upload?: Upload;
  /** The request that it answers, and what it gives. */
  ask?: string;
  /** Only what is known of the files is given. */
  digest?: boolean;
  things?: ThingJson[];
  thumbnails?: Uint8Array;
}

interface Running {
  number: number;
  feed: Feed;
  at: number;
  done: number;
}

export interface Outgoing {
  to: string;
  to_name: string;
  /** The request that is answered, and what becomes durable with the answer. */
  ask?: string;
  also?: (changes: Changes) => void;
}

export class Sendings {
  readonly #link: CoreLink;
  readonly #outbox: Outbox;
  readonly #changed: () => void;
  readonly #kept = new Map<string, Kept>();
  readonly #running = new Map<string, Running>();
  readonly #waiting: { id: string; files: File[] }[] = [];
  readonly #keep_s: number;
  #next = 1;
  online = false;

  constructor(link: CoreLink, outbox: Outbox, keep_s: number, changed: () => void) {
    this.#link = link;
    this.#outbox = outbox;
    this.#keep_s = keep_s;
    this.#changed = changed;
  }

  /** Takes up what an earlier page left. */
  async start(): Promise<void> {
    for (const [id, kept] of await this.#link.means.keep.all<Kept>("sendings")) {
      this.#kept.set(id, kept);
      const { state } = kept.view;
      const waits = state === "preparing" || state === "waiting";
      if (!kept.upload && waits && !this.#outbox.has(id)) await this.#fail(id, { code: "lost", message: "the page ended before it was kept" });
      else if (kept.upload && !kept.upload.ticket && (state === "preparing" || state === "uploading")) await this.#take_up(id, kept);
      else if (state === "uploading" && kept.upload?.ticket && !this.#outbox.has(id)) await this.#announce(id, kept);
    }
    this.#changed();
  }

  /** Goes on with an upload, when the browser gives its files back. */
  async #take_up(id: string, kept: Kept): Promise<void> {
    const files = await given_again(kept);
    if (files && same(kept, files)) this.#queue(id, files);
    else await this.#state(id, "needs_file");
  }

  views(): Sending[] {
    const by_letter = ({ view, upload }: Kept): Sending => (upload && !upload.ticket ? view : { ...view, letter: true });
    const views = [...this.#kept.values()].sort((a, b) => b.made - a.made).map(by_letter);
    // Without the relay nothing moves.
    const waits = (view: Sending) => !this.online && (view.state === "uploading" || view.state === "waiting");
    return views.map((view) => (waits(view) ? { ...view, state: "waiting", rate: 0 } : view));
  }

  #view(id: string, out: Outgoing, kind: Sending["kind"], state: SendState): Sending {
    return { id, to: out.to, to_name: out.to_name, kind, files: [], state, done: 0, bytes: 0, rate: 0 };
  }

  async #change(make: (changes: Changes) => void): Promise<void> {
    const changes = new Changes();
    make(changes);
    this.#changed();
    try {
      await changes.commit(this.#link.means.keep);
    } finally {
      this.#changed();
    }
  }

  async #save(id: string): Promise<void> {
    const kept = this.#kept.get(id);
    if (kept) await this.#link.means.keep.put("sendings", id, kept);
    this.#changed();
  }

  #set(changes: Changes, id: string, state: SendState, error?: Sending["error"]): void {
    const kept = this.#kept.get(id);
    if (!kept) return;
    const { error: _, spent: __, ...view } = kept.view;
    kept.view = { ...view, state, rate: 0 };
    if (error) kept.view.error = error;
    // A letter that never comes to the relay is not kept: nothing is there to be sent again.
    if (error && !kept.upload) kept.view.spent = true;
    changes.put("sendings", id, kept);
  }

  #state(id: string, state: SendState, error?: Sending["error"]): Promise<void> {
    return this.#change((changes) => this.#set(changes, id, state, error));
  }

  /** It has failed, also where the browser does not keep that. */
  async #fail(id: string, error: NonNullable<Sending["error"]>): Promise<void> {
    const changes = new Changes();
    this.#set(changes, id, "failed", error);
    this.#changed();
    await changes.settle(this.#link.means.keep);
  }

  // --- beginning ---

  async text(out: Outgoing, text: string): Promise<Sending> {
    const id = this.#link.random(16);
    const view = { ...this.#view(id, out, "text", "waiting"), text: text.slice(0, 120), bytes: text.length };
    await this.#change((changes) => {
      changes.set(this.#kept, "sendings", id, { view, made: this.#link.means.date() });
      this.#outbox.post(changes, id, out.to, { kind: "text", text }, { receipt: true });
    });
    return view;
  }

  async files(out: Outgoing, given: GivenFile[], digest = false): Promise<Sending> {
    if (given.length === 0) throw new CoreError("too_large", "there is no file");
    const id = this.#link.random(16);
    const kept: Kept = { view: this.#view(id, out, out.ask ? "answer" : "files", "preparing"), made: this.#link.means.date() };
    if (out.ask) kept.ask = out.ask;
    if (digest) kept.digest = true;
    this.#kept.set(id, kept);
    try {
      await this.#begin(id, kept, given, out.also);
    } catch (error) {
      // Nothing of it is durable: whoever sends hears of it.
      this.#kept.delete(id);
      this.#changed();
      throw error;
    }
    return kept.view;
  }

  async #begin(id: string, kept: Kept, given: GivenFile[], also?: Outgoing["also"]): Promise<void> {
    const files = given.map(({ file }) => file);
    const bytes = files.reduce((sum, file) => sum + file.size, 0);
    kept.view = { ...kept.view, bytes, files: files.map((file) => ({ name: file.name, size: file.size, modified_ms: file.lastModified })) };
    const paths = paths_of(given, kept.ask !== undefined);
    if (kept.ask) kept.things = files.map((file, at) => thing(file, paths[at]?.at(-1) ?? file.name));
    const flat = paths.every((path) => path.length === 1);
    if (kept.digest || (bytes <= IN_LETTER && files.length <= MAX_IN_LETTER && flat)) await this.#in_letter(id, kept, files, paths, also);
    else await this.#begin_upload(id, kept, given, paths, also);
  }

  /** Files that go in the letter itself: read, and then durable with it in one step. */
  async #in_letter(id: string, kept: Kept, files: File[], paths: string[][], also?: Outgoing["also"]): Promise<void> {
    let contents: Uint8Array<ArrayBuffer>[];
    try {
      contents = kept.digest ? [] : await Promise.all(files.map(async (file) => new Uint8Array(await file.arrayBuffer())));
    } catch {
      const error = { code: "unreadable", message: "a file cannot be read" };
      // The request stands again, and is answered anew.
      if (kept.ask) throw new CoreError(error.code, error.message);
      return this.#fail(id, error);
    }
    if (this.#kept.get(id) !== kept) return;
    let letter: LetterJson;
    if (kept.ask) {
      const things = (kept.things ?? []).map((thing, at) => ({ ...thing, content: contents[at]?.length ?? null }));
      letter = { kind: "answer", ask: kept.ask, things };
    } else {
      letter = { kind: "files", files: contents.map((content, at) => ({ name: paths[at]?.at(-1) ?? "", length: content.length })) };
    }
    await this.#change((changes) => {
      this.#set(changes, id, "waiting");
      this.#outbox.post(changes, id, kept.view.to, letter, { bytes: joined(contents), receipt: !kept.ask });
      also?.(changes);
    });
  }

  async #begin_upload(id: string, kept: Kept, given: GivenFile[], paths: string[][], also?: Outgoing["also"]): Promise<void> {
    const { means } = this.#link;
    kept.upload = {
      secret: this.#link.random(16),
      domain: this.#link.random(32),
      salt: this.#link.random(16),
      published_ms: means.date(),
      name: top_of(paths) ?? `${given.length} files`,
      paths,
      handles: given.map(({ handle }) => handle),
    };
    await this.#change((changes) => {
      this.#set(changes, id, "preparing");
      also?.(changes);
    });
    if (this.#kept.get(id) === kept) this.#queue(id, given.map(({ file }) => file));
  }

  // --- uploads ---

  #queue(id: string, files: File[]): void {
    this.#waiting.push({ id, files });
    this.#run();
  }

  #run(): void {
    while (this.#running.size < MAX_UPLOADS) {
      const next = this.#waiting.shift();
      if (!next) return;
      const number = this.#next++;
      const feed = new Feed(this.#link, number, next.files);
      this.#running.set(next.id, { number, feed, at: this.#link.means.now(), done: 0 });
      void this.#upload(next.id, number);
    }
  }

  async #upload(id: string, number: number): Promise<void> {
    const records = await this.#link.means.keep.all<Uint8Array>("records", `${id}/`);
    const kept = this.#kept.get(id);
    if (!kept?.upload || this.#running.get(id)?.number !== number) return;
    const { secret, domain, salt, published_ms, name, paths } = kept.upload;
    const files = kept.view.files.map(({ size, modified_ms }, at) => ({ path: paths[at] ?? [], size, modified_ms }));
    const known = joined(without_gaps(records));
    // Before the core hears of it: it may have prepared, or refused, all of it when that returns.
    await this.#state(id, "preparing");
    if (this.#running.get(id)?.number !== number) return;
    this.#link.tell({ do: "upload", upload: number, name, files, secret, domain, salt, published_ms, keep_s: this.#keep_s }, known);
  }

  #stop(id: string): void {
    const at = this.#waiting.findIndex((waiting) => waiting.id === id);
    if (at >= 0) this.#waiting.splice(at, 1);
    const running = this.#running.get(id);
    if (!running) return;
    running.feed.stop();
    this.#running.delete(id);
    this.#link.tell({ do: "drop", upload: running.number });
    this.#run();
  }

  #of(number: number): [string, Kept, Running] | undefined {
    for (const [id, running] of this.#running) {
      const kept = this.#kept.get(id);
      if (running.number === number && kept) return [id, kept, running];
    }
    return undefined;
  }

  /** Hears the core about an upload. */
  async hear(event: DeviceEvent & { upload: number }, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const found = this.#of(event.upload);
    if (!found) return;
    const [id, kept, running] = found;
    switch (event.on) {
      case "need":
        return running.feed.need(event);
      case "cuts":
        return running.feed.cuts(event.lengths, bytes);
      case "take":
        return running.feed.take(event, bytes);
      case "records":
        return this.#link.means.keep.put("records", `${id}/${String(event.first).padStart(8, "0")}`, bytes);
      case "progress":
        return this.#progress(id, kept, running, event);
      case "prepared":
        if (kept.upload) {
          kept.upload.share = event.share;
          kept.upload.shown = { name: event.name, files: event.files, bytes: event.bytes };
        }
        return this.#state(id, "uploading");
      case "uploaded":
        return this.#uploaded(id, kept, event.ticket);
      case "upload_failed": {
        const { code, message, retry_ms } = event;
        this.#stop(id);
        // Records of a file that changed are of no use.
        if (code === "changed") await this.#forget_records(id);
        return this.#fail(id, { code, message, ...(retry_ms > 0 ? { retry_after_ms: retry_ms } : {}) });
      }
    }
  }

  #progress(id: string, kept: Kept, running: Running, { stage, done }: { stage: string; done: number }): void {
    const now = this.#link.means.now();
    const seconds = (now - running.at) / 1000;
    const view = { ...kept.view };
    if (stage === "uploading") {
      view.done = done;
      if (seconds >= 1) {
        const rate = Math.max(done - running.done, 0) / seconds;
        view.rate = Math.round(view.rate > 0 ? 0.7 * view.rate + 0.3 * rate : rate);
        Object.assign(running, { at: now, done });
      }
    }
    this.#kept.set(id, Object.assign(kept, { view }));
    this.#changed();
  }

  async #uploaded(id: string, kept: Kept, ticket: string): Promise<void> {
    if (kept.upload) kept.upload.ticket = ticket;
    kept.view = { ...kept.view, done: kept.view.bytes };
    await this.#save(id);
    this.#running.get(id)?.feed.stop();
    this.#running.delete(id);
    this.#run();
    await this.#announce(id, kept);
    await this.#forget_records(id);
  }

  /** Tells the other side of a share that is there. */
  async #announce(id: string, kept: Kept): Promise<void> {
    const { ticket, shown } = kept.upload ?? {};
    if (!ticket || !shown) return;
    const letter: LetterJson = kept.ask ? { kind: "answer", ask: kept.ask, things: kept.things ?? [], ticket } : { kind: "ticket", ticket, ...shown };
    await this.#change((changes) => this.#outbox.post(changes, id, kept.view.to, letter, { receipt: !kept.ask }));
  }

  async #records_of(id: string): Promise<string[]> {
    return (await this.#link.means.keep.all("records", `${id}/`)).map(([key]) => key);
  }

  async #forget_records(id: string): Promise<void> {
    const keys = await this.#records_of(id);
    await this.#change((changes) => keys.forEach((key) => changes.delete("records", key)));
  }

  // --- letters ---

  /** The relay has the letter, or never will. */
  letter(changes: Changes, id: string, code?: string): boolean {
    const kept = this.#kept.get(id);
    if (!kept) return false;
    if (code) this.#set(changes, id, "failed", { code, message: "the relay does not take it" });
    else if (!["taken", "declined"].includes(kept.view.state)) {
      kept.view = { ...kept.view, done: kept.view.bytes };
      this.#set(changes, id, "sent");
    }
    this.#changed();
    return true;
  }

  /** The other side's word about a letter, when it is that side's. */
  receipt(changes: Changes, id: string, from: string, taken: boolean): void {
    if (this.#kept.get(id)?.view.to === from) this.#set(changes, id, taken ? "taken" : "declined");
  }

  // --- what the user wants ---

  pause(id: string): void {
    const kept = this.#kept.get(id);
    if (!kept?.upload || kept.upload.ticket || !["preparing", "uploading", "waiting"].includes(kept.view.state)) return;
    this.#stop(id);
    void this.#state(id, "paused");
  }

  async resume(id: string, given?: GivenFile[]): Promise<void> {
    const kept = this.#kept.get(id);
    if (!kept || this.#running.has(id) || this.#waiting.some((waiting) => waiting.id === id)) return;
    if (!kept.upload) return this.#once_more(id, kept, given);
    if (kept.upload.ticket) return this.#announce(id, kept);
    const files = given ? given.map(({ file }) => file) : await given_again(kept);
    if (!files) return this.#state(id, "needs_file");
    if (!same(kept, files)) throw new CoreError("changed", "these are not the same files");
    if (given) kept.upload.handles = given.map(({ handle }) => handle);
    this.#queue(id, files);
    await this.#state(id, "preparing");
  }

  /** Files that could not be read when they were to go: whatever is chosen now goes instead. */
  async #once_more(id: string, kept: Kept, given: GivenFile[] | undefined): Promise<void> {
    if (kept.view.state !== "failed" || !given || given.length === 0 || kept.view.kind !== "files") return;
    const before = kept.view;
    const { error: _, spent: __, ...view } = before;
    kept.view = { ...view, state: "preparing" };
    this.#changed();
    try {
      await this.#begin(id, kept, given);
    } catch (error) {
      delete kept.upload;
      kept.view = before;
      this.#changed();
      throw error;
    }
  }

  async clear(id: string): Promise<void> {
    const kept = this.#kept.get(id);
    if (!kept) return;
    this.#stop(id);
    const left = !["sent", "taken"].includes(kept.view.state);
    if (left && kept.upload?.share) this.#link.tell({ do: "release", share: kept.upload.share });
    const records = kept.upload ? await this.#records_of(id) : [];
    await this.#change((changes) => {
      changes.remove(this.#kept, "sendings", id);
      this.#outbox.forget(changes, id);
      for (const key of records) changes.delete("records", key);
    });
  }
}

/** Gives the path of each file in the share: below the folder that was chosen. `flat`: all in one folder, with names of their own. */
function paths_of(given: GivenFile[], flat: boolean): string[][] {
  const names = new Set<string>();
  return given.map(({ file, path }) => {
    if (!flat) return (path || file.webkitRelativePath || file.name).split("/").filter((part) => part !== "");
    let name = file.name;
    const [, stem = name, extension = ""] = /^(.+?)(\.[^.]*)?$/.exec(file.name) ?? [];
    for (let number = 2; names.has(name); number++) name = `${stem} (${number})${extension}`;
    names.add(name);
    return [name];
  });
}

/** Records up to the first that was not kept: the core takes them as those of the first chunks. */
function without_gaps(records: [string, Uint8Array][]): Uint8Array[] {
  const found: Uint8Array[] = [];
  let chunks = 0;
  for (const [key, bytes] of records) {
    if (Number(key.slice(key.lastIndexOf("/") + 1)) !== chunks) break;
    found.push(bytes);
    chunks += bytes.length / RECORD;
  }
  return found;
}

/** The name that all files are below, or have. */
function top_of(paths: string[][]): string | undefined {
  const top = paths[0]?.[0];
  return paths.every((path) => path[0] === top) ? top : undefined;
}

function thing(file: File, name: string): ThingJson {
  return { name, media_type: file.type, bytes: file.size, made_ms: Math.max(file.lastModified, 0), thumbnail: 0 };
}

/** The files, when the browser gives them back without asking. */
async function given_again({ upload }: Kept): Promise<File[] | undefined> {
  const files: File[] = [];
  for (const handle of upload?.handles ?? []) {
    if (!handle) return undefined;
    try {
      files.push(await handle.getFile());
    } catch {
      return undefined;
    }
  }
  return files.length > 0 ? files : undefined;
}

/** True when these look like the files that were begun with; their content decides later. */
function same({ view, upload }: Kept, files: File[]): boolean {
  const known = view.files;
  if (!upload || files.length !== known.length || upload.paths.length !== known.length) return false;
  return files.every((file, at) => {
    const { name, size, modified_ms } = known[at] ?? { name: "", size: -1, modified_ms: 0 };
    return file.name === name && file.size === size && file.lastModified === modified_ms;
  });
}
