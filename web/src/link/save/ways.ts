/** The ways of saving that a browser has, and the one that is taken. */

export type Way =
  /** A file that the person chooses; goes on after a reload. */
  | "file"
  /** The browser's downloads, by the service worker; ends with the tab. */
  | "stream"
  /** The browser's storage, then its downloads; goes on after a reload. */
  | "disk"
  /** Memory, then the browser's downloads. */
  | "memory";

export interface Abilities {
  file: boolean;
  stream: boolean;
  disk: boolean;
  /** Bytes that the browser's storage still takes. */
  room: number;
  ios: boolean;
}

/** The most that is saved by way of memory, in bytes. */
export const MEMORY_MOST = 100_000_000;

export async function abilities(stream: boolean): Promise<Abilities> {
  const disk = isSecureContext && typeof navigator.storage?.getDirectory === "function" && HITHER_DISK_URL !== "";
  const estimate = disk ? await navigator.storage.estimate().catch(() => undefined) : undefined;
  return {
    file: isSecureContext && typeof window.showSaveFilePicker === "function",
    stream,
    disk: disk && estimate !== undefined,
    room: estimate ? (estimate.quota ?? 0) - (estimate.usage ?? 0) : 0,
    ios: /iP(hone|ad|od)/.test(navigator.userAgent) || (/Mac/.test(navigator.userAgent) && navigator.maxTouchPoints > 1),
  };
}

/**
 * The way for `size` bytes; undefined: there is none. `lasting` prefers the browser's storage to its downloads,
 * because that goes on when the tab was closed.
 */
export function way_for(size: number, can: Abilities, lasting: boolean): Way | undefined {
  // Some room stays: browsers clear storage that is full.
  const fits = can.disk && size * 1.05 + 10_000_000 <= can.room;
  if (can.file) return "file";
  if (lasting && fits) return "disk";
  if (can.stream) return "stream";
  if (fits) return "disk";
  if (size <= MEMORY_MOST && !can.ios) return "memory";
  return undefined;
}
