/** The page as somebody who opened a link of a device, or of a site that asks. */

import { CoreError } from "../api.ts";
import type { AskRequest, GivenFile, Sending } from "../device-api.ts";
import { Changes } from "./changes.ts";
import type { AskJson, DeviceEvent, LetterEvent } from "./commands.ts";
import { MemoryKeep } from "./keep.ts";
import type { PartMeans } from "./link.ts";
import { ask_request, Part } from "./part.ts";

/** Longest time that a visitor's share is kept, seconds. */
const KEEP_S = 7 * 86_400;
/** Time in which the relay must have let the page in, milliseconds. */
const PATIENCE_MS = 30_000;
/** The fact that says when a visit ends, milliseconds; and the end until the relay has said it. */
export const ENDS = "ends";
const UNKNOWN_END_MS = 86_400_000;

export interface VisitView {
  kind: "inbox" | "ask";
  host_name: string;
  origin?: string;
  ask?: AskRequest & { multiple: boolean };
  number: number;
  ends_ms: number;
  bytes: number;
  state: "connecting" | "online" | "offline" | "ended";
  sendings: Sending[];
}

export class VisitPart extends Part {
  #link: (DeviceEvent & { on: "link" }) | undefined;
  #ends_ms = 0;
  #bytes = 0;
  #origin: string | undefined;
  /** The request was taken back, refused or answered. */
  #ended = false;
  #forgotten = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #in: ((error?: CoreError) => void) | undefined;

  constructor(means: PartMeans) {
    super(means, KEEP_S);
  }

  /** Opens the link; resolves when the relay has let the page in. */
  async start(link: string, signal?: AbortSignal): Promise<void> {
    const { keep } = this.link.means;
    let seed = await keep.get<Uint8Array>("facts", "seed");
    if (!seed) {
      seed = new Uint8Array(32);
      this.link.means.random(seed as Uint8Array<ArrayBuffer>);
      await keep.write([{ store: "facts", key: "seed", value: seed }, { store: "facts", key: ENDS, value: this.link.means.date() + UNKNOWN_END_MS }]);
    }
    const name = (await keep.get<string>("facts", "name")) ?? "";
    this.#ends_ms = (await keep.get<number>("facts", ENDS)) ?? this.link.means.date() + UNKNOWN_END_MS;
    await this.begin(seed);
    await new Promise<void>((resolve, reject) => {
      const over = (error?: CoreError) => {
        clearTimeout(patience);
        this.#in = undefined;
        if (error) this.link.tell({ do: "leave" });
        if (error) reject(error);
        else resolve();
      };
      const patience = setTimeout(() => over(new CoreError("unreachable", "the relay does not answer")), PATIENCE_MS);
      signal?.addEventListener("abort", () => over(new CoreError("aborted", "the link was closed")), { once: true });
      this.#in = over;
      this.link.tell({ do: "visit", link, name });
    });
    await this.outbox.load();
    this.outbox.start();
    await this.sendings.start();
  }

  view(): VisitView {
    const { kind, name, number, ask, multiple } = this.#link ?? { kind: "inbox" as const, name: "", number: 0, ask: undefined, multiple: false };
    const ended = this.#ended || this.connection === "removed" || this.link.means.date() >= this.#ends_ms;
    const view: VisitView = {
      kind,
      host_name: name,
      number,
      ends_ms: this.#ends_ms,
      bytes: this.#bytes,
      state: ended || this.connection === "removed" ? "ended" : this.connection,
      sendings: this.sendings.views(),
    };
    if (this.#origin !== undefined) view.origin = this.#origin;
    if (ask) view.ask = { ...ask_request(ask), multiple };
    return view;
  }

  protected override on(event: DeviceEvent): void {
    switch (event.on) {
      case "link":
        this.#link = event;
        return;
      case "no_link":
        return this.#in?.(new CoreError(event.code, "this is no such link"));
      case "visiting":
        this.#ends_ms = this.link.means.date() + event.seconds * 1000;
        this.#bytes = event.bytes;
        this.#origin = event.origin;
        this.changed();
        void this.#let_in();
        return this.#in?.();
      case "state":
        if (event.state !== "removed") return;
        this.#look();
        // Unknown, used up and ended are one answer.
        this.#in?.(new CoreError("gone", `the relay says: ${event.code}`));
    }
  }

  /** Keeps how long the visit lasts, and tells a site once that its request is before somebody. */
  async #let_in(): Promise<void> {
    this.#look();
    const ask = this.#link?.ask;
    const told = !ask || (await this.link.means.keep.get("facts", "told"));
    const changes = new Changes();
    changes.put("facts", ENDS, this.#ends_ms);
    if (!told && this.#link) {
      changes.put("facts", "told", true);
      this.post(changes, this.#link.host, { kind: "seen", ask: ask.id });
    }
    await changes.settle(this.link.means.keep);
  }

  protected override letter(changes: Changes, { letter, from }: LetterEvent): void {
    if (letter.kind === "receipt") {
      this.sendings.receipt(changes, letter.of, from, letter.taken);
      // A site takes one answer.
      if (this.#link?.ask && letter.taken) this.#end();
    }
    if (letter.kind === "cancel" && letter.ask === this.#link?.ask?.id) this.#end();
  }

  protected override posted(): void {
    this.#look();
  }

  #end(): void {
    this.#ended = true;
    this.changed();
    this.#look();
  }

  /** Forgets what the browser keeps of the visit when nothing of it can go on after a reload; the page goes on showing what became of it. */
  #look(): void {
    clearTimeout(this.#timer);
    const gone = this.connection === "removed" && this.code === "gone";
    const left = this.#ends_ms - this.link.means.date();
    // A refusal has to be said first.
    if (gone || left <= 0 || (this.#ended && this.outbox.empty)) void this.#forget();
    else this.#timer = setTimeout(() => this.#look(), Math.min(left, 2 ** 30));
  }

  async #forget(): Promise<void> {
    if (this.#forgotten) return;
    this.#forgotten = true;
    const { keep } = this.link.means;
    this.link.means.keep = new MemoryKeep();
    await keep.clear();
    this.changed();
  }

  #out(): { to: string; to_name: string } {
    if (!this.#link) throw new CoreError("gone", "there is no link");
    return { to: this.#link.host, to_name: this.#link.name };
  }

  #ask(): AskJson {
    if (!this.#link?.ask) throw new CoreError("not_found", "nothing is asked for");
    return this.#link.ask;
  }

  async name(name: string): Promise<void> {
    await this.link.means.keep.put("facts", "name", name);
    this.link.tell({ do: "name", name, made_ms: 0 });
  }

  async send_text(text: string): Promise<Sending> {
    return this.sendings.text(this.#out(), text);
  }

  async send_files(files: GivenFile[]): Promise<Sending> {
    return this.sendings.files(this.#out(), files);
  }

  async answer(files: GivenFile[]): Promise<Sending> {
    const ask = this.#ask();
    return this.sendings.files({ ...this.#out(), ask: ask.id }, files, ask.digest);
  }

  async refuse(words = ""): Promise<void> {
    const { to } = this.#out();
    const { id: ask } = this.#ask();
    await this.change((changes) => this.post(changes, to, { kind: "refused", ask, refusal: "declined", words }));
    this.#end();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.link.tell({ do: "leave" });
  }
}
