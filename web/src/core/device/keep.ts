/** The memory of a part of the page over reloads: IndexedDB, or memory where there is none. */

/** `facts` by name; `letters` that came; `outbox` by letter; `sendings`; `records` of chunks by sending and number; `asks`. */
export const STORES = ["facts", "letters", "outbox", "sendings", "records", "asks"] as const;
export type Store = (typeof STORES)[number];

/** A new value of a key; without one the key goes. */
export interface Write {
  store: Store;
  key: string;
  value?: unknown;
}

/** The database of all visits; each has a prefix of its own. */
export const VISITS = "hither-visits";

export interface Keep {
  get<T>(store: Store, key: string): Promise<T | undefined>;
  /** Durable when it resolves: all of it, or nothing. */
  write(writes: readonly Write[]): Promise<void>;
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
  async write(writes: readonly Write[]): Promise<void> {
    const copies = writes.map((write) => structuredClone(write));
    for (const { store, key, value } of copies) {
      if (value === undefined) this.#of(store).delete(key);
      else this.#of(store).set(key, value);
    }
  }
  put(store: Store, key: string, value: unknown): Promise<void> {
    return this.write([{ store, key, value }]);
  }
  delete(store: Store, key: string): Promise<void> {
    return this.write([{ store, key }]);
  }
  async all<T>(store: Store, start = ""): Promise<[string, T][]> {
    const found = [...this.#of(store)].filter(([key]) => key.startsWith(start)).sort(([a], [b]) => (a < b ? -1 : 1));
    return found as [string, T][];
  }
  async clear(): Promise<void> {
    for (const store of this.#stores.values()) store.clear();
  }
}

function open_database(name: string): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(name, 1);
    opening.onupgradeneeded = () => STORES.forEach((store) => opening.result.createObjectStore(store));
    opening.onerror = () => reject(opening.error ?? new Error("no database"));
    opening.onblocked = () => reject(new Error("the database is in use"));
    opening.onsuccess = () => resolve(opening.result);
  });
}

/** A database of the browser; `prefix` keeps apart what shares it. */
export class DatabaseKeep implements Keep {
  readonly #name: string;
  readonly #prefix: string;
  #database: Promise<IDBDatabase> | undefined;

  private constructor(name: string, prefix: string) {
    this.#name = name;
    this.#prefix = prefix;
  }

  /** Memory where the browser keeps nothing, as in some private windows. */
  static async open(name: string, prefix = ""): Promise<Keep> {
    const keep = new DatabaseKeep(name, prefix);
    try {
      await keep.#open();
      return keep;
    } catch {
      return new MemoryKeep();
    }
  }

  #open(): Promise<IDBDatabase> {
    this.#database ??= open_database(this.#name).then((database) => {
      // Another tab forgets everything: what is kept from now on goes into a new one.
      database.onversionchange = () => void this.close();
      // The browser has closed it, as when somebody deletes the data of the site.
      database.onclose = () => (this.#database = undefined);
      return database;
    });
    this.#database.catch(() => (this.#database = undefined));
    return this.#database;
  }

  async close(): Promise<void> {
    const database = this.#database;
    this.#database = undefined;
    (await database)?.close();
  }

  /** One transaction; what `work` gives is read when it is done: then it is durable. */
  async #with<T>(stores: readonly Store[], mode: IDBTransactionMode, work: (of: (store: Store) => IDBObjectStore) => () => T): Promise<T> {
    const transaction = (await this.#open()).transaction(stores, mode, { durability: "strict" });
    return new Promise((resolve, reject) => {
      transaction.onabort = () => reject(transaction.error ?? new Error("the browser keeps nothing"));
      try {
        const result = work((store) => transaction.objectStore(store));
        transaction.oncomplete = () => resolve(result());
      } catch (error) {
        // Nothing is kept of a value that the browser does not copy.
        transaction.abort();
        reject(error as Error);
      }
    });
  }

  #range(start: string): IDBKeyRange {
    const from = this.#prefix + start;
    return IDBKeyRange.bound(from, `${from}\uffff`);
  }

  get<T>(store: Store, key: string): Promise<T | undefined> {
    return this.#with([store], "readonly", (of) => {
      const found = of(store).get(this.#prefix + key);
      return () => found.result as T | undefined;
    });
  }
  async write(writes: readonly Write[]): Promise<void> {
    const stores = [...new Set(writes.map(({ store }) => store))];
    if (stores.length === 0) return;
    await this.#with(stores, "readwrite", (of) => {
      for (const { store, key, value } of writes) {
        if (value === undefined) of(store).delete(this.#prefix + key);
        else of(store).put(value, this.#prefix + key);
      }
      return () => undefined;
    });
  }
  put(store: Store, key: string, value: unknown): Promise<void> {
    return this.write([{ store, key, value }]);
  }
  delete(store: Store, key: string): Promise<void> {
    return this.write([{ store, key }]);
  }
  all<T>(store: Store, start = ""): Promise<[string, T][]> {
    return this.#with([store], "readonly", (of) => {
      const keys = of(store).getAllKeys(this.#range(start));
      const values = of(store).getAll(this.#range(start));
      return () => keys.result.map((key, at) => [String(key).slice(this.#prefix.length), values.result[at] as T]);
    });
  }
  async clear(): Promise<void> {
    await this.#clear([this.#prefix]);
  }
  async #clear(prefixes: readonly string[]): Promise<void> {
    await this.#with(STORES, "readwrite", (of) => {
      for (const store of STORES) for (const prefix of prefixes) of(store).delete(IDBKeyRange.bound(prefix, `${prefix}\uffff`));
      return () => undefined;
    });
  }

  /** Deletes the parts of what shares this database whose end has passed, or who say none. `ends`: the name of the fact that says it, in milliseconds. */
  async sweep(ends: string, now: number): Promise<void> {
    const facts = await this.#with(["facts"], "readonly", (of) => {
      const keys = of("facts").getAllKeys();
      const values = of("facts").getAll();
      return () => keys.result.map((key, at) => [String(key), values.result[at] as unknown] as const);
    });
    const known = new Map(facts);
    const prefixes = new Set(facts.map(([key]) => key.slice(0, key.indexOf("/") + 1)));
    const over = [...prefixes].filter((prefix) => prefix !== "" && !(Number(known.get(prefix + ends)) > now));
    if (over.length > 0) await this.#clear(over);
  }
}

/** Deletes a database of this origin; tabs that have it go on with an empty one. */
export function forget_database(name: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const deleting = indexedDB.deleteDatabase(name);
    // A tab with an older page does not let go: it is deleted when that tab is closed.
    deleting.onsuccess = deleting.onblocked = () => resolve();
    deleting.onerror = () => reject(deleting.error ?? new Error("the browser keeps it"));
  });
}
