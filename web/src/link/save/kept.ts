/**
 * Downloads that are not complete, kept in this browser so that they go on after the tab was closed. A record
 * has no ticket: it is found again when the same link is opened again.
 */
import type { Mark } from "./source.ts";

export interface Kept {
  /** `share version chosen`: what is downloaded. */
  key: string;
  share: string;
  version: number;
  chosen: number[];
  name: string;
  size: number;
  files: number;
  way: "file" | "disk";
  /** The file that the person chose (way "file"). */
  handle?: FileSystemFileHandle;
  /** The name in the browser's own storage (way "disk"). */
  stored?: string;
  /** When the chosen file was changed last, ms since 1970: one that others changed does not go on. */
  modified?: number;
  mark: Mark;
  /** When it was written last, ms since 1970. */
  at: number;
}

/** Time that unfinished downloads are kept. */
export const KEPT_MS = 7 * 86_400_000;

const STORE = "downloads";

function database(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open("hither-page", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE, { keyPath: "key" });
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error ?? new Error("the browser keeps nothing"));
    opening.onblocked = () => reject(new Error("another tab holds the database"));
  });
}

async function with_store<T>(mode: IDBTransactionMode, act: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const db = await database();
  try {
    return await new Promise<T>((resolve, reject) => {
      const transaction = db.transaction(STORE, mode);
      const request = act(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = transaction.onerror = () => reject(transaction.error ?? new Error("the browser keeps nothing"));
    });
  } finally {
    db.close();
  }
}

export const key_of = (share: string, version: number, chosen: readonly number[]) => `${share} ${version} ${chosen.join(",")}`;

export async function keep(record: Kept): Promise<void> {
  await with_store("readwrite", (store) => store.put(record));
}

export async function forget(key: string): Promise<void> {
  await with_store("readwrite", (store) => store.delete(key));
}

export async function all_kept(): Promise<Kept[]> {
  return with_store("readonly", (store) => store.getAll() as IDBRequest<Kept[]>);
}
