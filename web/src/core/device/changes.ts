/** Changes of what is kept that belong together: all of them are durable at once, or none is there. */

import type { Keep, Store, Write } from "./keep.ts";

export class Changes {
  readonly #writes: Write[] = [];
  readonly #undo: (() => void)[] = [];
  readonly #then: (() => void)[] = [];

  put(store: Store, key: string, value: unknown): void {
    this.#writes.push({ store, key, value });
  }

  delete(store: Store, key: string): void {
    this.#writes.push({ store, key });
  }

  /** Changes memory at once, so that its order is that of the transactions; taken back when nothing is kept. */
  set<T>(map: Map<string, T>, store: Store, key: string, value: T): void {
    this.#take_back(map, key, value);
    map.set(key, value);
    this.put(store, key, value);
  }

  remove<T>(map: Map<string, T>, store: Store, key: string): void {
    this.#take_back(map, key, undefined);
    map.delete(key);
    this.delete(store, key);
  }

  #take_back<T>(map: Map<string, T>, key: string, made: T | undefined): void {
    const before = map.get(key);
    this.#undo.push(() => {
      // A later change stands.
      if (map.get(key) !== made) return;
      if (before === undefined) map.delete(key);
      else map.set(key, before);
    });
  }

  /** Work for when everything is durable. */
  then(work: () => void): void {
    this.#then.push(work);
  }

  undo(): void {
    for (const undo of this.#undo.splice(0).reverse()) undo();
  }

  /** Resolves when it is durable; memory is as before when that fails. */
  async commit(keep: Keep): Promise<void> {
    try {
      await keep.write(this.#writes);
    } catch (error) {
      this.undo();
      throw error;
    }
    for (const work of this.#then) work();
  }

  /** For what has happened elsewhere: memory has it, also when the browser does not keep it. */
  async settle(keep: Keep): Promise<void> {
    await keep.write(this.#writes).catch((error: unknown) => console.error("a change could not be kept", error));
    for (const work of this.#then) work();
  }
}
