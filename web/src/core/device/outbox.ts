/** Letters on their way: kept until the relay has them, under the same id on every attempt. */

import { Changes } from "./changes.ts";
import { type LetterJson, NOTHING } from "./commands.ts";
import type { CoreLink } from "./link.ts";

/** Pause after a letter that the relay did not take for the moment, milliseconds. */
const AGAIN_MS = [5_000, 600_000] as const;

export interface Posted {
  to: string;
  made_ms: number;
  receipt: boolean;
  letter: LetterJson;
  bytes?: Uint8Array;
}

export class Outbox {
  readonly #link: CoreLink;
  readonly #letters = new Map<string, Posted>();
  /** It is at the relay; or, with a code, it never will be. What changes by that becomes durable together. */
  ondone: (changes: Changes, id: string, code?: string) => void = () => {};

  constructor(link: CoreLink) {
    this.#link = link;
  }

  /** Takes up what an earlier page left. */
  async load(): Promise<void> {
    for (const [id, posted] of await this.#link.means.keep.all<Posted>("outbox")) this.#letters.set(id, posted);
  }

  /** Sends it. */
  start(): void {
    for (const [id, posted] of this.#letters) this.#send(id, posted);
  }

  /** Sends a letter as soon as it is durable, with everything else that changes. */
  post(changes: Changes, id: string, to: string, letter: LetterJson, options: { bytes?: Uint8Array; receipt?: boolean } = {}): void {
    const posted: Posted = { to, made_ms: this.#link.means.date(), receipt: options.receipt ?? false, letter };
    if (options.bytes) posted.bytes = options.bytes;
    changes.set(this.#letters, "outbox", id, posted);
    changes.then(() => this.#letters.get(id) === posted && this.#send(id, posted));
  }

  #send(id: string, { to, made_ms, receipt, letter, bytes }: Posted): void {
    this.#link.tell({ do: "send", to, id, made_ms, receipt, letter }, bytes ?? NOTHING);
  }

  has(id: string): boolean {
    return this.#letters.has(id);
  }

  get empty(): boolean {
    return this.#letters.size === 0;
  }

  forget(changes: Changes, id: string): void {
    if (!this.#letters.has(id)) return;
    changes.remove(this.#letters, "outbox", id);
    this.#link.tell({ do: "unsend", id });
  }

  sent(id: string): Promise<void> {
    return this.#done(id);
  }

  async #done(id: string, code?: string): Promise<void> {
    if (!this.#letters.has(id)) return;
    const changes = new Changes();
    changes.remove(this.#letters, "outbox", id);
    this.ondone(changes, id, code);
    await changes.settle(this.#link.means.keep);
  }

  async unsent(id: string, code: string, retry_ms: number): Promise<void> {
    const posted = this.#letters.get(id);
    if (!posted) return;
    if (code === "busy" || code === "quota" || code === "no_space" || code === "unreachable") {
      const pause = Math.min(Math.max(retry_ms, AGAIN_MS[0]), AGAIN_MS[1]);
      setTimeout(() => this.#letters.get(id) === posted && this.#send(id, posted), pause);
      return;
    }
    await this.#done(id, code);
  }
}
