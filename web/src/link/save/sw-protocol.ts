/**
 * Messages between page and service worker. The worker holds nothing: addresses name the tab that
 * gives the bytes, so that a worker that was stopped in between finds it again.
 */

/** `/~get/<tab>/<token>/<name>`: a download. `/~view/…`: a preview, with ranges. */
export const GET = "/~get/";
export const VIEW = "/~view/";

/** The place where the device page leaves the words of a notification, in its language. */
export const NOTICE_CACHE = "hither-notice";
export const NOTICE_WORDS = "/~notice";
/** The address to which other apps share with the installed page: the worker takes it, so that no relay sees it. */
export const SHARE_TARGET = "/~share";

/**
 * Page to worker, with a port for the answer: `hello` is answered with the tab's id; `ping` keeps it awake, and is
 * answered with what it gives at the moment. A worker that was stopped in between gives nothing more.
 */
export type ToWorker = { kind: "hello" } | { kind: "ping" };
export type Hello = { tab: string };
export type Giving = { tokens: string[] };

/** Worker to page, with a port for what follows. */
export type Wanted = { kind: "wanted"; token: string };

/** On that port, from the page: what it is, or that it is nothing. Then bytes as they are pulled. */
export type FromPage =
  | { kind: "head"; name: string; type: string; size: number; attachment: boolean }
  | { kind: "none" }
  | { kind: "bytes"; bytes: Uint8Array }
  | { kind: "end" }
  | { kind: "failed" };

/** On that port, from the worker: the part that is asked for (the end is exclusive), one piece more, no more. */
export type FromWorker = { kind: "part"; start: number; end: number } | { kind: "pull" } | { kind: "cancel" };

/** The part that a Range header asks for; undefined: there is none, or it is not understood, so all is given; null: it cannot be given. */
export function range_of(header: string | null, size: number): [start: number, end: number] | undefined | null {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header?.trim() ?? "");
  if (!match) return undefined;
  const [, first = "", last = ""] = match;
  if (first === "" && last === "") return undefined;
  if (first === "") {
    const length = Math.min(Number(last), size);
    return length === 0 ? null : [size - length, size];
  }
  const start = Number(first);
  const end = last === "" ? size : Math.min(Number(last) + 1, size);
  return start < end ? [start, end] : null;
}

/** A name in a header (RFC 8187). */
export function attachment(name: string): string {
  const encoded = encodeURIComponent(name).replace(/['()*!]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  return `attachment; filename*=UTF-8''${encoded}`;
}
