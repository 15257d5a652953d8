/** The page as one of the user's devices. */

import { CoreError } from "../api.ts";
import type { Answer, Arrived, Asked, Asking, AskRefusal, AskRequest, DeviceState, GivenFile, Peer, Sending } from "../device-api.ts";
import { type Stuck, Unread } from "./arrivals.ts";
import { Changes } from "./changes.ts";
import { type DeviceEvent, hex, type LetterEvent, type LetterJson } from "./commands.ts";
import type { PartMeans } from "./link.ts";
import { ask_json, ask_request, not_there, Part, split, things_of } from "./part.ts";

/** How long the relay keeps what this page sent, seconds. */
const KEEP_S = 30 * 86_400;
/** Letters that are kept; beyond that the oldest that was read goes. */
const MAX_LETTERS = 2000;
/** Requests of one device that may stand before the user. */
const MAX_ASKED = 32;
/** Requests that have ended and are kept, those of this page and those to it: beyond that the oldest goes. */
const MAX_ENDED = 200;
/** Time in which the relay must have heard the last words, milliseconds. */
const LAST_WORDS_MS = 2_000;

/** `seen`: the asker was told that the request is before the user. */
type KeptAsk = ({ asked: Asked; seen?: true } | { asking: Asking; letter: string }) & { ended_ms?: number };

function is_open(kept: KeptAsk): boolean {
  return "asked" in kept ? kept.asked.state === "open" : ["waiting", "sent", "seen"].includes(kept.asking.state);
}

/** The time at which it ended; of what earlier versions kept, when it was made. */
const ended_ms = (kept: KeptAsk) => kept.ended_ms ?? ("asked" in kept ? kept.asked.received_ms : kept.asking.made_ms);

/** All of it at one moment, as the screens see it. */
export interface DeviceView {
  device_id: string;
  state: DeviceState;
  name: string;
  peers: Peer[];
  sendings: Sending[];
  inbox: Arrived[];
  asked: Asked[];
  asking: Asking[];
  /** The reason for which what came is not kept, while it is not. */
  stuck?: Stuck;
}

interface Facts {
  name: string;
  paired: boolean;
  invitation?: string;
  removed?: boolean;
}

interface Waiting<T> {
  resolve(value: T): void;
  reject(error: CoreError): void;
}

export class DevicePart extends Part {
  #facts: Facts = { name: "", paired: false };
  #peers: Peer[] = [];
  readonly #inbox = new Map<string, Arrived>();
  readonly #asks = new Map<string, KeptAsk>();
  #pairing: (Waiting<{ name: string }> & { name: string; words: (words: string[]) => void }) | undefined;
  #push: Waiting<{ key?: Uint8Array; set: boolean }> | undefined;
  #push_set: Waiting<void> | undefined;
  /** The relay has heard everything that was said until then. */
  #heard: (() => void) | undefined;
  readonly #instance: number;
  #ends: ReturnType<typeof setTimeout> | undefined;

  constructor(means: PartMeans) {
    super(means, KEEP_S);
    this.#instance = Number.parseInt(this.link.random(6), 16);
  }

  /** Begins, or takes up what an earlier page left. */
  async start(): Promise<void> {
    const { keep } = this.link.means;
    const seed = (await keep.get<Uint8Array>("facts", "seed")) ?? this.#fresh();
    await keep.put("facts", "seed", seed);
    this.#facts = (await keep.get<Facts>("facts", "facts")) ?? this.#facts;
    for (const [id, kept] of await keep.all<Arrived>("letters")) this.#inbox.set(id, kept);
    for (const [id, kept] of await keep.all<KeptAsk>("asks")) this.#asks.set(id, kept);
    await this.begin(seed);
    await this.outbox.load();
    if (this.#facts.paired && !this.#facts.removed) {
      this.#connect();
      this.outbox.start();
    }
    await this.sendings.start();
    this.#expire();
  }

  #fresh(): Uint8Array<ArrayBuffer> {
    const seed = new Uint8Array(32);
    this.link.means.random(seed);
    return seed;
  }

  #connect(): void {
    const { name, invitation } = this.#facts;
    this.link.tell({ do: "device", name, made_ms: this.link.means.date(), instance: this.#instance, ...(invitation ? { invitation } : {}) });
  }

  async #save_facts(facts: Partial<Facts>): Promise<void> {
    this.#facts = { ...this.#facts, ...facts };
    await this.link.means.keep.put("facts", "facts", this.#facts);
    this.changed();
  }

  view(): DeviceView {
    const letters = [...this.#inbox.values()].sort((a, b) => b.received_ms - a.received_ms);
    const asks = [...this.#asks.values()];
    const view: DeviceView = {
      device_id: this.link.device_id,
      state: this.#facts.removed ? "removed" : this.#facts.paired ? this.connection : "new",
      name: this.#facts.name,
      peers: this.#peers,
      sendings: this.sendings.views(),
      inbox: letters,
      asked: asks.flatMap((kept) => ("asked" in kept ? [kept.asked] : [])).sort((a, b) => b.received_ms - a.received_ms),
      asking: asks.flatMap((kept) => ("asking" in kept ? [kept.asking] : [])).sort((a, b) => b.made_ms - a.made_ms),
    };
    if (this.stuck) view.stuck = this.stuck;
    return view;
  }

  protected override on(event: DeviceEvent, bytes: Uint8Array<ArrayBuffer>): void {
    switch (event.on) {
      case "state":
        if (event.state === "online" && this.#facts.invitation) {
          const { invitation: _, ...facts } = this.#facts;
          this.#facts = facts;
          void this.#save_facts({});
        }
        if (event.state === "removed" && this.#facts.paired) void this.#save_facts({ removed: true });
        return;
      case "devices":
        this.#peers = event.devices;
        return this.changed();
      case "pair_words":
        return this.#pairing?.words(event.words);
      case "paired":
        return void this.#paired(event.name, event.invitation);
      case "pair_failed":
        this.#pairing?.reject(new CoreError(event.code, event.message));
        this.#pairing = undefined;
        return;
      case "wake_ways":
        this.#push?.resolve(event.push ? { key: bytes, set: event.set } : { set: event.set });
        this.#push = undefined;
        return;
      case "wake_kept":
        this.#push_set?.resolve();
        this.#push_set = undefined;
        return this.#heard?.();
      case "wake_failed": {
        const error = new CoreError(event.code, "the relay does not wake this page");
        this.#push?.reject(error);
        this.#push_set?.reject(error);
        this.#push = this.#push_set = undefined;
        this.#heard?.();
      }
    }
  }

  // --- pairing ---

  pair(text: string, name: string, words: (words: string[]) => void): Promise<{ name: string }> {
    this.#pairing?.reject(new CoreError("aborted", "another code was entered"));
    return new Promise((resolve, reject) => {
      this.#pairing = { resolve, reject, name, words };
      this.link.tell({ do: "pair", text, name });
    });
  }

  pair_no_more(): void {
    this.#pairing?.reject(new CoreError("aborted", "the user went away"));
    this.#pairing = undefined;
    this.link.tell({ do: "pair_no_more" });
  }

  async #paired(name: string, invitation: string): Promise<void> {
    const pairing = this.#pairing;
    this.#pairing = undefined;
    await this.#save_facts({ name: pairing?.name ?? "", paired: true, invitation, removed: false });
    this.#connect();
    pairing?.resolve({ name });
  }

  async rename(name: string): Promise<void> {
    await this.#save_facts({ name });
    this.link.tell({ do: "name", name, made_ms: this.link.means.date() });
  }

  async forget(): Promise<void> {
    for (const { id } of this.sendings.views()) await this.sendings.clear(id);
    await this.#last_words();
    this.link.tell({ do: "leave" });
    await this.link.means.keep.clear();
    this.#inbox.clear();
    this.#asks.clear();
    this.#peers = [];
    this.#facts = { name: "", paired: false };
    this.changed();
  }

  /** Ends waking. The relay answers it after it has read what was said before: which shares it need not keep. */
  async #last_words(): Promise<void> {
    if (this.connection !== "online") return;
    await new Promise<void>((resolve) => {
      const patience = setTimeout(resolve, LAST_WORDS_MS);
      this.#heard = () => {
        clearTimeout(patience);
        resolve();
      };
      this.link.tell({ do: "wake" });
    });
    this.#heard = undefined;
  }

  // --- letters ---

  #peer(id: string): Peer | undefined {
    return this.#peers.find((peer) => peer.id === id);
  }

  #name_of(id: string): string {
    return this.#peer(id)?.name ?? "";
  }

  protected override letter(changes: Changes, event: LetterEvent, bytes: Uint8Array<ArrayBuffer>): void {
    // The relay brings letters of the user's own devices only; whoever was removed meanwhile is none.
    if (!this.#peer(event.from)) return;
    const { letter, from, id } = event;
    switch (letter.kind) {
      case "unreadable":
      case "service":
        return;
      case "receipt":
        return this.sendings.receipt(changes, letter.of, from, letter.taken);
      case "ask":
        return this.#asked_for(changes, event, letter);
      case "cancel":
        return this.#cancelled(changes, from, letter.ask);
      case "seen":
        return this.#advance(changes, from, letter.ask, { state: "seen" });
      case "refused":
        return this.#advance(changes, from, letter.ask, { state: "refused", answer: { kind: "refused", refusal: letter.refusal as AskRefusal, words: letter.words } });
      case "answer_text":
        return this.#advance(changes, from, letter.ask, { state: "answered", answer: { kind: "text", text: letter.text } });
      case "answer": {
        const answer: Answer = { kind: "things", things: things_of(letter.things, bytes), ...(letter.ticket ? { ticket: letter.ticket } : {}) };
        return this.#advance(changes, from, letter.ask, { state: "answered", answer });
      }
      default:
        this.#arrived(changes, event, letter, bytes);
        if (event.receipt) this.post(changes, from, { kind: "receipt", of: id, taken: true });
    }
  }

  #arrived(changes: Changes, event: LetterEvent, letter: LetterJson, bytes: Uint8Array<ArrayBuffer>): void {
    const { from, id } = event;
    const view: Arrived = { id: `${from}/${id}`, from, from_name: this.#name_of(from), received_ms: this.link.means.date(), read: false, kind: "unknown" };
    this.#make_room(changes);
    if (letter.kind === "text") Object.assign(view, { kind: "text", text: letter.text });
    else if (letter.kind === "ticket") {
      const { ticket, name, files, bytes: size } = letter;
      Object.assign(view, { kind: "share", share: { ticket, name, files, bytes: size } });
    } else if (letter.kind === "files") {
      Object.assign(view, { kind: "files", files: letter.files.map(({ name, length }) => ({ name, bytes: length })) });
      // Apart from what is shown, which is all in memory.
      changes.put("records", contents_of(view.id), split(bytes, letter.files.map(({ length }) => length)));
    }
    changes.set(this.#inbox, "letters", view.id, view);
  }

  #make_room(changes: Changes): void {
    if (this.#inbox.size < MAX_LETTERS) return;
    const [oldest] = [...this.#inbox.values()].filter(({ read }) => read).sort((a, b) => a.received_ms - b.received_ms);
    if (!oldest) throw new Unread();
    this.#delete_letter(changes, oldest.id);
  }

  #delete_letter(changes: Changes, id: string): void {
    changes.remove(this.#inbox, "letters", id);
    changes.delete("records", contents_of(id));
  }

  async mark_read(id: string): Promise<void> {
    const view = this.#inbox.get(id);
    if (!view || view.read) return;
    await this.change((changes) => changes.set(this.#inbox, "letters", id, { ...view, read: true }));
    this.room();
  }

  /** Deletes something that came, or a request that has ended. */
  async delete(id: string): Promise<void> {
    const ask = this.#asks.get(id);
    await this.change((changes) => {
      if (this.#inbox.has(id)) this.#delete_letter(changes, id);
      if (ask && !is_open(ask)) changes.remove(this.#asks, "asks", id);
    });
    this.room();
  }

  async file(id: string, index: number): Promise<Blob> {
    const contents = this.#inbox.has(id) ? await this.link.means.keep.get<Uint8Array<ArrayBuffer>[]>("records", contents_of(id)) : undefined;
    const content = contents?.[index];
    if (!content) throw not_there("file");
    return new Blob([content]);
  }

  #out(to: string): { to: string; to_name: string } {
    if (!this.#peer(to)) throw not_there("device");
    return { to, to_name: this.#name_of(to) };
  }

  async send_text(to: string, text: string): Promise<Sending> {
    return this.sendings.text(this.#out(to), text);
  }

  async send_files(to: string, files: GivenFile[]): Promise<Sending> {
    return this.sendings.files(this.#out(to), files);
  }

  // --- requests ---

  #keep_ask(changes: Changes, id: string, kept: KeptAsk): void {
    changes.set(this.#asks, "asks", id, is_open(kept) ? kept : { ...kept, ended_ms: this.link.means.date() });
    this.#forget_ended(changes);
    this.#expire_next();
  }

  /** Drops the oldest of too many requests that have ended. */
  #forget_ended(changes: Changes): void {
    const ended = [...this.#asks].filter(([, kept]) => !is_open(kept));
    if (ended.length <= MAX_ENDED) return;
    ended.sort(([, a], [, b]) => ended_ms(b) - ended_ms(a));
    for (const [id] of ended.slice(MAX_ENDED)) changes.remove(this.#asks, "asks", id);
  }

  #ends_of(kept: KeptAsk): number {
    return "asked" in kept ? kept.asked.ends_ms : kept.asking.made_ms + kept.asking.valid_s * 1000;
  }

  /** Requests whose time is over end by this page's clock. */
  #expire(): void {
    const now = this.link.means.date();
    const changes = new Changes();
    for (const [id, kept] of this.#asks) {
      if (!is_open(kept) || this.#ends_of(kept) > now) continue;
      const over: KeptAsk = "asked" in kept ? { ...kept, asked: { ...kept.asked, state: "expired" } } : { ...kept, asking: { ...kept.asking, state: "expired" } };
      changes.set(this.#asks, "asks", id, { ...over, ended_ms: now });
    }
    this.#forget_ended(changes);
    void changes.settle(this.link.means.keep);
    this.changed();
    this.#expire_next();
  }

  #expire_next(): void {
    clearTimeout(this.#ends);
    const open = [...this.#asks.values()].filter(is_open);
    if (open.length === 0) return;
    const next = Math.min(...open.map((kept) => this.#ends_of(kept))) - this.link.means.date();
    this.#ends = setTimeout(() => this.#expire(), Math.min(Math.max(next, 0), 2 ** 30));
  }

  #asked_for(changes: Changes, { from }: LetterEvent, { ask }: LetterJson & { kind: "ask" }): void {
    const id = `${from}/${ask.id}`;
    if (this.#asks.has(id)) return;
    const of_it = [...this.#asks.values()].filter((kept) => "asked" in kept && kept.asked.from === from && kept.asked.state === "open");
    if (of_it.length >= MAX_ASKED) {
      this.post(changes, from, { kind: "refused", ask: ask.id, refusal: "busy", words: "" });
      return;
    }
    const now = this.link.means.date();
    const asked: Asked = { ...ask_request(ask), id, from, from_name: this.#name_of(from), received_ms: now, ends_ms: now + ask.valid_s * 1000, state: "open" };
    this.#keep_ask(changes, id, { asked });
  }

  #cancelled(changes: Changes, from: string, ask: string): void {
    const kept = this.#asks.get(`${from}/${ask}`);
    if (kept && "asked" in kept && kept.asked.state === "open") this.#keep_ask(changes, kept.asked.id, { ...kept, asked: { ...kept.asked, state: "cancelled" } });
  }

  /** Something about a request of this page: only of whom it asked, and only while nothing has ended it. */
  #advance(changes: Changes, from: string, id: string, change: Partial<Asking>): void {
    const kept = this.#asks.get(id);
    if (!kept || !("asking" in kept) || kept.asking.to !== from || !is_open(kept)) return;
    this.#keep_ask(changes, id, { ...kept, asking: { ...kept.asking, ...change } });
  }

  protected override posted(changes: Changes, letter: string, code?: string): void {
    for (const [id, kept] of this.#asks) {
      if (!("asking" in kept) || kept.letter !== letter || kept.asking.state !== "waiting") continue;
      const answer: Answer = { kind: "refused", refusal: "failed", words: "" };
      this.#keep_ask(changes, id, { ...kept, asking: code ? { ...kept.asking, state: "refused", answer } : { ...kept.asking, state: "sent" } });
    }
    this.changed();
  }

  async ask(to: string, request: AskRequest): Promise<Asking> {
    const { to_name } = this.#out(to);
    const id = this.link.random(16);
    const letter = this.link.random(16);
    const asking: Asking = { ...request, id, to, to_name, made_ms: this.link.means.date(), state: "waiting" };
    await this.change((changes) => {
      this.#keep_ask(changes, id, { asking, letter });
      this.outbox.post(changes, letter, to, { kind: "ask", ask: ask_json(id, request) });
    });
    return asking;
  }

  async cancel(id: string): Promise<void> {
    const kept = this.#asks.get(id);
    if (!kept || !("asking" in kept) || !is_open(kept)) return;
    await this.change((changes) => {
      this.#keep_ask(changes, id, { ...kept, asking: { ...kept.asking, state: "cancelled" } });
      if (this.outbox.has(kept.letter)) this.outbox.forget(changes, kept.letter);
      else this.post(changes, kept.asking.to, { kind: "cancel", ask: id });
    });
  }

  /** An open request with the id by which its asker knows it. */
  #open(id: string): { kept: KeptAsk & { asked: Asked }; asked: Asked; ask: string } {
    const kept = this.#asks.get(id);
    if (!kept || !("asked" in kept)) throw not_there("request");
    if (kept.asked.state !== "open") throw new CoreError("gone", "the request has ended");
    return { kept, asked: kept.asked, ask: id.slice(kept.asked.from.length + 1) };
  }

  /** The request is before the user: its asker is told so once, however often it is shown. */
  async seen(id: string): Promise<void> {
    const kept = this.#asks.get(id);
    if (!kept || !("asked" in kept) || kept.seen || kept.asked.state !== "open") return;
    await this.change((changes) => {
      this.#keep_ask(changes, id, { ...kept, seen: true });
      this.post(changes, kept.asked.from, { kind: "seen", ask: this.#open(id).ask });
    });
  }

  async answer(id: string, files: GivenFile[]): Promise<Sending> {
    const { kept, asked, ask } = this.#open(id);
    // It is answered once: at once in memory, and durable with what is given.
    const answered: KeptAsk = { ...kept, asked: { ...asked, state: "answered" } };
    this.#asks.set(id, answered);
    this.changed();
    const also = (changes: Changes) => this.#keep_ask(changes, id, answered);
    try {
      return await this.sendings.files({ to: asked.from, to_name: asked.from_name, ask, also }, files, asked.digest);
    } catch (error) {
      // A file that cannot be read answers nothing: the request stands again.
      if (this.#asks.get(id) === answered) this.#asks.set(id, kept);
      this.#expire();
      throw error;
    }
  }

  async answer_text(id: string, text: string): Promise<void> {
    const { kept, asked, ask } = this.#open(id);
    await this.change((changes) => {
      this.#keep_ask(changes, id, { ...kept, asked: { ...asked, state: "answered" } });
      this.post(changes, asked.from, { kind: "answer_text", ask, text });
    });
  }

  async refuse(id: string, words = ""): Promise<void> {
    const { kept, asked, ask } = this.#open(id);
    await this.change((changes) => {
      this.#keep_ask(changes, id, { ...kept, asked: { ...asked, state: "refused" } });
      this.post(changes, asked.from, { kind: "refused", ask, refusal: "declined", words });
    });
  }

  // --- waking ---

  /** A connection that is gone answers nothing. */
  protected override stood(state: string): void {
    if (state === "online") return;
    const error = new CoreError("unreachable", "the relay is not reached");
    this.#push?.reject(error);
    this.#push_set?.reject(error);
    this.#push = this.#push_set = undefined;
    this.#heard?.();
  }

  push(): Promise<{ key?: Uint8Array; set: boolean }> {
    if (this.connection !== "online") return Promise.reject(new CoreError("unreachable", "the relay is not reached"));
    this.#push?.reject(new CoreError("aborted", "asked again"));
    return new Promise((resolve, reject) => {
      this.#push = { resolve, reject };
      this.link.tell({ do: "ask_wake" });
    });
  }

  set_push(subscription?: PushSubscriptionJSON): Promise<void> {
    if (this.connection !== "online") return Promise.reject(new CoreError("unreachable", "the relay is not reached"));
    this.#push_set?.reject(new CoreError("aborted", "set again"));
    return new Promise((resolve, reject) => {
      this.#push_set = { resolve, reject };
      const { endpoint, keys } = subscription ?? {};
      if (!endpoint) this.link.tell({ do: "wake" });
      else this.link.tell({ do: "wake", endpoint, key: hex(from_base64(keys?.["p256dh"] ?? "")), auth: hex(from_base64(keys?.["auth"] ?? "")) });
    });
  }
}

/** The place of the files of a letter. */
const contents_of = (id: string) => `letter/${id}`;

function from_base64(text: string): Uint8Array {
  const plain = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(plain, (character) => character.charCodeAt(0));
}
