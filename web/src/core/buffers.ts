/**
 * Memory for bytes on their way: used again instead of left behind. Garbage of this size lies outside of what a
 * browser's collector counts closely, so that hundreds of megabytes of it can wait.
 */

/** Longest piece of an answer that is read at once. */
const PIECE = 256 * 1024;
/** Buffers that wait to be used again, and the longest of them: chunks of very large files are rare and long. */
const MAX_KEPT = 24;
const MAX_LENGTH = 2 * 1024 * 1024;

/** Buffers that are used again and again. */
export class Buffers {
  #kept: ArrayBuffer[] = [];

  /** A buffer of at least so many bytes. */
  take(length: number): ArrayBuffer {
    const at = this.#kept.findIndex((buffer) => buffer.byteLength >= length);
    const [found] = at < 0 ? [] : this.#kept.splice(at, 1);
    return found ?? new ArrayBuffer(2 ** Math.ceil(Math.log2(Math.max(length, PIECE))));
  }

  /** A copy in such a buffer. */
  copy(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
    const copy = new Uint8Array(this.take(bytes.length), 0, bytes.length);
    copy.set(bytes);
    return copy;
  }

  /** Takes back the buffer of these bytes, which nobody reads any more. */
  back({ buffer }: { buffer: ArrayBuffer }): void {
    if (buffer.byteLength === 0) return; // It was given away.
    if (this.#kept.length >= MAX_KEPT || buffer.byteLength > MAX_LENGTH) return;
    this.#kept.push(buffer);
    this.#kept.sort((a, b) => a.byteLength - b.byteLength);
  }
}

/** The body of an answer, read into one buffer where the browser can. */
export class Body {
  readonly #buffers: Buffers;
  readonly #reader: ReadableStreamBYOBReader | ReadableStreamDefaultReader<Uint8Array>;
  #last: Uint8Array<ArrayBuffer> | undefined;

  constructor(body: ReadableStream<Uint8Array>, buffers: Buffers) {
    this.#buffers = buffers;
    try {
      this.#reader = body.getReader({ mode: "byob" });
    } catch {
      this.#reader = body.getReader();
    }
  }

  /** The next bytes, good until the next call; undefined at the end. */
  async next(): Promise<Uint8Array | undefined> {
    if (this.#reader instanceof ReadableStreamDefaultReader) {
      return (await this.#reader.read()).value;
    }
    const last = this.#last;
    this.#last = undefined;
    const { done, value } = await this.#reader.read(new Uint8Array(last?.buffer ?? this.#buffers.take(PIECE)));
    if (!done) return (this.#last = value as Uint8Array<ArrayBuffer>);
    if (value) this.#buffers.back(value as Uint8Array<ArrayBuffer>);
    return undefined;
  }
}
