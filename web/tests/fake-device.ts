/**
 * Devices, visits and askers without a network, for tests of the screens. `globalThis.fake_device`, set before the
 * page loads, says what there is and what goes wrong; `globalThis.acts` has what the screens did.
 */
import { CoreError } from "../src/core/api.ts";
import type { AskRequest, Asked, Asker, Asking, Arrived, DeviceCore, DeviceState, GivenFile, PageDevice, Peer, Sending, Thing, Visit } from "../src/core/device-api.ts";
import { load_core } from "./fake-core.ts";

export interface FakeDevice {
  state?: DeviceState;
  /** There is no device: its code. */
  fails?: string;
  /** Names of other devices, files and people are those that hostile people choose. */
  hostile?: readonly string[];
  empty?: boolean;
  pair?: { code?: string; yes_ms?: number };
  /** Bytes per second of what is sent. */
  rate?: number;
  sendings?: Partial<Sending>[];
  asked?: Partial<Asked>[];
  asking?: Partial<Asking>[];
  push_key?: boolean;
  stuck?: "unread" | "room";
  send_fails?: string;
  visit?: { kind?: "inbox" | "ask"; fails?: string; origin?: string; host_name?: string; ended?: boolean; offline?: boolean; bytes?: number; ask?: Partial<AskRequest & { multiple: boolean }> };
  asker?: { fails?: string; things?: { name: string; media_type: string; content?: string; bytes?: number; digest?: boolean }[]; opened_ms?: number; answer_ms?: number };
}

interface World {
  fake_device?: FakeDevice;
  acts?: unknown[];
}
const world = globalThis as World;
const config = (): FakeDevice => world.fake_device ?? {};
const act = (...what: unknown[]) => void (world.acts ??= []).push(what);
const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const MINUTE = 60_000;

class Told {
  readonly #listeners = new Set<() => void>();
  onchange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
  tell(): void {
    for (const listener of this.#listeners) listener();
  }
}

/** Everything that sends, for devices and visits. */
class Outgoing extends Told {
  list: Sending[] = [];
  #next = 1;

  begin(to: string, to_name: string, kind: Sending["kind"], given: { text?: string; files?: GivenFile[] }): Sending {
    const { send_fails } = config();
    if (send_fails !== undefined) throw new CoreError(send_fails, "as the test says");
    const files = (given.files ?? []).map(({ file, path }) => ({ name: path ?? file.name, size: file.size, modified_ms: file.lastModified }));
    const bytes = files.reduce((sum, { size }) => sum + size, 0) + (given.text?.length ?? 0);
    const one: Sending = { id: `sending-${this.#next++}`, to, to_name, kind, files, state: "uploading", done: 0, bytes, rate: 0, ...(given.text === undefined ? {} : { text: given.text.slice(0, 80) }) };
    this.list = [one, ...this.list];
    act("send", to, kind, given.text ?? files.map(({ name }) => name));
    void this.#run(one.id);
    this.tell();
    return one;
  }

  async #run(id: string): Promise<void> {
    const rate = config().rate ?? 1e9;
    for (;;) {
      await wait(60);
      const one = this.list.find((other) => other.id === id);
      if (!one || one.state !== "uploading") return;
      const done = Math.min(one.bytes, one.done + rate * 0.06);
      this.set(id, done === one.bytes ? { done, state: "sent", rate: 0 } : { done, rate });
      if (done === one.bytes) return;
    }
  }

  set(id: string, change: Partial<Sending>): void {
    this.list = this.list.map((one) => (one.id === id ? { ...one, ...change } : one));
    this.tell();
  }

  pause(id: string): void {
    act("pause", id);
    this.set(id, { state: "paused", rate: 0 });
  }

  async resume(id: string, files?: GivenFile[]): Promise<void> {
    act("resume", id, files?.map(({ file }) => file.name));
    const one = this.list.find((other) => other.id === id);
    if (one?.state === "needs_file" && files?.[0]?.file.name !== one.files[0]?.name) throw new CoreError("changed", "another file");
    const { error: _, ...rest } = one ?? ({} as Sending);
    this.list = this.list.map((other) => (other.id === id ? { ...rest, state: "uploading" } : other));
    this.tell();
    void this.#run(id);
  }

  async clear(id: string): Promise<void> {
    act("clear", id);
    this.list = this.list.filter((one) => one.id !== id);
    this.tell();
  }
}

function named(at: number, otherwise: string): string {
  const { hostile } = config();
  return hostile ? (hostile[at % hostile.length] ?? otherwise) : otherwise;
}

function first_peers(): Peer[] {
  if (config().empty) return [];
  const now = Date.now();
  return [
    { id: "12D3KooWLaptop000000000000000laptop1", name: named(0, "laptop"), online: true, web: false, last_seen_ms: now },
    { id: "12D3KooWDesk0000000000000000000desk2", name: named(1, "Arbeitszimmer"), online: false, web: false, last_seen_ms: now - 190 * MINUTE },
    { id: "12D3KooWPage0000000000000000000page3", name: named(2, "Firefox, Windows"), online: true, web: true, last_seen_ms: now },
  ];
}

function first_inbox(): Arrived[] {
  if (config().empty) return [];
  const now = Date.now();
  const from = { from: "12D3KooWLaptop000000000000000laptop1", from_name: named(3, "laptop") };
  return [
    { id: "in-1", ...from, received_ms: now - 2 * MINUTE, read: false, kind: "text", text: config().hostile ? (config().hostile ?? []).join("\n") : "The key is under the mat.\nhttps://example.org/way?to=house" },
    { id: "in-2", ...from, received_ms: now - 90 * MINUTE, read: true, kind: "files", files: [{ name: named(4, "Fahrplan.pdf"), bytes: 184_221 }, { name: named(5, "Ticket.png"), bytes: 48_112 }] },
    { id: "in-3", ...from, received_ms: now - 26 * 60 * MINUTE, read: true, kind: "share", share: { ticket: `hither1${"q".repeat(60)}`, name: named(6, "Bergtour 2026"), files: 37, bytes: 1_311_000_000 } },
    { id: "in-4", ...from, received_ms: now - 50 * 60 * MINUTE, read: true, kind: "unknown" },
  ];
}

function first_asked(): Asked[] {
  return (config().asked ?? []).map((one, at) => ({ id: `asked-${at}`, from: "12D3KooWLaptop000000000000000laptop1", from_name: named(7, "laptop"), kind: "photo", which: "picked", valid_s: 3600, received_ms: Date.now(), ends_ms: Date.now() + 14 * MINUTE, state: "open", ...one }));
}

function first_asking(): Asking[] {
  const picture = new Blob([Uint8Array.from(atob("iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEUlEQVR4nGNgaFDAioaWBAAPpDgB30KxVgAAAABJRU5ErkJggg=="), (c) => c.charCodeAt(0))], { type: "image/png" });
  return (config().asking ?? []).map((one, at) => {
    const made: Asking = { id: `asking-${at}`, to: "12D3KooWDesk0000000000000000000desk2", to_name: named(8, "Arbeitszimmer"), kind: "photo", which: "latest", valid_s: 3600, made_ms: Date.now() - 5 * MINUTE, state: "waiting", ...one };
    if (made.answer?.kind === "things") made.answer = { ...made.answer, things: made.answer.things.map((thing) => ({ ...thing, content: picture })) };
    return made;
  });
}

class FakePage extends Outgoing implements PageDevice {
  readonly device_id = "12D3KooWThisPage00000000000000page0";
  state: DeviceState = config().state ?? "online";
  stuck = config().stuck;
  name = "Chrome, Android";
  #peers = first_peers();
  #inbox = first_inbox();
  #asked = first_asked();
  #asking = first_asking();
  #push = false;

  constructor() {
    super();
    this.list = (config().sendings ?? []).map((one, at) => ({ id: `old-${at}`, to: this.#peers[0]?.id ?? "", to_name: named(9, "laptop"), kind: "files", files: [{ name: named(10, "film.mkv"), size: 734_003_200, modified_ms: 0 }], state: "sent", done: 0, bytes: 734_003_200, rate: 0, ...one }));
  }
  peers = () => this.#peers;
  sendings = () => this.list;
  inbox = () => this.#inbox;
  asked = () => this.#asked;
  asking = () => this.#asking;

  async pair(text: string, name: string, words: (words: string[]) => void, signal?: AbortSignal): Promise<{ name: string }> {
    act("pair", text, name);
    const { code, yes_ms } = config().pair ?? {};
    await wait(50);
    if (code === "ticket" || code === "spent") throw new CoreError(code, "as the test says");
    words(["amber", "falcon", "ridge"]);
    const end = Date.now() + (yes_ms ?? 400);
    while (Date.now() < end) {
      await wait(20);
      if (signal?.aborted) throw new CoreError("aborted", "aborted");
    }
    if (code) throw new CoreError(code, "as the test says");
    this.name = name;
    this.state = "online";
    this.tell();
    return { name: named(0, "laptop") };
  }
  async rename(name: string): Promise<void> {
    act("rename", name);
    this.name = name;
    this.tell();
  }
  async forget(): Promise<void> {
    act("forget");
    this.state = "new";
  }
  send_text = async (to: string, text: string) => this.begin(to, this.#name(to), "text", { text });
  send_files = async (to: string, files: GivenFile[]) => this.begin(to, this.#name(to), "files", { files });
  #name(id: string): string {
    return this.#peers.find((one) => one.id === id)?.name ?? "";
  }
  async mark_read(id: string): Promise<void> {
    this.#inbox = this.#inbox.map((one) => (one.id === id ? { ...one, read: true } : one));
    this.tell();
  }
  async delete(id: string): Promise<void> {
    act("delete", id);
    this.#inbox = this.#inbox.filter((one) => one.id !== id);
    this.#asking = this.#asking.filter((one) => one.id !== id);
    this.#asked = this.#asked.filter((one) => one.id !== id);
    this.tell();
  }
  file = async (id: string, index: number) => new Blob([`${id} ${index}`]);
  open = async (ticket: string, signal?: AbortSignal) => (await load_core()).open(ticket, signal ? { signal } : {});
  async ask(to: string, request: AskRequest): Promise<Asking> {
    act("ask", to, request);
    const one: Asking = { ...request, id: `asking-new-${this.#asking.length}`, to, to_name: this.#name(to), made_ms: Date.now(), state: "sent" };
    this.#asking = [one, ...this.#asking];
    this.tell();
    return one;
  }
  async cancel(id: string): Promise<void> {
    act("cancel", id);
    this.#asking = this.#asking.map((one) => (one.id === id ? { ...one, state: "cancelled" } : one));
    this.tell();
  }
  seen = (id: string) => act("seen", id);
  #answered(id: string, state: Asked["state"]): void {
    this.#asked = this.#asked.map((one) => (one.id === id ? { ...one, state } : one));
    this.tell();
  }
  async answer(id: string, files: GivenFile[]): Promise<Sending> {
    const sending = this.begin(this.#asked.find((one) => one.id === id)?.from ?? "", "laptop", "answer", { files });
    this.#answered(id, "answered");
    return sending;
  }
  async answer_text(id: string, text: string): Promise<void> {
    act("answer_text", id, text);
    this.#answered(id, "answered");
  }
  async refuse(id: string): Promise<void> {
    act("refuse", id);
    this.#answered(id, "refused");
  }
  push = async () => (config().push_key ? { key: new Uint8Array(65).fill(4), set: this.#push } : { set: false });
  async set_push(subscription: PushSubscriptionJSON | undefined): Promise<void> {
    act("set_push", subscription === undefined ? undefined : "subscription");
    this.#push = subscription !== undefined;
  }
}

class FakeVisit extends Outgoing implements Visit {
  readonly kind;
  readonly host_name;
  readonly origin?: string;
  readonly ask?: AskRequest & { multiple: boolean };
  readonly number = 47;
  readonly bytes = config().visit?.bytes ?? 5_000_000_000;
  ends_ms: number;
  state: Visit["state"];

  constructor(kind: "inbox" | "ask") {
    super();
    const visit = config().visit ?? {};
    this.kind = visit.kind ?? kind;
    this.host_name = visit.host_name ?? named(0, "Jana Novotná");
    this.state = visit.ended ? "ended" : visit.offline ? "offline" : "online";
    this.ends_ms = Date.now() + (this.kind === "ask" ? 15 * MINUTE : 6 * 24 * 60 * MINUTE);
    if (this.kind === "ask") {
      this.origin = visit.origin ?? "https://shop.example";
      this.ask = { kind: "photo", which: "picked", valid_s: 900, multiple: false, reason: "A photo of your damaged parcel, for claim 4711.", ...visit.ask };
    }
    this.list = (config().sendings ?? []).map((one, at) => ({ id: `old-${at}`, to: "host", to_name: this.host_name, kind: "files", files: [{ name: named(10, "film.mkv"), size: 734_003_200, modified_ms: 0 }], state: "sent", done: 0, bytes: 734_003_200, rate: 0, ...one }));
  }
  sendings = () => this.list;
  name = (name: string) => act("name", name);
  send_text = async (text: string) => this.begin("host", this.host_name, "text", { text });
  send_files = async (files: GivenFile[]) => this.begin("host", this.host_name, "files", { files });
  answer = async (files: GivenFile[]) => this.begin("host", this.origin ?? "", "answer", { files });
  async refuse(): Promise<void> {
    act("refuse");
  }
  close = () => act("close");
}

class FakeAsker extends Told implements Asker {
  readonly link: string;
  number?: number;
  state: Asker["state"] = "connecting";
  #closed = false;

  constructor(readonly request: AskRequest & { multiple: boolean }, relay: string) {
    super();
    this.link = `hither-ask1${"qpzry9x8gf2tvdw0s3jn54khce6mua7l".repeat(4)}`;
    act("ask", request, relay);
    setTimeout(() => this.#set("waiting"), 30);
    setTimeout(() => {
      this.number = 47;
      this.#set("opened");
    }, config().asker?.opened_ms ?? 200);
  }
  #set(state: Asker["state"]): void {
    if (this.#closed) return;
    this.state = state;
    this.tell();
  }
  async answer(): Promise<Thing[]> {
    const { answer_ms = 600, fails, things } = config().asker ?? {};
    const end = Date.now() + answer_ms;
    while (Date.now() < end) {
      await wait(20);
      if (this.#closed) throw new CoreError("aborted", "aborted");
    }
    if (fails) throw new CoreError(fails, "as the test says");
    this.#set("answered");
    const given = things ?? [{ name: "parcel.jpg", media_type: "image/jpeg", content: "picture" }];
    return given.map(({ name, media_type, content, bytes }): Thing => ({ name, media_type, bytes: bytes ?? content?.length ?? 0, made_ms: 1_700_000_000_000, ...(content === undefined || this.request.digest ? {} : { content: new Blob([content], { type: media_type }) }), ...(this.request.digest ? { thumbnail: new Blob(["small"], { type: "image/jpeg" }) } : {}) }));
  }
  read(index: number): ReadableStream<Uint8Array> {
    const size = config().asker?.things?.[index]?.bytes ?? 0;
    let at = 0;
    return new ReadableStream({
      async pull(controller) {
        await wait(10);
        const part = Math.min(65_536, size - at);
        if (part > 0) controller.enqueue(new Uint8Array(part).fill(index + 65));
        at += part;
        if (at >= size) controller.close();
      },
    });
  }
  close(): void {
    act("close");
    this.#closed = true;
  }
}

export async function load_device(): Promise<DeviceCore> {
  const page = new FakePage();
  (world as { page?: unknown }).page = page;
  return {
    async device() {
      const { fails } = config();
      if (fails) throw new CoreError(fails, "as the test says");
      return page;
    },
    async visit(link) {
      act("visit", link);
      await wait(30);
      const { fails } = config().visit ?? {};
      if (fails) throw new CoreError(fails, "as the test says");
      const visit = new FakeVisit(link.includes("hither-ask1") ? "ask" : "inbox");
      (world as { visit?: unknown }).visit = visit;
      return visit;
    },
    ask: async (request, relay) => new FakeAsker(request, relay),
  };
}

export async function load_asker(wasm: string): Promise<Pick<DeviceCore, "ask">> {
  act("wasm", wasm);
  return load_device();
}

