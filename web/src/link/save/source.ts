/** Sources of what is saved: one file, or several in a zip. A source gives bytes from a mark on, and marks to go on from. */
import type { Entry, OpenShare } from "../../core/api.ts";
import { save_name } from "../../ui-kit/names.ts";
import { all_nodes, kind_of, way_to, type Node } from "../tree.ts";
import { zip_size, ZipReading, type ZipEntry, type ZipMark } from "./zip.ts";

/** A place to go on from: bytes of a file, or the place in an archive. It survives structured cloning. */
export type Mark = { bytes: number; zip?: ZipMark };

export interface Reading {
  /** The next bytes, or undefined at the end. */
  next(): Promise<Uint8Array | undefined>;
  /** The mark after the bytes given so far. */
  mark(): Mark;
  cancel(): void;
}

export interface Source {
  /** Cleaned for a disk. */
  name: string;
  type: string;
  size: number;
  /** Files in it. */
  files: number;
  /** Symlinks that are left out of it. */
  links: number;
  /** Indices of the entries that were chosen: with the share's version they say what the source is. */
  chosen: number[];
  open(from?: Mark): Reading;
}

type Share = Pick<OpenShare, "read">;

/** The chunks of a stream; ends the stream when the loop is left or the signal comes, whatever the stream waits for. */
export async function* chunks_of(stream: ReadableStream<Uint8Array>, signal?: AbortSignal): AsyncGenerator<Uint8Array, void> {
  const reader = stream.getReader();
  const stop = () => void reader.cancel().catch(() => {}); // It failed already, which the reader is told.
  signal?.addEventListener("abort", stop);
  let ended = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        ended = true;
        return;
      }
      if (value.length > 0) yield value;
    }
  } finally {
    signal?.removeEventListener("abort", stop);
    if (!ended) stop();
    reader.releaseLock();
  }
}

function file_source(share: Share, node: Node): Source {
  const { entry } = node;
  return {
    name: save_name(node.name),
    type: kind_of(node.name)?.type ?? "application/octet-stream",
    size: entry.size,
    files: 1,
    links: 0,
    chosen: [entry.index],
    open(from = { bytes: 0 }) {
      const stop = new AbortController();
      const chunks = chunks_of(share.read(entry, from.bytes, stop.signal), stop.signal);
      let given = from.bytes;
      return {
        async next() {
          const { done, value } = await chunks.next();
          if (!done) {
            given += value.length;
            return value;
          }
          if (given !== entry.size) throw new Error("the file ended early");
          return undefined;
        },
        mark: () => ({ bytes: given }),
        cancel: () => stop.abort(),
      };
    },
  };
}

/** Nodes with the names that they get in an archive: cleaned, no two of them the same to any file system. */
export function zip_names(roots: readonly Node[]): { nodes: Node[]; entries: ZipEntry[]; links: number } {
  const names = new Map<Node | undefined, string>();
  const used = new Map<string, Map<string, number>>();
  const nodes: Node[] = [];
  const entries: ZipEntry[] = [];
  let links = 0;
  for (const root of roots) {
    names.set(root.parent, "");
    for (const node of all_nodes(root)) {
      if (node.entry.kind === "symlink") {
        links += 1;
        continue;
      }
      const folder = names.get(node.parent) ?? "";
      const taken = used.get(folder) ?? used.set(folder, new Map<string, number>()).get(folder)!;
      const path = folder + unused(save_name(node.name), taken) + (node.entry.kind === "folder" ? "/" : "");
      if (node.entry.kind === "folder") names.set(node, path);
      nodes.push(node);
      entries.push({ name: path, size: node.entry.kind === "file" ? node.entry.size : 0, modified_ms: node.entry.modified_ms, executable: node.entry.executable });
    }
  }
  return { nodes, entries, links };
}

/**
 * `name`, or with a number before its extension where a file system would take it for one that is there. The number
 * to try next is kept with each name: a folder of names that are all cut to the same would take for ever otherwise.
 */
function unused(name: string, taken: Map<string, number>): string {
  const folded = (text: string) => text.normalize("NFKD").toLowerCase().toUpperCase().toLowerCase();
  const dot = name.lastIndexOf(".");
  const [stem, end] = dot > 0 ? [name.slice(0, dot), name.slice(dot)] : [name, ""];
  const own = folded(name);
  for (let number = taken.get(own) ?? 1; ; number += 1) {
    const tried = number === 1 ? name : `${stem} (${number})${end}`;
    const key = folded(tried);
    if (number > 1 && taken.has(key)) continue;
    taken.set(key, 2);
    taken.set(own, number + 1);
    return tried;
  }
}

/** Small files that are fetched ahead while one is given: otherwise each would cost a way there and back. */
const AHEAD_FILES = 16;
const AHEAD_BYTES = 4 * 1024 * 1024;

/** Reads the entries of an archive in their order, small ones ahead. */
class Ahead {
  readonly #held = new Map<number, Promise<Uint8Array[]>>();
  constructor(readonly share: Share, readonly entries: readonly Entry[], readonly signal: AbortSignal) {}

  async *read(at: number, offset: number): AsyncGenerator<Uint8Array, void> {
    const held = this.#held.get(at);
    this.#held.delete(at);
    this.#fetch_after(at);
    if (held && offset === 0) yield* await held;
    else yield* chunks_of(this.share.read(this.entries[at] as Entry, offset, this.signal), this.signal);
  }

  #fetch_after(at: number): void {
    let bytes = 0;
    for (let next = at + 1; next <= at + AHEAD_FILES; next += 1) {
      const entry = this.entries[next];
      bytes += entry?.size ?? 0;
      if (!entry || bytes > AHEAD_BYTES) return;
      if (entry.kind !== "file" || entry.size === 0 || this.#held.has(next)) continue;
      const whole = all_chunks(this.share.read(entry, 0, this.signal), this.signal);
      whole.catch(() => {}); // Told when its turn comes.
      this.#held.set(next, whole);
    }
  }
}

async function all_chunks(stream: ReadableStream<Uint8Array>, signal: AbortSignal): Promise<Uint8Array[]> {
  const all: Uint8Array[] = [];
  for await (const bytes of chunks_of(stream, signal)) all.push(bytes);
  return all;
}

function zip_source(share: Share, roots: readonly Node[], name: string): Source {
  const { nodes, entries, links } = zip_names(roots);
  const files = nodes.map((node) => node.entry);
  return {
    name: `${save_name(name)}.zip`,
    type: "application/zip",
    size: zip_size(entries),
    files: files.filter((entry) => entry.kind === "file").length,
    links,
    chosen: roots.map((root) => root.entry.index),
    open(from) {
      const stop = new AbortController();
      const ahead = new Ahead(share, files, stop.signal);
      const zip = new ZipReading(entries, (at, offset) => ahead.read(at, offset), from?.zip);
      let given = from?.bytes ?? 0;
      return {
        async next() {
          const bytes = await zip.next();
          given += bytes?.length ?? 0;
          return bytes;
        },
        mark: () => ({ bytes: given, zip: zip.mark() }),
        cancel() {
          stop.abort();
          zip.cancel().catch(() => {}); // The reading under way ends with the signal.
        },
      };
    },
  };
}

/** The rest of a choice when whatever lies in a chosen folder is left out. */
export function roots_of(chosen: ReadonlySet<Node>): Node[] {
  const inside = (node: Node) => way_to(node).slice(0, -1).some((above) => chosen.has(above));
  return [...chosen].filter((node) => !inside(node)).sort((a, b) => a.entry.index - b.entry.index);
}

/** One file as itself, all else as a zip that is named after the folder or, for several things, the share. */
export function source_of(share: Share, chosen: ReadonlySet<Node>, share_name: string): Source {
  const roots = roots_of(chosen);
  const [only] = roots;
  if (roots.length === 1 && only) return only.entry.kind === "file" ? file_source(share, only) : zip_source(share, [only], only.name);
  return zip_source(share, roots, share_name);
}
