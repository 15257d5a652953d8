/** The share's entries as a tree of folders. */
import type { Entry } from "../core/api.ts";
import type { IconName } from "../ui-kit/icons.tsx";

export interface Node {
  entry: Entry;
  /** The last part of its path; the share's name at the top. */
  name: string;
  parent: Node | undefined;
  children: Node[];
  /** Bytes of all files in it, or of the file. */
  size: number;
  /** Files in it; 1 for a file, 0 for a symlink. */
  files: number;
}

/** Builds the tree. Entries come depth first, so the parent of one is the nearest earlier folder a level up. */
export function tree_of(entries: readonly Entry[], share_name: string): Node {
  const first = entries[0] ?? { index: 0, path: [], kind: "folder", size: 0, modified_ms: 0, executable: false };
  const top: Node = { entry: first, name: share_name, parent: undefined, children: [], size: 0, files: 0 };
  const base = first.path.length;
  const open: Node[] = [top];
  for (const entry of entries.slice(1)) {
    const depth = Math.max(1, entry.path.length - base);
    while (open.length > depth) open.pop();
    const parent = open[open.length - 1] ?? top;
    const node: Node = { entry, name: entry.path[entry.path.length - 1] ?? "", parent, children: [], size: 0, files: 0 };
    parent.children.push(node);
    if (entry.kind === "folder") open.push(node);
  }
  count(top);
  return top;
}

/** Adds up sizes from the leaves to the top, without recursion: folders nest as deep as a manifest says. */
function count(top: Node): void {
  const order: Node[] = [];
  const waiting = [top];
  for (let node = waiting.pop(); node; node = waiting.pop()) {
    order.push(node);
    for (const child of node.children) waiting.push(child);
  }
  for (const node of order.reverse()) {
    if (node.entry.kind === "file") {
      node.size = node.entry.size;
      node.files = 1;
    }
    if (node.parent) {
      node.parent.size += node.size;
      node.parent.files += node.files;
    }
  }
}

/** All nodes below, and itself, depth first. */
export function* all_nodes(top: Node): Generator<Node> {
  const waiting = [top];
  for (let node = waiting.pop(); node; node = waiting.pop()) {
    yield node;
    for (let at = node.children.length - 1; at >= 0; at -= 1) waiting.push(node.children[at] as Node);
  }
}

/** The nodes from the top to this one, the top included. */
export function way_to(node: Node): Node[] {
  const way: Node[] = [];
  for (let at: Node | undefined = node; at; at = at.parent) way.unshift(at);
  return way;
}

export type Sort = "name" | "size" | "date";

/** Folders first, then by what is asked; names as people of the language order them, numbers by value. */
export function sorted(nodes: readonly Node[], sort: Sort, locale: string): Node[] {
  const collator = new Intl.Collator(locale, { numeric: true, sensitivity: "base" });
  const by_name = (a: Node, b: Node) => collator.compare(a.name, b.name) || a.entry.index - b.entry.index;
  return [...nodes].sort((a, b) => {
    const folders = Number(b.entry.kind === "folder") - Number(a.entry.kind === "folder");
    if (folders !== 0) return folders;
    if (sort === "size") return b.size - a.size || by_name(a, b);
    if (sort === "date") return b.entry.modified_ms - a.entry.modified_ms || by_name(a, b);
    return by_name(a, b);
  });
}

/** Nodes below `top` whose name has all words of `text`, in any case and with or without accents; at most `most`. */
export function search(top: Node, text: string, locale: string, most: number): { found: Node[]; more: boolean } {
  const plain = (s: string) => s.normalize("NFKD").replace(/\p{M}/gu, "").toLocaleLowerCase(locale);
  const words = plain(text).split(/\s+/).filter((word) => word !== "");
  const found: Node[] = [];
  for (const node of all_nodes(top)) {
    if (node === top) continue;
    const name = plain(node.name);
    if (!words.every((word) => name.includes(word))) continue;
    if (found.length === most) return { found, more: true };
    found.push(node);
  }
  return { found, more: false };
}

export type Preview = "image" | "video" | "audio" | "text" | "pdf";

interface Kind {
  preview: Preview;
  type: string;
}

/** Types by the end of a name. A preview is given the type of this table and no other, whatever the bytes are. */
const KINDS: Readonly<Record<string, Kind>> = kinds({
  image: { png: "image/png", jpg: "image/jpeg", jpeg: "image/jpeg", gif: "image/gif", webp: "image/webp", avif: "image/avif", bmp: "image/bmp", svg: "image/svg+xml", ico: "image/x-icon", heic: "image/heic" },
  video: { mp4: "video/mp4", m4v: "video/mp4", webm: "video/webm", mov: "video/quicktime", mkv: "video/x-matroska", ogv: "video/ogg" },
  audio: { mp3: "audio/mpeg", m4a: "audio/mp4", aac: "audio/aac", ogg: "audio/ogg", oga: "audio/ogg", opus: "audio/ogg", wav: "audio/wav", flac: "audio/flac" },
  pdf: { pdf: "application/pdf" },
  text: Object.fromEntries(
    "txt md log csv tsv json yaml yml toml ini conf xml html htm css js mjs ts tsx jsx py rs go c h cpp hpp java kt rb php sh bash zsh sql tex srt vtt diff patch nfo gitignore".split(" ").map((end) => [end, "text/plain"]),
  ),
});

function kinds(table: Readonly<Record<Preview, Readonly<Record<string, string>>>>): Record<string, Kind> {
  const flat: Record<string, Kind> = Object.create(null) as Record<string, Kind>;
  for (const [preview, types] of Object.entries(table)) for (const [end, type] of Object.entries(types)) flat[end] = { preview: preview as Preview, type };
  return flat;
}

const PLAIN_NAMES = /^(readme|license|licence|copying|changelog|authors|makefile|dockerfile|notice|todo)$/i;

/** The kind of preview that a file can be shown as, by its name; undefined: it is only downloaded. */
export function kind_of(name: string): Kind | undefined {
  if (PLAIN_NAMES.test(name)) return { preview: "text", type: "text/plain" };
  const dot = name.lastIndexOf(".");
  return dot < 0 ? undefined : KINDS[name.slice(dot + 1).toLowerCase()];
}

const ARCHIVES = /\.(zip|tar|gz|tgz|xz|zst|bz2|7z|rar|iso|dmg|deb|rpm|apk)$/i;

export function icon_of(node: Node): IconName {
  if (node.entry.kind === "folder") return "folder";
  if (node.entry.kind === "symlink") return "link";
  const preview = kind_of(node.name)?.preview;
  if (preview === "pdf") return "text";
  return preview ?? (ARCHIVES.test(node.name) ? "archive" : "file");
}
