/**
 * The files of one upload: reads the pieces that the core asks for, and encrypts chunks with WebCrypto.
 *
 * Invariants: pieces and ciphertexts go to the core in the order in which it asked; it asks for no more than its windows, so
 * memory does not grow with the files.
 */

import { joined, type Need, type Take } from "./commands.ts";
import type { CoreLink } from "./link.ts";

const KEY = 32;
const NONCE = new Uint8Array(12);

export class Feed {
  readonly #link: CoreLink;
  readonly #upload: number;
  readonly #files: Blob[];
  #reading: Promise<void> = Promise.resolve();
  #sealing: Promise<void> = Promise.resolve();
  #giving: Promise<void> = Promise.resolve();
  /** Bytes that were read and are not cut yet. */
  #plain: Uint8Array[] = [];
  #over = false;

  constructor(link: CoreLink, upload: number, files: Blob[]) {
    this.#link = link;
    this.#upload = upload;
    this.#files = files;
  }

  stop(): void {
    this.#over = true;
    this.#plain = [];
  }

  /** A later step waits for the ones before it; what fails ends the upload. */
  #after(last: Promise<void>, work: () => Promise<void>): Promise<void> {
    return last.then(async () => {
      if (this.#over) return;
      try {
        await work();
      } catch {
        if (this.#over) return;
        this.stop();
        this.#link.tell({ do: "unreadable", upload: this.#upload });
      }
    });
  }

  async #part(file: number, offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
    const blob = this.#files[file];
    if (!blob) throw new Error("there is no such file");
    return new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
  }

  need({ file, offset, length }: Need): void {
    this.#reading = this.#after(this.#reading, async () => {
      const bytes = await this.#part(file, offset, length);
      if (this.#over) return;
      if (this.#link.means.subtle) this.#plain.push(bytes);
      this.#link.tell({ do: "piece", upload: this.#upload }, bytes);
    });
  }

  /** The first bytes of what was read. */
  #next(length: number): Uint8Array<ArrayBuffer> {
    const parts: Uint8Array[] = [];
    for (let left = length; left > 0; ) {
      const first = this.#plain.shift();
      if (!first) throw new Error("a cut is beyond what was read");
      parts.push(first.subarray(0, left));
      if (first.length > left) this.#plain.unshift(first.subarray(left));
      left -= Math.min(left, first.length);
    }
    return joined(parts);
  }

  cuts(lengths: number[], keys: Uint8Array<ArrayBuffer>): void {
    // At once: what is read next belongs to later cuts.
    const plain = this.#next(lengths.reduce((sum, length) => sum + length, 0));
    const sealed = this.#seal(plain, lengths, keys);
    sealed.catch(() => undefined);
    this.#sealing = this.#after(this.#sealing, async () => this.#tell_sealed(await sealed));
  }

  #tell_sealed(bytes: Uint8Array): void {
    if (!this.#over) this.#link.tell({ do: "sealed", upload: this.#upload }, bytes);
  }

  take({ put, first, lengths, parts }: Take, keys: Uint8Array<ArrayBuffer>): void {
    const chunks = this.#read_again(parts, lengths, keys);
    chunks.catch(() => undefined);
    this.#giving = this.#after(this.#giving, async () => {
      const bytes = await chunks;
      if (!this.#over) this.#link.tell({ do: "chunks", upload: this.#upload, put, first }, bytes);
    });
  }

  async #read_again(parts: Take["parts"], lengths: number[], keys: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
    const read = await Promise.all(parts.map(([file, offset, length]) => this.#part(file, offset, length)));
    const plain = read.length === 1 && read[0] ? read[0] : joined(read);
    // Without WebCrypto the core encrypts.
    return this.#link.means.subtle ? this.#seal(plain, lengths, keys) : plain;
  }

  /** The ciphertexts of chunks that stand one after the other. */
  async #seal(plain: Uint8Array<ArrayBuffer>, lengths: number[], keys: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
    const { subtle } = this.#link.means;
    if (!subtle) throw new Error("there is no WebCrypto");
    let at = 0;
    const chunks = lengths.map(async (length, number) => {
      const bytes = plain.subarray(at, (at += length));
      const raw = keys.slice(number * KEY, (number + 1) * KEY);
      const key = await subtle.importKey("raw", raw, "AES-GCM", false, ["encrypt"]);
      // The nonce is always zero: every key is used for one message.
      return new Uint8Array(await subtle.encrypt({ name: "AES-GCM", iv: NONCE }, key, bytes));
    });
    return joined(await Promise.all(chunks));
  }
}
