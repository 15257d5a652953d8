/** Things that another app of this phone shared with the page: the service worker keeps them until the page takes them. */
import type { GivenFile } from "../core/device-api.ts";

export interface SharedThing {
  text: string;
  files: File[];
  at: number;
}

/** Time that it is kept for somebody who does not go on, ms. */
const KEPT_MS = 86_400_000;

const STORE = "shared";

function database(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open("hither-shared", 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error ?? new Error("the browser keeps nothing"));
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

/** The latest is kept, and no more: who shares again means that. */
export async function keep_shared(thing: SharedThing): Promise<void> {
  await with_store("readwrite", (store) => store.put(thing, "latest"));
}

export async function forget_shared(): Promise<void> {
  await with_store("readwrite", (store) => store.delete("latest"));
}

export async function shared(): Promise<{ text: string; files: GivenFile[] } | undefined> {
  const thing = await with_store("readonly", (store) => store.get("latest") as IDBRequest<SharedThing | undefined>);
  if (!thing) return undefined;
  if (Date.now() - thing.at < KEPT_MS) return { text: thing.text, files: thing.files.map((file) => ({ file })) };
  await forget_shared();
  return undefined;
}
