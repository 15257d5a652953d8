/** The common base of the parts of a page (device, visitor, asker): a module, letters out and in, sendings. */

import { CoreError } from "../api.ts";
import type { AskRequest, Thing } from "../device-api.ts";
import { Arrivals, type Stuck } from "./arrivals.ts";
import { Changes } from "./changes.ts";
import type { AskJson, DeviceEvent, LetterEvent, LetterJson, ThingJson } from "./commands.ts";
import { CoreLink, type PartMeans } from "./link.ts";
import { Outbox } from "./outbox.ts";
import { Sendings } from "./sendings.ts";

export type Connection = "connecting" | "online" | "offline" | "removed";
/** Letters of which it is remembered that they came. */
const REMEMBERED = 1000;

export abstract class Part {
  readonly link: CoreLink;
  readonly outbox: Outbox;
  readonly sendings: Sendings;
  protected connection: Connection = "connecting";
  /** Why it is offline or removed. */
  protected code: string | undefined;
  readonly #listeners = new Set<() => void>();
  #announced = false;
  readonly #arrivals: Arrivals;
  #seen: string[] = [];

  protected constructor(means: PartMeans, keep_s: number) {
    this.link = new CoreLink(means, (event, bytes) => this.#event(event, bytes));
    this.outbox = new Outbox(this.link);
    this.sendings = new Sendings(this.link, this.outbox, keep_s, () => this.changed());
    this.#arrivals = new Arrivals((event, bytes) => this.#letter(event, bytes), () => this.changed());
    this.outbox.ondone = (changes, id, code) => {
      if (!this.sendings.letter(changes, id, code)) this.posted(changes, id, code);
    };
  }

  protected async begin(seed: Uint8Array): Promise<void> {
    this.#seen = (await this.link.means.keep.get<string[]>("facts", "seen")) ?? [];
    await this.link.start(seed);
  }

  onchange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Several changes in a moment are told once. */
  protected changed(): void {
    if (this.#announced) return;
    this.#announced = true;
    // The whole view goes to the page each time.
    setTimeout(() => {
      this.#announced = false;
      for (const listener of this.#listeners) listener();
    }, 100);
  }

  /** A letter that is no sending is at the relay, or never will be. */
  protected posted(_changes: Changes, _id: string, _code?: string): void {}
  /** The connection stands otherwise. */
  protected stood(_state: string): void {}
  /** Something that only one part hears. */
  protected on(_event: DeviceEvent, _bytes: Uint8Array<ArrayBuffer>): void {}
  /** A letter came: everything that it changes becomes durable together. */
  protected abstract letter(changes: Changes, event: LetterEvent, bytes: Uint8Array<ArrayBuffer>): void;

  /** The reason for which what came is not kept, while it is not. */
  protected get stuck(): Stuck | undefined {
    return this.#arrivals.stuck;
  }

  /** Something was deleted or read: what could not be kept is tried again. */
  room(): void {
    this.#arrivals.again();
  }

  #event(event: DeviceEvent, bytes: Uint8Array<ArrayBuffer>): void {
    switch (event.on) {
      case "state":
        this.connection = event.state;
        this.code = event.code;
        this.sendings.online = event.state === "online";
        // The relay brings again, on its next connection, what was not acknowledged.
        if (event.state !== "online") this.#arrivals.lost();
        this.stood(event.state);
        this.changed();
        break;
      case "letter":
        return this.#arrivals.add(event, bytes);
      case "sent":
        return void this.outbox.sent(event.id);
      case "unsent":
        return void this.outbox.unsent(event.id, event.code, event.retry_ms);
    }
    if ("upload" in event) void this.sendings.hear(event, bytes);
    this.on(event, bytes);
  }

  async #letter(event: LetterEvent, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const key = `${event.from}/${event.id}`;
    if (!this.#seen.includes(key)) {
      const changes = new Changes();
      const seen = [...this.#seen.slice(1 - REMEMBERED), key];
      try {
        this.letter(changes, event, bytes);
      } catch (error) {
        changes.undo();
        throw error;
      }
      changes.put("facts", "seen", seen);
      await changes.commit(this.link.means.keep);
      this.#seen = seen;
      this.changed();
    }
    this.link.tell({ do: "received", seq: event.seq });
  }

  /** Sends a letter that nobody sees as a sending. */
  post(changes: Changes, to: string, letter: LetterJson): string {
    const id = this.link.random(16);
    this.outbox.post(changes, id, to, letter);
    return id;
  }

  /** Makes changes durable: everything that `make` changes, or nothing. */
  protected async change(make: (changes: Changes) => void): Promise<void> {
    const changes = new Changes();
    make(changes);
    this.changed();
    try {
      await changes.commit(this.link.means.keep);
    } finally {
      this.changed();
    }
  }
}

/** Bytes of the files behind a letter, one after the other. */
export function split(bytes: Uint8Array<ArrayBuffer>, lengths: number[]): Uint8Array<ArrayBuffer>[] {
  let at = 0;
  return lengths.map((length) => bytes.slice(at, (at += length)));
}

export function ask_json(id: string, request: AskRequest): AskJson {
  const { kind, which, name, seconds, digest, reason, valid_s } = request;
  const json: AskJson = { id, kind, which, digest: digest ?? false, reason: reason ?? "", valid_s };
  if (name !== undefined) json.name = name;
  if (seconds !== undefined) json.seconds = seconds;
  return json;
}

export function ask_request({ kind, which, name, seconds, digest, reason, valid_s }: AskJson): AskRequest {
  const request = { kind, which, digest, valid_s } as AskRequest;
  if (name !== undefined) request.name = name;
  if (seconds !== undefined) request.seconds = seconds;
  if (reason) request.reason = reason;
  return request;
}

/** Things of an answer with what came in the letter. */
export function things_of(things: ThingJson[], bytes: Uint8Array<ArrayBuffer>): Thing[] {
  const parts = split(bytes, things.flatMap(({ content, thumbnail }) => [content ?? 0, thumbnail]));
  return things.map(({ name, media_type, bytes: size, made_ms, content, thumbnail }, at) => {
    const found: Thing = { name, media_type, bytes: size };
    if (made_ms > 0) found.made_ms = made_ms;
    if (typeof content === "number") found.content = new Blob([parts[2 * at] ?? ""], { type: media_type });
    if (thumbnail > 0) found.thumbnail = new Blob([parts[2 * at + 1] ?? ""], { type: "image/jpeg" });
    return found;
  });
}

export const not_there = (what: string) => new CoreError("not_found", `there is no such ${what}`);
