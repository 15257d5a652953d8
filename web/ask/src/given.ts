/** The answer as files or digests of the embedding page: names and types come from outside and are cleaned. */
import { CoreError } from "../../src/core/api.ts";
import type { AskKind, AskRequest, Asker, Thing } from "../../src/core/device-api.ts";
import { save_name } from "../../src/ui-kit/names.ts";

export interface Digest {
  name: string;
  size: number;
  type: string;
  /** When it was made, ms since 1970. */
  made?: number;
  /** A small JPEG as a `data:` address. */
  thumbnail?: string;
}

export interface Given {
  files: File[];
  digests: Digest[];
}

/** Longest time that a request of a site stands, seconds. */
export const VALID_S = 900;
/** Longest reason, bytes. */
const REASON_MOST = 256;
/** Largest thumbnail that is taken, bytes. */
const THUMBNAIL_MOST = 131_072;

/** The request that an `accept` stands for. */
export function request_of({ accept, multiple, digest, reason }: { accept: string; multiple: boolean; digest: boolean; reason: string }): AskRequest & { multiple: boolean } {
  return { kind: kind_of(accept), which: "picked", digest, multiple, valid_s: VALID_S, ...(reason === "" ? {} : { reason: shortened(reason, REASON_MOST) }) };
}

const ENDINGS: readonly (readonly [AskKind, RegExp])[] = [
  ["photo", /^(image\/.+|\.(jpe?g|png|gif|webp|avif|heic|svg|bmp|tiff?))$/],
  ["video", /^(video\/.+|\.(mp4|webm|mov|mkv|avi|m4v))$/],
  ["audio", /^(audio\/.+|\.(mp3|m4a|ogg|opus|wav|flac|weba))$/],
];

export function kind_of(accept: string): AskKind {
  const tokens = accept.toLowerCase().split(",").map((token) => token.trim()).filter((token) => token !== "");
  if (tokens.length === 0) return "file";
  return ENDINGS.find(([, pattern]) => tokens.every((token) => pattern.test(token)))?.[0] ?? "file";
}

/** The text without what would make it longer than `most` bytes of UTF-8. */
function shortened(text: string, most: number): string {
  let kept = "";
  let left = most;
  for (const c of text) {
    left -= new TextEncoder().encode(c).length;
    if (left < 0) break;
    kept += c;
  }
  return kept;
}

function type_of(thing: Thing): string {
  return /^[\w.+-]{1,64}\/[\w.+-]{1,64}$/.test(thing.media_type) ? thing.media_type.toLowerCase() : "application/octet-stream";
}

/** Brings every thing of an answer; `told` hears how much is there, of how much. */
export async function bring(asker: Asker, things: readonly Thing[], digest: boolean, told: (done: number, all: number) => void): Promise<Given> {
  if (digest) return { files: [], digests: await Promise.all(things.map(digest_of_thing)) };
  const all = things.reduce((sum, { bytes }) => sum + bytes, 0);
  let done = 0;
  const files: File[] = [];
  for (const [index, thing] of things.entries()) {
    const parts: Blob[] = [];
    if (thing.content) parts.push(thing.content);
    else {
      for await (const part of pieces(asker.read(index))) {
        // A Blob is the browser's to put elsewhere than into memory.
        parts.push(new Blob([part as Uint8Array<ArrayBuffer>]));
        told(done + parts.reduce((sum, { size }) => sum + size, 0), all);
      }
    }
    const file = new File(parts, save_name(thing.name), { type: type_of(thing), lastModified: thing.made_ms ?? Date.now() });
    if (file.size !== thing.bytes) throw new CoreError("damaged", "it is not as long as was said");
    done += file.size;
    told(done, all);
    files.push(file);
  }
  return { files, digests: [] };
}

async function* pieces(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

async function digest_of_thing(thing: Thing): Promise<Digest> {
  const small = thing.thumbnail && thing.thumbnail.size <= THUMBNAIL_MOST ? thing.thumbnail : undefined;
  return { name: save_name(thing.name), size: thing.bytes, type: type_of(thing), ...(thing.made_ms ? { made: thing.made_ms } : {}), ...(small ? { thumbnail: await data_url(small) } : {}) };
}

async function data_url(blob: Blob): Promise<string> {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return `data:image/jpeg;base64,${btoa(text)}`;
}

/** The value of the form with `digest`: an object, or a list of them with `multiple`. */
export function digest_of(digests: readonly Digest[], multiple: boolean): string {
  return JSON.stringify(multiple ? digests : digests[0]);
}
