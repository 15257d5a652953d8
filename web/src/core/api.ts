/** The core as the screens see it. */

export type EntryKind = "file" | "folder" | "symlink";

export interface Entry {
  index: number;
  /** Names from the top down to the entry. Any text but `/` and NUL: never to be shown or used as a path as it is. */
  path: string[];
  kind: EntryKind;
  /** Bytes; 0 for folders and symlinks. */
  size: number;
  modified_ms: number;
  executable: boolean;
  /** The target of a symlink, which is never to be followed. */
  target?: string;
}

/** `code`: "ticket" | "not_found" | "gone" | "unreachable" | "damaged" | "busy" | "too_new" | "too_large" | "aborted" */
export class CoreError extends Error {
  code: string;
  retry_after_ms?: number;
  constructor(code: string, message: string, retry_after_ms?: number) {
    super(message);
    this.code = code;
    if (retry_after_ms !== undefined) this.retry_after_ms = retry_after_ms;
  }
}

export interface Source {
  kind: "store" | "device";
  id: string;
  state: "open" | "waiting" | "closed";
  /** Bytes of chunks that it gave. */
  bytes: number;
  /** Bytes per second, lately. */
  rate: number;
}

export interface OpenShare {
  id: string;
  owner: string;
  name: string;
  version: number;
  published_ms: number;
  size: number;
  /** Depth first; the first is the top. */
  entries: Entry[];
  /** Plaintext of one file from `offset` on, every byte verified before it is given; stops reading ahead when nobody pulls. */
  read(entry: Entry, offset?: number, signal?: AbortSignal): ReadableStream<Uint8Array>;
  sources(): Source[];
  onchange(listener: () => void): () => void;
  close(): void;
}

export interface Core {
  open(ticket: string, options?: { signal?: AbortSignal }): Promise<OpenShare>;
  device_id: string;
}
