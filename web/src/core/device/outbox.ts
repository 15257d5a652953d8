/** Letters on their way: kept until the relay has them, under the same id on every attempt. */

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
  /** It is at the relay; or, with a code, it never will be. */
  ondone: (id: string, code?: string) => Promise<void> | void = () => {};

  constructor(link: CoreLink) {
    this.#link = link;
  }

  /** Sends what an earlier page left. */
  async start(): Promise<void> {
    for (const [id, posted] of await this.#link.means.keep.all<Posted>("outbox")) {
      this.#letters.set(id, posted);
      this.#send(id, posted);
    }
  }

  async post(id: string, to: string, letter: LetterJson, options: { bytes?: Uint8Array; receipt?: boolean } = {}): Promise<void> {
    const posted: Posted = { to, made_ms: this.#link.means.date(), receipt: options.receipt ?? false, letter };
    if (options.bytes) posted.bytes = options.bytes;
    await this.#link.means.keep.put("outbox", id, posted);
    this.#letters.set(id, posted);
    this.#send(id, posted);
  }

  #send(id: string, { to, made_ms, receipt, letter, bytes }: Posted): void {
    this.#link.tell({ do: "send", to, id, made_ms, receipt, letter }, bytes ?? NOTHING);
  }

  has(id: string): boolean {
    return this.#letters.has(id);
  }

  async forget(id: string): Promise<void> {
    if (!this.#letters.delete(id)) return;
    this.#link.tell({ do: "unsend", id });
    await this.#link.means.keep.delete("outbox", id);
  }

  async sent(id: string): Promise<void> {
    if (!this.#letters.delete(id)) return;
    await this.ondone(id);
    await this.#link.means.keep.delete("outbox", id);
  }

  async unsent(id: string, code: string, retry_ms: number): Promise<void> {
    const posted = this.#letters.get(id);
    if (!posted) return;
    if (code === "busy" || code === "quota" || code === "no_space" || code === "unreachable") {
      const pause = Math.min(Math.max(retry_ms, AGAIN_MS[0]), AGAIN_MS[1]);
      setTimeout(() => this.#letters.has(id) && this.#send(id, posted), pause);
      return;
    }
    this.#letters.delete(id);
    await this.ondone(id, code);
    await this.#link.means.keep.delete("outbox", id);
  }
}
