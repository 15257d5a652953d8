/** The messages between the page and the module, as web-core/src/input.rs and output.rs lay them out: little-endian. */

import type { Entry, Source } from "./api.ts";

/** Stands for a share itself where a reading could be named. */
export const WHOLE_SHARE = 0xffffffff;

const CODES = ["", "ticket", "not_found", "gone", "unreachable", "damaged", "busy", "too_new", "too_large"];

export interface Opened {
  share: number;
  version: number;
  published_ms: number;
  size: number;
  id: string;
  owner: string;
  entries: Entry[];
}

/** Wishes of the module. */
export type Output =
  | { kind: "open_pipe"; pipe: number; endpoint: number }
  | { kind: "send"; pipe: number; bytes: Uint8Array }
  | { kind: "close_pipe"; pipe: number }
  | { kind: "get"; get: number; endpoint: number; path: string }
  | { kind: "get_no_more"; get: number }
  | { kind: "opened"; opened: Opened }
  | { kind: "chunk"; share: number; reading: number; skip: number; give: number; key: Uint8Array | undefined; bytes: Uint8Array }
  | { kind: "end"; share: number; reading: number }
  | { kind: "failed"; share: number; reading: number; code: string; retry_after_ms: number; message: string }
  | { kind: "sources"; share: number; sources: Source[] }
  | { kind: "wake"; after_ms: number | undefined }
  | { kind: "started"; device: string }
  | { kind: "malformed" }
  | { kind: "event"; json: string; bytes: Uint8Array<ArrayBuffer> };

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** Reads fields one after the other. */
class Fields {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  at = 0;
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  u8(): number {
    return this.view.getUint8(this.at++);
  }
  u16(): number {
    this.at += 2;
    return this.view.getUint16(this.at - 2, true);
  }
  u32(): number {
    this.at += 4;
    return this.view.getUint32(this.at - 4, true);
  }
  u64(): number {
    this.at += 8;
    return Number(this.view.getBigUint64(this.at - 8, true));
  }
  i64(): number {
    this.at += 8;
    return Number(this.view.getBigInt64(this.at - 8, true));
  }
  /** A view, good until the module is called again. */
  take(length: number): Uint8Array {
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }
  text(length: number): string {
    return decoder.decode(this.take(length));
  }
  rest(): Uint8Array {
    return this.take(this.bytes.length - this.at);
  }
}

/** The messages in what the module answered. Their bytes are views, good until the module is called again. */
export function* outputs(answer: Uint8Array): Generator<Output> {
  const view = new DataView(answer.buffer, answer.byteOffset, answer.byteLength);
  for (let at = 0; at + 4 <= answer.length; ) {
    const length = view.getUint32(at, true);
    yield output(new Fields(answer.subarray(at + 4, at + 4 + length)));
    at += 4 + length;
  }
}

function output(from: Fields): Output {
  const kind = from.u8();
  switch (kind) {
    case 1:
      return { kind: "open_pipe", pipe: from.u32(), endpoint: from.u32() };
    case 2:
      return { kind: "send", pipe: from.u32(), bytes: from.rest() };
    case 3:
      return { kind: "close_pipe", pipe: from.u32() };
    case 4:
      return { kind: "get", get: from.u32(), endpoint: from.u32(), path: decoder.decode(from.rest()) };
    case 5:
      return { kind: "get_no_more", get: from.u32() };
    case 6:
      return { kind: "opened", opened: opened(from) };
    case 7: {
      const [share, reading, skip, give] = [from.u32(), from.u32(), from.u32(), from.u32()];
      const plain = from.u8() !== 0;
      const key = from.take(32);
      return { kind: "chunk", share, reading, skip, give, key: plain ? undefined : key, bytes: from.rest() };
    }
    case 8:
      return { kind: "end", share: from.u32(), reading: from.u32() };
    case 9: {
      const [share, reading] = [from.u32(), from.u32()];
      const code = CODES[from.u8()] ?? "unreachable";
      return { kind: "failed", share, reading, code, retry_after_ms: from.u32(), message: decoder.decode(from.rest()) };
    }
    case 10: {
      const share = from.u32();
      const sources = Array.from({ length: from.u32() }, () => source(from));
      return { kind: "sources", share, sources };
    }
    case 11: {
      const after_ms = from.u32();
      return { kind: "wake", after_ms: after_ms === WHOLE_SHARE ? undefined : after_ms };
    }
    case 12:
      return { kind: "started", device: decoder.decode(from.rest()) };
    case 64:
      return { kind: "event", json: from.text(from.u32()), bytes: from.rest().slice() };
    default:
      return { kind: "malformed" };
  }
}

function source(from: Fields): Source {
  const kind = from.u8() === 2 ? "store" : "device";
  const state = (["closed", "open", "waiting", "closed"] as const)[from.u8()] ?? "closed";
  return { kind, state, id: from.text(from.u8()), bytes: from.u64(), rate: from.u64() };
}

function opened(from: Fields): Opened {
  const share = from.u32();
  const [version, published_ms, size] = [from.u64(), from.u64(), from.u64()];
  const id = Array.from(from.take(16), (byte) => byte.toString(16).padStart(2, "0")).join("");
  const owner = from.text(from.u8());
  const path: string[] = [];
  const entries = Array.from({ length: from.u32() }, (_, index) => entry(from, index, path));
  return { share, version, published_ms, size, id, owner, entries };
}

/** `path` is that of the entry before, and becomes this one's. */
function entry(from: Fields, index: number, path: string[]): Entry {
  const depth = from.u32();
  const kind = (["file", "file", "folder", "symlink"] as const)[from.u8()] ?? "file";
  const executable = from.u8() !== 0;
  const [size, modified_ms] = [from.u64(), from.i64()];
  path.length = depth;
  path.push(from.text(from.u16()));
  const target = from.text(from.u16());
  const found: Entry = { index, path: [...path], kind, size, modified_ms, executable };
  if (kind === "symlink") found.target = target;
  return found;
}

/** A message to the module: its kind, fields of 1, 2, 4 or 8 bytes, and bytes or text behind them. */
export class Input {
  readonly parts: (readonly [number, number])[];
  readonly tail: Uint8Array;
  readonly kind: number;
  readonly length: number;
  readonly more: Uint8Array | undefined;
  constructor(kind: number, parts: (readonly [width: number, value: number])[] = [], tail: Uint8Array | string = "", more?: Uint8Array) {
    this.kind = kind;
    this.parts = parts;
    this.tail = typeof tail === "string" ? encoder.encode(tail) : tail;
    this.length = 1 + parts.reduce((sum, [width]) => sum + width, 0) + this.tail.length + (more?.length ?? 0);
    this.more = more;
  }
  write(to: Uint8Array): void {
    const view = new DataView(to.buffer, to.byteOffset, to.byteLength);
    view.setUint8(0, this.kind);
    let at = 1;
    for (const [width, value] of this.parts) {
      if (width === 8) view.setBigUint64(at, BigInt(value), true);
      else if (width === 4) view.setUint32(at, value, true);
      else if (width === 2) view.setUint16(at, value, true);
      else view.setUint8(at, value);
      at += width;
    }
    to.set(this.tail, at);
    if (this.more) to.set(this.more, at + this.tail.length);
  }
}

export const input = {
  start: (seed: Uint8Array, open_here: boolean) => {
    const tail = new Uint8Array(33);
    tail.set(seed);
    tail[32] = open_here ? 1 : 0;
    return new Input(1, [], tail);
  },
  endpoint: (number: number, relay: string) => new Input(2, [[4, number]], relay),
  open: (share: number, ticket: string) => new Input(3, [[4, share]], ticket),
  pipe_opened: (pipe: number) => new Input(4, [[4, pipe]]),
  pipe_bytes: (pipe: number, bytes: Uint8Array) => new Input(5, [[4, pipe]], bytes),
  pipe_closed: (pipe: number) => new Input(6, [[4, pipe]]),
  answer: (get: number, status: number, retry_after_ms: number) => new Input(7, [[4, get], [2, status], [4, retry_after_ms]]),
  answer_bytes: (get: number, bytes: Uint8Array) => new Input(8, [[4, get]], bytes),
  answer_end: (get: number, complete: boolean) => new Input(9, [[4, get], [1, complete ? 1 : 0]]),
  time: () => new Input(10),
  read: (share: number, reading: number, entry: number, offset: number) => new Input(11, [[4, share], [4, reading], [4, entry], [8, offset]]),
  taken: (share: number, reading: number, bytes: number) => new Input(12, [[4, share], [4, reading], [8, bytes]]),
  read_no_more: (share: number, reading: number) => new Input(13, [[4, share], [4, reading]]),
  close: (share: number) => new Input(14, [[4, share]]),
  back: () => new Input(15),
  does_not_open: (share: number) => new Input(16, [[4, share]]),
  /** Only the module of a device knows it. */
  command: (json: string, bytes: Uint8Array) => new Input(64, [[4, encoder.encode(json).length]], json, bytes),
};
