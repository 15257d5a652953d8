/** The page of a site that asks. Nothing is kept: it ends with its page. */

import { CoreError } from "../api.ts";
import type { AskRequest, Thing } from "../device-api.ts";
import type { Changes } from "./changes.ts";
import type { DeviceEvent, LetterEvent } from "./commands.ts";
import type { PartMeans } from "./link.ts";
import { ask_json, Part, things_of } from "./part.ts";

const PATIENCE_MS = 30_000;
/** Time for the last words to a visitor, and to the relay. */
const LAST_WORDS_MS = 3_000;

export interface AskerView {
  link: string;
  number?: number;
  state: "connecting" | "waiting" | "opened" | "answered" | "ended";
  things?: Thing[];
  /** The share that has what was too large for the letter. */
  ticket?: string;
  /** Why there is no answer. */
  failed?: { code: string; message: string };
}

export class AskerPart extends Part {
  #view: AskerView = { link: "", state: "connecting" };
  #id = "";
  #asked: ((error?: CoreError) => void) | undefined;
  #ends: ReturnType<typeof setTimeout> | undefined;
  /** The receipt of the answer: when it is at the relay, nobody may come any more. */
  #receipt: string | undefined;
  #gone: (() => void) | undefined;

  constructor(means: PartMeans) {
    super(means, 0);
  }

  /** Resolves when the link can be shown. */
  async start(request: AskRequest & { multiple: boolean }): Promise<void> {
    const seed = new Uint8Array(32);
    this.link.means.random(seed);
    await this.begin(seed);
    this.#id = this.link.random(16);
    await new Promise<void>((resolve, reject) => {
      const patience = setTimeout(() => this.#asked?.(new CoreError("unreachable", "the relay does not answer")), PATIENCE_MS);
      this.#asked = (error) => {
        clearTimeout(patience);
        this.#asked = undefined;
        if (error) reject(error);
        else resolve();
      };
      this.link.tell({ do: "asker", ask: ask_json(this.#id, request), multiple: request.multiple });
    });
  }

  view(): AskerView {
    return this.#view;
  }

  #change(change: Partial<AskerView>): void {
    this.#view = { ...this.#view, ...change };
    this.changed();
  }

  #end(code: string, message: string): void {
    if (this.#view.state === "answered" || this.#view.state === "ended") return;
    this.#change({ state: "ended", failed: { code, message } });
    this.#asked?.(new CoreError(code, message));
    this.#leave();
  }

  #leave(): void {
    clearTimeout(this.#ends);
    this.link.tell({ do: "end_visitors" });
  }

  /** Says that the answer is here, then lets nobody come any more: the other page must hear it first. */
  #taken(changes: Changes, from: string, of: string): void {
    clearTimeout(this.#ends);
    this.#ends = setTimeout(() => this.#leave(), LAST_WORDS_MS);
    this.#receipt = this.post(changes, from, { kind: "receipt", of, taken: true });
  }

  protected override posted(_: Changes, id: string): void {
    if (id === this.#receipt) this.#leave();
  }

  protected override on(event: DeviceEvent): void {
    if (event.on === "asking") {
      if (this.#view.link === "") {
        this.#change({ link: event.link, state: "waiting" });
        this.#ends = setTimeout(() => this.#end("expired", "nobody answered in time"), event.seconds * 1000);
      }
      this.#asked?.();
    } else if (event.on === "asking_ended") {
      this.#gone?.();
    } else if (event.on === "state" && event.state === "removed") {
      this.#end(event.code === "refused" ? "refused" : "unreachable", "the relay does not let this site ask");
    }
  }

  protected override letter(changes: Changes, { letter, number, from, id }: LetterEvent, bytes: Uint8Array<ArrayBuffer>): void {
    // Only who knows the link's secret has a number; only the first valid answer counts.
    if (number === undefined || !("ask" in letter) || letter.ask !== this.#id) return;
    if (this.#view.state !== "waiting" && this.#view.state !== "opened") return;
    switch (letter.kind) {
      case "seen":
        return this.#change({ state: "opened", number });
      case "refused":
        return this.#end("declined", letter.words);
      case "answer": {
        const things = things_of(letter.things, bytes);
        this.#change({ state: "answered", number, things, ...(letter.ticket ? { ticket: letter.ticket } : {}) });
        return this.#taken(changes, from, id);
      }
      case "answer_text": {
        const content = new Blob([letter.text], { type: "text/plain" });
        this.#change({ state: "answered", number, things: [{ name: "answer.txt", media_type: "text/plain", bytes: content.size, content }] });
        return this.#taken(changes, from, id);
      }
    }
  }

  /** Resolves when nobody may come any more, as far as the relay is reached. */
  async close(): Promise<void> {
    const gone = new Promise<void>((resolve) => {
      this.#gone = resolve;
      setTimeout(resolve, LAST_WORDS_MS);
    });
    if (this.#view.state === "answered" || this.#view.state === "ended") this.#leave();
    else this.#end("aborted", "the page does not ask any more");
    await gone;
    this.link.tell({ do: "leave" });
  }
}
