/**
 * A zip archive as a stream: stored, zip64 where it must, UTF-8 names, the same bytes each time, and one
 * that goes on in the middle. Libraries that stream (client-zip and others) cannot go on in the middle: the
 * sums of the files that were given before are needed at the end. Here they are part of the mark.
 *
 * Layout by APPNOTE.TXT 6.3.10: local headers with sums and sizes in data descriptors (bit 3), because a
 * file's sum is known after its bytes; then the central directory.
 */
import { crc32 } from "./crc32.ts";

/** One entry of an archive. Names are cleaned before (`zip_names`). */
export interface ZipEntry {
  /** With `/` between folders, and at the end of a folder's own. */
  name: string;
  size: number;
  modified_ms: number;
  executable: boolean;
}

/** The progress of an archive: enough to go on from there. */
export interface ZipMark {
  /** The entry under way, whether its header was given, and bytes of its content given. */
  entry: number;
  headed: boolean;
  inside: number;
  /** The sum of those bytes. */
  sum: number;
  /** Sums of the entries before. */
  sums: number[];
  /** Pieces of the central directory that were given. */
  pieces: number;
}

const FOUR = 0xffffffff;
const MANY = 0xffff;
/** Bit 3: sums and sizes follow the data. Bit 11: names are UTF-8. */
const FLAGS = 0x0808;
/** Version 4.5 reads zip64; made by version 6.3 on Unix. */
const NEEDED = 45;
const MADE_BY = (3 << 8) | 63;

const utf8 = new TextEncoder();

/** Little-endian numbers put one after another. */
class Record {
  readonly #parts: number[] = [];
  u16(...values: number[]): this {
    for (const value of values) this.#parts.push(value & 0xff, (value >>> 8) & 0xff);
    return this;
  }
  u32(...values: number[]): this {
    for (const value of values) this.u16(value & 0xffff, (value >>> 16) & 0xffff);
    return this;
  }
  u64(...values: number[]): this {
    for (const value of values) this.u32(value >>> 0, Math.floor(value / 2 ** 32));
    return this;
  }
  with(...tails: Uint8Array[]): Uint8Array {
    const bytes = new Uint8Array(this.#parts.length + tails.reduce((sum, tail) => sum + tail.length, 0));
    bytes.set(this.#parts);
    let at = this.#parts.length;
    for (const tail of tails) {
      bytes.set(tail, at);
      at += tail.length;
    }
    return bytes;
  }
}

/** Date and time of MS-DOS, in UTC so that an archive is the same everywhere; readers that know the extended time use that. */
function dos_time(ms: number): [time: number, date: number] {
  const at = new Date(Number.isFinite(ms) ? Math.min(Math.max(ms, Date.UTC(1980, 0, 1)), Date.UTC(2107, 11, 31)) : Date.UTC(1980, 0, 1));
  return [
    (at.getUTCHours() << 11) | (at.getUTCMinutes() << 5) | (at.getUTCSeconds() >> 1),
    ((at.getUTCFullYear() - 1980) << 9) | ((at.getUTCMonth() + 1) << 5) | at.getUTCDate(),
  ];
}

/** "UT", the time in seconds since 1970, where it fits into what the field has. */
function extended_time(ms: number): Uint8Array {
  const seconds = Math.floor(ms / 1000);
  if (!Number.isFinite(seconds) || seconds < -0x80000000 || seconds > 0x7fffffff) return new Uint8Array();
  const time = new Record().u32(seconds).with();
  return new Record().u16(0x5455, 5).with(Uint8Array.of(1), time);
}

const is_big = (entry: ZipEntry) => entry.size >= FOUR;
const is_folder = (entry: ZipEntry) => entry.name.endsWith("/");
/** Folders have no data, so their sums and sizes, all zero, stand in the header. */
const flags = (entry: ZipEntry) => (is_folder(entry) ? FLAGS & ~8 : FLAGS);

function local_header(entry: ZipEntry): Uint8Array {
  const name = utf8.encode(entry.name);
  // Descriptors have sizes of 8 bytes if and only if the header has the extra field.
  const extra = is_big(entry) ? new Record().u16(1, 16).u64(0, 0).with(extended_time(entry.modified_ms)) : extended_time(entry.modified_ms);
  const size = is_big(entry) ? FOUR : 0;
  return new Record()
    .u32(0x04034b50)
    .u16(is_big(entry) ? NEEDED : 20, flags(entry), 0, ...dos_time(entry.modified_ms))
    .u32(0, size, size)
    .u16(name.length, extra.length)
    .with(name, extra);
}

function descriptor(entry: ZipEntry, sum: number): Uint8Array {
  if (is_folder(entry)) return new Uint8Array();
  const record = new Record().u32(0x08074b50, sum);
  return (is_big(entry) ? record.u64(entry.size, entry.size) : record.u32(entry.size, entry.size)).with();
}

function central_header(entry: ZipEntry, sum: number, offset: number): Uint8Array {
  const name = utf8.encode(entry.name);
  const sizes = is_big(entry) ? [entry.size, entry.size] : [];
  const far = offset >= FOUR ? [offset] : [];
  const wide = [...sizes, ...far];
  const zip64 = wide.length === 0 ? new Uint8Array() : new Record().u16(1, wide.length * 8).u64(...wide).with();
  const time = extended_time(entry.modified_ms);
  const mode = is_folder(entry) ? 0o40755 : entry.executable ? 0o100755 : 0o100644;
  const size = is_big(entry) ? FOUR : entry.size;
  return new Record()
    .u32(0x02014b50)
    .u16(MADE_BY, wide.length === 0 ? 20 : NEEDED, flags(entry), 0, ...dos_time(entry.modified_ms))
    .u32(sum, size, size)
    .u16(name.length, zip64.length + time.length, 0, 0, 0)
    .u32((mode << 16) | (is_folder(entry) ? 0x10 : 0), Math.min(offset, FOUR))
    .with(name, zip64, time);
}

function end_records(entries: number, directory: number, start: number): Uint8Array {
  const end = new Record()
    .u32(0x06054b50)
    .u16(0, 0, Math.min(entries, MANY), Math.min(entries, MANY))
    .u32(Math.min(directory, FOUR), Math.min(start, FOUR))
    .u16(0)
    .with();
  if (entries < MANY && directory < FOUR && start < FOUR) return end;
  const zip64 = new Record().u32(0x06064b50).u64(44).u16(MADE_BY, NEEDED).u32(0, 0).u64(entries, entries, directory, start).with();
  const locator = new Record().u32(0x07064b50, 0).u64(start + directory).u32(1).with();
  return new Record().with(zip64, locator, end);
}

/** The central directory and what ends it, in pieces of about 64 KiB. */
function* directory_pieces(entries: readonly ZipEntry[], sums: readonly number[]): Generator<Uint8Array, void> {
  let offset = 0;
  let size = 0;
  let piece: Uint8Array[] = [];
  let held = 0;
  for (const [at, entry] of entries.entries()) {
    const header = central_header(entry, sums[at] ?? 0, offset);
    piece.push(header);
    held += header.length;
    size += header.length;
    offset += taken(entry);
    if (held < 65_536) continue;
    yield new Record().with(...piece);
    piece = [];
    held = 0;
  }
  yield new Record().with(...piece, end_records(entries.length, size, offset));
}

/** Bytes of an entry before the next one's header. */
const taken = (entry: ZipEntry) => local_header(entry).length + entry.size + descriptor(entry, 0).length;

/** The length of the whole archive, which is known before anything is read. */
export function zip_size(entries: readonly ZipEntry[]): number {
  let offset = 0;
  let directory = 0;
  for (const entry of entries) {
    directory += central_header(entry, 0, offset).length;
    offset += taken(entry);
  }
  return offset + directory + end_records(entries.length, directory, offset).length;
}

export const AT_START: ZipMark = { entry: 0, headed: false, inside: 0, sum: 0, sums: [], pieces: 0 };

/** The bytes of an archive from a mark on. `read` gives an entry's content from an offset on. */
export class ZipReading {
  readonly #entries: readonly ZipEntry[];
  readonly #parts: AsyncGenerator<Uint8Array, void>;
  #mark: ZipMark;

  constructor(entries: readonly ZipEntry[], read: (entry: number, offset: number) => AsyncIterable<Uint8Array>, from: ZipMark = AT_START) {
    this.#entries = entries;
    this.#mark = { ...from, sums: [...from.sums] };
    this.#parts = this.#give(read);
  }

  /** The next bytes, or undefined at the end. */
  async next(): Promise<Uint8Array | undefined> {
    const next = await this.#parts.next();
    return next.done ? undefined : next.value;
  }

  /** The place in the archive after the bytes given so far. */
  mark(): ZipMark {
    return { ...this.#mark, sums: [...this.#mark.sums] };
  }

  async cancel(): Promise<void> {
    await this.#parts.return();
  }

  async *#give(read: (entry: number, offset: number) => AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
    const mark = this.#mark;
    while (mark.entry < this.#entries.length) {
      const entry = this.#entries[mark.entry] as ZipEntry;
      // The mark is set before bytes are given: who has them asks for it while this function rests.
      if (!mark.headed) {
        mark.headed = true;
        yield local_header(entry);
      }
      if (entry.size > mark.inside) {
        for await (const bytes of read(mark.entry, mark.inside)) {
          if (bytes.length > entry.size - mark.inside) throw new Error("a file is longer than was said");
          mark.sum = crc32(mark.sum, bytes);
          mark.inside += bytes.length;
          yield bytes;
        }
        if (mark.inside !== entry.size) throw new Error("a file is shorter than was said");
      }
      const tail = descriptor(entry, mark.sum);
      mark.sums.push(mark.sum);
      Object.assign(mark, { entry: mark.entry + 1, inside: 0, sum: 0, headed: false });
      if (tail.length > 0) yield tail;
    }
    for (const piece of [...directory_pieces(this.#entries, mark.sums)].slice(mark.pieces)) {
      mark.pieces += 1;
      yield piece;
    }
  }
}
