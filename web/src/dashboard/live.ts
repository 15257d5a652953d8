/**
 * The page's copy of what the daemon knows. The event stream keeps it up to date; lists that no event tells of
 * are read again at intervals while a screen shows them, and everything is read again after a break.
 */
import { useEffect, useState } from "preact/hooks";
import { Problem, call, stream } from "./api.ts";
import type { Asks, Giving, ListName, Lists, Message, Nearby, Told, Transfer } from "./types.ts";

export type Connection = "connecting" | "open" | "down" | "signed_out";

/** Milliseconds between attempts to reach a daemon that does not answer; the last counts for all later ones. */
const RETRY_MS: readonly number[] = [500, 1000, 2000, 4000, 8000, 15_000];
/** Time that an unseen page keeps its stream: a browser gives a site six connections for all its tabs. */
export const UNSEEN_MS = 10_000;
/** Pauses after which lists are read again that no event tells of. */
const EVERY_MS: Partial<Record<ListName, number>> = {
  status: 5000, devices: 8000, groups: 10_000, catalogue: 10_000, inbox: 10_000, outbox: 8000, relays: 5000, "asks/grants": 15_000, transfers: 10_000, giving: 15_000, pages: 8000, "inbox/links": 10_000,
};

/** Put in the place of the one with the same key, or at the end. */
function put<T>(list: readonly T[], one: T, key: (of: T) => unknown): T[] {
  const at = list.findIndex((other) => key(other) === key(one));
  return at < 0 ? [...list, one] : list.map((other, index) => (index === at ? one : other));
}

export class Live {
  connection: Connection = "connecting";
  /** When it is tried again, by `Date.now()`; only while the daemon is away. */
  retry_at = 0;
  lists: Partial<Lists> = {};
  /** Reasons why a list could not be read. */
  problems: Partial<Record<ListName, Problem>> = {};

  #listeners = new Set<() => void>();
  #watched = new Map<ListName, number>();
  #read_at = new Map<ListName, number>();
  #reading = new Map<ListName, { again: boolean }>();
  #stop: AbortController | undefined;
  #wake: (() => void) | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;
  #unseen: ReturnType<typeof setTimeout> | undefined;

  /** Begins, and goes on until `end`. */
  begin(): void {
    document.addEventListener("visibilitychange", this.#seen);
    window.addEventListener("pageshow", this.#seen);
    this.#timer = setInterval(() => this.#tick(), 1000);
    this.#open();
  }

  end(): void {
    document.removeEventListener("visibilitychange", this.#seen);
    window.removeEventListener("pageshow", this.#seen);
    clearInterval(this.#timer);
    clearTimeout(this.#unseen);
    this.#close();
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Lists that a screen shows from now on, until what is given back is called. */
  watch(names: readonly ListName[]): () => void {
    for (const name of names) {
      this.#watched.set(name, (this.#watched.get(name) ?? 0) + 1);
      if (this.connection !== "signed_out") void this.read(name);
    }
    return () => {
      for (const name of names) {
        const left = (this.#watched.get(name) ?? 1) - 1;
        if (left > 0) this.#watched.set(name, left);
        else this.#watched.delete(name);
      }
    };
  }

  /** Reads a list again. What changes while it is being read is read once more. */
  async read(name: ListName): Promise<void> {
    const going = this.#reading.get(name);
    if (going) {
      going.again = true;
      return;
    }
    const reading = { again: true };
    this.#reading.set(name, reading);
    try {
      while (reading.again) {
        reading.again = false;
        const value = await call<Lists[typeof name]>("GET", name);
        this.#read_at.set(name, Date.now());
        this.lists = { ...this.lists, [name]: value };
        const { [name]: _, ...problems } = this.problems;
        this.problems = problems;
      }
    } catch (error) {
      if (error instanceof Problem) this.#failed(name, error);
    } finally {
      this.#reading.delete(name);
      this.#tell();
    }
  }

  /** Tries at once to reach the daemon. */
  try_now(): void {
    this.#wake?.();
  }

  #failed(name: ListName, problem: Problem): void {
    if (problem.code === "signed_out") this.connection = "signed_out";
    else if (problem.code !== "no_daemon") this.problems = { ...this.problems, [name]: problem };
  }

  #tell(): void {
    for (const listener of this.#listeners) listener();
  }

  #tick(): void {
    if (this.connection === "down") this.#tell(); // the seconds until the next attempt
    if (this.connection !== "open" || document.visibilityState === "hidden") return;
    for (const name of this.#watched.keys()) {
      const every = EVERY_MS[name];
      if (every !== undefined && Date.now() - (this.#read_at.get(name) ?? 0) >= every) void this.read(name);
    }
  }

  readonly #seen = (): void => {
    clearTimeout(this.#unseen);
    if (document.visibilityState === "hidden") this.#unseen = setTimeout(() => this.#close(), UNSEEN_MS);
    else if (this.#stop) this.#wake?.();
    else this.#open();
  };

  #close(): void {
    this.#stop?.abort();
    this.#stop = undefined;
  }

  #open(): void {
    this.#stop = new AbortController();
    void this.#follow(this.#stop.signal);
  }

  async #follow(signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted && this.connection !== "signed_out"; ) {
      try {
        const opened = () => {
          failures = 0;
          this.#opened();
        };
        for await (const event of stream("GET", "events", undefined, signal, opened)) this.take(event);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Problem && error.code === "signed_out") this.connection = "signed_out";
      }
      if (signal.aborted || this.connection === "signed_out") break;
      const wait = RETRY_MS[Math.min(failures, RETRY_MS.length - 1)] ?? 1000;
      failures += 1;
      // Two failures are told; a single break may be nothing but a restart.
      if (failures > 1) this.connection = "down";
      this.retry_at = Date.now() + wait;
      this.#tell();
      await new Promise<void>((go) => {
        this.#wake = go;
        setTimeout(go, wait);
        signal.addEventListener("abort", () => go(), { once: true });
      });
      this.#wake = undefined;
    }
    this.#tell();
  }

  /** The stream is there (again): whatever is shown may have changed meanwhile. */
  #opened(): void {
    this.connection = "open";
    for (const name of this.#watched.keys()) void this.read(name);
    this.#tell();
  }

  /** Takes what an event tells into the copy. */
  take(event: Told): void {
    const { event: kind, ...rest } = event;
    const lists = this.lists;
    if (kind === "transfer") this.lists = { ...lists, transfers: put(lists.transfers ?? [], rest as unknown as Transfer, (one) => one.transfer) };
    else if (kind === "giving" || kind === "fetched") this.lists = { ...lists, giving: put(lists.giving ?? [], rest as unknown as Giving, (one) => `${one.share} ${one.device}`) };
    else if (kind === "message") this.lists = { ...lists, inbox: put(lists.inbox ?? [], rest as unknown as Message, (one) => one.id) };
    else if (kind === "asks") this.lists = { ...lists, asks: rest as unknown as Asks };
    else if (kind === "nearby") this.lists = { ...lists, nearby: rest as unknown as Nearby };
    else if (kind === "changed") void this.#reread(rest["what"]);
    this.#tell();
  }

  async #reread(what: unknown): Promise<void> {
    // The settings are in other lists too. A list that this page does not know is not watched.
    const names = what === "config" ? ["config", "receive", "status"] : [what];
    await Promise.all([...this.#watched.keys()].filter((name) => names.includes(name)).map((name) => this.read(name)));
  }
}

/** True while somebody looks at the page, or did a moment ago. */
export function useSeen(): boolean {
  const [seen, set_seen] = useState(document.visibilityState !== "hidden");
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const changed = () => {
      clearTimeout(timer);
      if (document.visibilityState === "hidden") timer = setTimeout(() => set_seen(false), UNSEEN_MS);
      else set_seen(true);
    };
    document.addEventListener("visibilitychange", changed);
    return () => {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", changed);
    };
  }, []);
  return seen;
}

/** The copy as it is now, for a component that shows some lists of it. */
export function useLists(live: Live, ...names: ListName[]): Partial<Lists> {
  const [, again] = useState(0);
  useEffect(() => {
    const over = live.watch(names);
    const unsubscribe = live.subscribe(() => again((count) => count + 1));
    return () => {
      over();
      unsubscribe();
    };
    // The names are those of the call: they never change.
  }, [live]);
  return live.lists;
}
