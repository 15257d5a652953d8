/** The memory of a part of the page over reloads: IndexedDB, or memory where there is none. */

/** `facts` by name; `letters` that came; `outbox` by letter; `sendings`; `records` of chunks by sending and number; `asks`. */
export const STORES = ["facts", "letters", "outbox", "sendings", "records", "asks"] as const;
export type Store = (typeof STORES)[number];

export interface Keep {
  get<T>(store: Store, key: string): Promise<T | undefined>;
  /** Durable when it resolves. */
  put(store: Store, key: string, value: unknown): Promise<void>;
  delete(store: Store, key: string): Promise<void>;
  /** Everything whose key begins with `start`, in the order of the keys. */
  all<T>(store: Store, start?: string): Promise<[string, T][]>;
  clear(): Promise<void>;
}

export class MemoryKeep implements Keep {
  readonly #stores = new Map<Store, Map<string, unknown>>(STORES.map((store) => [store, new Map()]));

  #of(store: Store): Map<string, unknown> {
    return this.#stores.get(store) ?? new Map();
  }
  async get<T>(store: Store, key: string): Promise<T | undefined> {
    return this.#of(store).get(key) as T | undefined;
  }
  async put(store: Store, key: string, value: unknown): Promise<void> {
    this.#of(store).set(key, structuredClone(value));
  }
  async delete(store: Store, key: string): Promise<void> {
    this.#of(store).delete(key);
  }
  async all<T>(store: Store, start = ""): Promise<[string, T][]> {
    const found = [...this.#of(store)].filter(([key]) => key.startsWith(start)).sort(([a], [b]) => (a < b ? -1 : 1));
    return found as [string, T][];
  }
  async clear(): Promise<void> {
    for (const store of this.#stores.values()) store.clear();
  }
}

/** A database of the browser; `prefix` keeps apart what shares it. */
export class DatabaseKeep implements Keep {
  readonly #database: Promise<IDBDatabase>;
  readonly #prefix: string;

  private constructor(database: Promise<IDBDatabase>, prefix: string) {
    this.#database = database;
    this.#prefix = prefix;
  }

  /** Memory where the browser keeps nothing, as in some private windows. */
  static async open(name: string, prefix = ""): Promise<Keep> {
    const database = new Promise<IDBDatabase>((resolve, reject) => {
      const opening = indexedDB.open(name, 1);
      opening.onupgradeneeded = () => STORES.forEach((store) => opening.result.createObjectStore(store));
      opening.onerror = () => reject(opening.error ?? new Error("no database"));
      opening.onblocked = () => reject(new Error("the database is in use"));
      opening.onsuccess = () => resolve(opening.result);
    });
    try {
      await database;
      return new DatabaseKeep(database, prefix);
    } catch {
      return new MemoryKeep();
    }
  }

  async #with<T>(store: Store, mode: IDBTransactionMode, work: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
    const transaction = (await this.#database).transaction(store, mode, { durability: "strict" });
    return new Promise((resolve, reject) => {
      const request = work(transaction.objectStore(store));
      // Not before the transaction is done: then it is durable.
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error ?? new Error("the browser keeps nothing"));
      transaction.onerror = () => reject(transaction.error ?? new Error("the browser keeps nothing"));
    });
  }

  #range(start: string): IDBKeyRange {
    const from = this.#prefix + start;
    return IDBKeyRange.bound(from, `${from}\uffff`);
  }

  get<T>(store: Store, key: string): Promise<T | undefined> {
    return this.#with(store, "readonly", (of) => of.get(this.#prefix + key)) as Promise<T | undefined>;
  }
  async put(store: Store, key: string, value: unknown): Promise<void> {
    await this.#with(store, "readwrite", (of) => of.put(value, this.#prefix + key));
  }
  async delete(store: Store, key: string): Promise<void> {
    await this.#with(store, "readwrite", (of) => of.delete(this.#prefix + key));
  }
  async all<T>(store: Store, start = ""): Promise<[string, T][]> {
    const keys = await this.#with(store, "readonly", (of) => of.getAllKeys(this.#range(start)));
    const values = await this.#with(store, "readonly", (of) => of.getAll(this.#range(start)));
    return keys.slice(0, values.length).map((key, at) => [String(key).slice(this.#prefix.length), values[at] as T]);
  }
  async clear(): Promise<void> {
    for (const store of STORES) await this.#with(store, "readwrite", (of) => of.delete(this.#range("")));
  }
}
