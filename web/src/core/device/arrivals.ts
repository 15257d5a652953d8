/**
 * Letters that came and are not acknowledged yet: kept one after the other.
 *
 * Invariants: a letter is acknowledged when it and all before it are durable; one that cannot be kept is tried again until it can, or
 * until the connection is lost, after which the relay brings it again. The relay's window bounds what waits here.
 */

import type { LetterEvent } from "./commands.ts";

/** Pauses after which a letter is tried again, milliseconds: the first, and the longest. */
const AGAIN_MS = [2_000, 60_000] as const;

/** Reasons why a letter cannot be kept: too many wait to be read, or the browser has no room. */
export type Stuck = "unread" | "room";

/** Too many letters wait to be read. */
export class Unread extends Error {
  constructor() {
    super("too many letters wait to be read");
  }
}

interface Waiting {
  event: LetterEvent;
  bytes: Uint8Array<ArrayBuffer>;
}

export class Arrivals {
  readonly #keep: (event: LetterEvent, bytes: Uint8Array<ArrayBuffer>) => Promise<void>;
  readonly #changed: () => void;
  #waiting: Waiting[] = [];
  #busy = false;
  #pause = AGAIN_MS[0] as number;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #stuck: Stuck | undefined;

  /** `keep` makes a letter durable and acknowledges it. */
  constructor(keep: (event: LetterEvent, bytes: Uint8Array<ArrayBuffer>) => Promise<void>, changed: () => void) {
    this.#keep = keep;
    this.#changed = changed;
  }

  get stuck(): Stuck | undefined {
    return this.#stuck;
  }

  add(event: LetterEvent, bytes: Uint8Array<ArrayBuffer>): void {
    this.#waiting.push({ event, bytes });
    if (this.#timer === undefined) void this.#run();
  }

  /** There may be room now. */
  again(): void {
    if (this.#timer === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    void this.#run();
  }

  /** The connection is lost: the relay brings all of it again. */
  lost(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#waiting = [];
    this.#say(undefined);
  }

  async #run(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (let next = this.#waiting[0]; next; next = this.#waiting[0]) {
        await this.#keep(next.event, next.bytes);
        // Unless it was lost meanwhile.
        if (this.#waiting[0] === next) this.#waiting.shift();
        this.#pause = AGAIN_MS[0];
        this.#say(undefined);
      }
    } catch (error) {
      console.error("a letter could not be kept", error);
      if (this.#waiting.length === 0) return;
      this.#say(error instanceof Unread ? "unread" : "room");
      this.#timer = setTimeout(() => this.again(), this.#pause);
      this.#pause = Math.min(this.#pause * 2, AGAIN_MS[1]);
    } finally {
      this.#busy = false;
    }
  }

  #say(stuck: Stuck | undefined): void {
    if (this.#stuck === stuck) return;
    this.#stuck = stuck;
    this.#changed();
  }
}
