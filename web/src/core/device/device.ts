/** The page as one of the user's devices. */

import { CoreError } from "../api.ts";
import type { Answer, Arrived, Asked, Asking, AskRefusal, AskRequest, DeviceState, GivenFile, Peer, Sending } from "../device-api.ts";
import { type DeviceEvent, hex, type LetterEvent, type LetterJson } from "./commands.ts";
import type { PartMeans } from "./link.ts";
import { ask_json, ask_request, not_there, Part, split, things_of } from "./part.ts";

/** How long the relay keeps what this page sent, seconds. */
const KEEP_S = 30 * 86_400;
/** Letters that are kept; beyond that the oldest that was read goes. */
const MAX_LETTERS = 2000;
/** Requests of one device that may stand before the user. */
const MAX_ASKED = 32;

type KeptAsk = { asked: Asked } | { asking: Asking; letter: string };

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
    if (this.#facts.paired && !this.#facts.removed) {
      this.#connect();
      await this.outbox.start();
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
    return {
      device_id: this.link.device_id,
      state: this.#facts.removed ? "removed" : this.#facts.paired ? this.connection : "new",
      name: this.#facts.name,
      peers: this.#peers,
      sendings: this.sendings.views(),
      inbox: letters,
      asked: asks.flatMap((kept) => ("asked" in kept ? [kept.asked] : [])).sort((a, b) => b.received_ms - a.received_ms),
      asking: asks.flatMap((kept) => ("asking" in kept ? [kept.asking] : [])).sort((a, b) => b.made_ms - a.made_ms),
    };
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
        return;
      case "wake_failed": {
        const error = new CoreError(event.code, "the relay does not wake this page");
        this.#push?.reject(error);
        this.#push_set?.reject(error);
        this.#push = this.#push_set = undefined;
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
    if (this.connection === "online") this.link.tell({ do: "wake" });
    for (const { id } of this.sendings.views()) await this.sendings.clear(id);
    this.link.tell({ do: "leave" });
    await this.link.means.keep.clear();
    this.#inbox.clear();
    this.#asks.clear();
    this.#peers = [];
    this.#facts = { name: "", paired: false };
    this.changed();
  }

  // --- letters ---

  #peer(id: string): Peer | undefined {
    return this.#peers.find((peer) => peer.id === id);
  }

  #name_of(id: string): string {
    return this.#peer(id)?.name ?? "";
  }

  protected override async letter(event: LetterEvent, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    // The relay brings letters of the user's own devices only; whoever was removed meanwhile is none.
    if (!this.#peer(event.from)) return;
    const { letter, from, id } = event;
    switch (letter.kind) {
      case "unreadable":
      case "service":
        return;
      case "receipt":
        return this.sendings.receipt(letter.of, from, letter.taken);
      case "ask":
        return this.#asked_for(event, letter);
      case "cancel":
        return this.#cancelled(from, letter.ask);
      case "seen":
        return this.#advance(from, letter.ask, { state: "seen" });
      case "refused":
        return this.#advance(from, letter.ask, { state: "refused", answer: { kind: "refused", refusal: letter.refusal as AskRefusal, words: letter.words } });
      case "answer_text":
        return this.#advance(from, letter.ask, { state: "answered", answer: { kind: "text", text: letter.text } });
      case "answer": {
        const answer: Answer = { kind: "things", things: things_of(letter.things, bytes), ...(letter.ticket ? { ticket: letter.ticket } : {}) };
        return this.#advance(from, letter.ask, { state: "answered", answer });
      }
      default:
        await this.#arrived(event, letter, bytes);
        if (event.receipt) await this.post(from, { kind: "receipt", of: id, taken: true });
    }
  }

  async #arrived(event: LetterEvent, letter: LetterJson, bytes: Uint8Array<ArrayBuffer>): Promise<void> {
    const { from, id } = event;
    const view: Arrived = { id: `${from}/${id}`, from, from_name: this.#name_of(from), received_ms: this.link.means.date(), read: false, kind: "unknown" };
    if (letter.kind === "text") Object.assign(view, { kind: "text", text: letter.text });
    else if (letter.kind === "ticket") {
      const { ticket, name, files, bytes: size } = letter;
      Object.assign(view, { kind: "share", share: { ticket, name, files, bytes: size } });
    } else if (letter.kind === "files") {
      Object.assign(view, { kind: "files", files: letter.files.map(({ name, length }) => ({ name, bytes: length })) });
      // Apart from what is shown, which is all in memory.
      await this.link.means.keep.put("records", contents_of(view.id), split(bytes, letter.files.map(({ length }) => length)));
    }
    await this.#make_room();
    await this.#keep_letter(view);
  }

  async #make_room(): Promise<void> {
    if (this.#inbox.size < MAX_LETTERS) return;
    const [oldest] = [...this.#inbox.values()].filter(({ read }) => read).sort((a, b) => a.received_ms - b.received_ms);
    if (!oldest) throw new Error("too many letters wait to be read");
    await this.delete(oldest.id);
  }

  async #keep_letter(view: Arrived): Promise<void> {
    await this.link.means.keep.put("letters", view.id, view);
    this.#inbox.set(view.id, view);
    this.changed();
  }

  async mark_read(id: string): Promise<void> {
    const view = this.#inbox.get(id);
    if (view && !view.read) await this.#keep_letter({ ...view, read: true });
  }

  async delete(id: string): Promise<void> {
    if (this.#inbox.delete(id)) {
      await this.link.means.keep.delete("letters", id);
      await this.link.means.keep.delete("records", contents_of(id));
    }
    const ask = this.#asks.get(id);
    if (ask) {
      this.#asks.delete(id);
      await this.link.means.keep.delete("asks", id);
    }
    this.changed();
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

  async #keep_ask(id: string, kept: KeptAsk): Promise<void> {
    this.#asks.set(id, kept);
    await this.link.means.keep.put("asks", id, kept);
    this.#expire();
    this.changed();
  }

  /** Requests whose time is over end by this page's clock. */
  #expire(): void {
    clearTimeout(this.#ends);
    const now = this.link.means.date();
    let next = Infinity;
    for (const [id, kept] of this.#asks) {
      const ends = "asked" in kept ? kept.asked.ends_ms : kept.asking.made_ms + kept.asking.valid_s * 1000;
      const open = "asked" in kept ? kept.asked.state === "open" : ["waiting", "sent", "seen"].includes(kept.asking.state);
      if (!open) continue;
      if (ends > now) {
        next = Math.min(next, ends);
        continue;
      }
      if ("asked" in kept) kept.asked = { ...kept.asked, state: "expired" };
      else kept.asking = { ...kept.asking, state: "expired" };
      void this.link.means.keep.put("asks", id, kept);
      this.changed();
    }
    if (next < Infinity) this.#ends = setTimeout(() => this.#expire(), Math.min(next - now, 2 ** 30));
  }

  async #asked_for({ from }: LetterEvent, { ask }: LetterJson & { kind: "ask" }): Promise<void> {
    const id = `${from}/${ask.id}`;
    if (this.#asks.has(id)) return;
    const of_it = [...this.#asks.values()].filter((kept) => "asked" in kept && kept.asked.from === from && kept.asked.state === "open");
    if (of_it.length >= MAX_ASKED) {
      await this.post(from, { kind: "refused", ask: ask.id, refusal: "busy", words: "" });
      return;
    }
    const now = this.link.means.date();
    const asked: Asked = { ...ask_request(ask), id, from, from_name: this.#name_of(from), received_ms: now, ends_ms: now + ask.valid_s * 1000, state: "open" };
    await this.#keep_ask(id, { asked });
  }

  async #cancelled(from: string, ask: string): Promise<void> {
    const kept = this.#asks.get(`${from}/${ask}`);
    if (kept && "asked" in kept && kept.asked.state === "open") await this.#keep_ask(kept.asked.id, { asked: { ...kept.asked, state: "cancelled" } });
  }

  /** Something about a request of this page: only of whom it asked, and only while nothing has ended it. */
  async #advance(from: string, id: string, change: Partial<Asking>): Promise<void> {
    const kept = this.#asks.get(id);
    if (!kept || !("asking" in kept) || kept.asking.to !== from) return;
    if (!["waiting", "sent", "seen"].includes(kept.asking.state)) return;
    await this.#keep_ask(id, { ...kept, asking: { ...kept.asking, ...change } });
  }

  protected override async posted(letter: string, code?: string): Promise<void> {
    for (const [id, kept] of this.#asks) {
      if (!("asking" in kept) || kept.letter !== letter || kept.asking.state !== "waiting") continue;
      const answer: Answer = { kind: "refused", refusal: "failed", words: "" };
      await this.#keep_ask(id, { ...kept, asking: code ? { ...kept.asking, state: "refused", answer } : { ...kept.asking, state: "sent" } });
    }
  }

  async ask(to: string, request: AskRequest): Promise<Asking> {
    const { to_name } = this.#out(to);
    const id = this.link.random(16);
    const letter = this.link.random(16);
    const asking: Asking = { ...request, id, to, to_name, made_ms: this.link.means.date(), state: "waiting" };
    await this.#keep_ask(id, { asking, letter });
    await this.outbox.post(letter, to, { kind: "ask", ask: ask_json(id, request) });
    return asking;
  }

  async cancel(id: string): Promise<void> {
    const kept = this.#asks.get(id);
    if (!kept || !("asking" in kept) || !["waiting", "sent", "seen"].includes(kept.asking.state)) return;
    await this.#keep_ask(id, { ...kept, asking: { ...kept.asking, state: "cancelled" } });
    if (this.outbox.has(kept.letter)) await this.outbox.forget(kept.letter);
    else await this.post(kept.asking.to, { kind: "cancel", ask: id });
  }

  /** An open request with the id by which its asker knows it. */
  #open(id: string): { asked: Asked; ask: string } {
    const kept = this.#asks.get(id);
    if (!kept || !("asked" in kept)) throw not_there("request");
    if (kept.asked.state !== "open") throw new CoreError("gone", "the request has ended");
    return { asked: kept.asked, ask: id.slice(kept.asked.from.length + 1) };
  }

  seen(id: string): void {
    const kept = this.#asks.get(id);
    if (!kept || !("asked" in kept) || kept.asked.state !== "open") return;
    void this.post(kept.asked.from, { kind: "seen", ask: this.#open(id).ask });
  }

  async answer(id: string, files: GivenFile[]): Promise<Sending> {
    const { asked, ask } = this.#open(id);
    // The decision is durable before anything is sent.
    await this.#keep_ask(id, { asked: { ...asked, state: "answered" } });
    try {
      return await this.sendings.files({ to: asked.from, to_name: asked.from_name, ask }, files, asked.digest);
    } catch (error) {
      // A file that cannot be read answers nothing: the request stands again.
      await this.#keep_ask(id, { asked });
      throw error;
    }
  }

  async answer_text(id: string, text: string): Promise<void> {
    const { asked, ask } = this.#open(id);
    await this.#keep_ask(id, { asked: { ...asked, state: "answered" } });
    await this.post(asked.from, { kind: "answer_text", ask, text });
  }

  async refuse(id: string, words = ""): Promise<void> {
    const { asked, ask } = this.#open(id);
    await this.#keep_ask(id, { asked: { ...asked, state: "refused" } });
    await this.post(asked.from, { kind: "refused", ask, refusal: "declined", words });
  }

  // --- waking ---

  /** A connection that is gone answers nothing. */
  protected override stood(state: string): void {
    if (state === "online") return;
    const error = new CoreError("unreachable", "the relay is not reached");
    this.#push?.reject(error);
    this.#push_set?.reject(error);
    this.#push = this.#push_set = undefined;
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
