/** The key of the page's device: made once, kept by the browser for this origin. */

const DATABASE = "hither";
const STORE = "device";
const SEED = "seed";

/** 32 random bytes, the same ones every time while the browser keeps them; new ones where it keeps nothing. */
export async function device_seed(): Promise<Uint8Array<ArrayBuffer>> {
  const fresh = crypto.getRandomValues(new Uint8Array(32));
  try {
    return await stored(fresh);
  } catch {
    // A private window: the device lasts as long as the page.
    return fresh;
  }
}

/** Gives what is stored; `fresh`, stored now, when nothing is. One transaction: two pages that begin at once get one key. */
function stored(fresh: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(DATABASE, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
    opening.onerror = () => reject(opening.error);
    opening.onblocked = () => reject(new Error("the database is in use"));
    opening.onsuccess = () => {
      const database = opening.result;
      const transaction = database.transaction(STORE, "readwrite");
      const store = transaction.objectStore(STORE);
      let seed = fresh;
      const found = store.get(SEED);
      found.onsuccess = () => {
        const kept: unknown = found.result;
        if (kept instanceof Uint8Array && kept.length === fresh.length) seed = new Uint8Array(kept);
        else store.put(fresh, SEED);
      };
      transaction.oncomplete = () => {
        database.close();
        resolve(seed);
      };
      transaction.onabort = () => reject(transaction.error);
      transaction.onerror = () => reject(transaction.error);
    };
  });
}
