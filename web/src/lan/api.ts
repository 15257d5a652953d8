/**
 * Calls of the page to the daemon that serves it. Everything is below the page's own path, whose word is the
 * only key; the page is plain HTTP, so nothing here needs more of a browser than that gives.
 */

export interface Shared { id: string; name: string; kind: "file" | "folder" | "symlink"; size: number; files: number }
export interface PageView { device: string; expires_s: number; may_upload: boolean; shares: Shared[] }
export interface Listing { index: number; path: string[]; kind: "file" | "folder" | "symlink"; size: number; modified_ms: number }
export interface Contents { name: string; entries: Listing[] }

/** A failed call: `ended` when the page is not there any more, `away` when nobody answers; else the daemon's own code. */
export class LanError extends Error {
  constructor(
    readonly code: string,
    message = "",
    readonly hint = "",
  ) {
    super(message);
  }
}

/** The page's own path, with the stroke at its end: `/p/<word>/`. */
export function base(): string {
  return /^\/p\/[^/]+\//.exec(location.pathname)?.[0] ?? "/";
}

export function file_url(share: string, index: number, inline = false): string {
  return `${base()}files/${encodeURIComponent(share)}/${index}${inline ? "?inline" : ""}`;
}

export function zip_url(share: string, index: number): string {
  return `${base()}zip/${encodeURIComponent(share)}${index === 0 ? "" : `?entry=${index}`}`;
}

/** Reads an answer that is no success. */
export function refusal(status: number, text: string): LanError {
  let said: { code?: string; message?: string; detail?: string; hint?: string } = {};
  try {
    said = JSON.parse(text) as typeof said;
  } catch {
    // The daemon did not say this itself: the status has to do.
  }
  return new LanError(said.code ?? "internal", said.message ?? said.detail ?? String(status), said.hint ?? "");
}

async function get<T>(path: string): Promise<T> {
  let answer: Response;
  try {
    answer = await fetch(base() + path, { cache: "no-store" });
  } catch {
    throw new LanError("away");
  }
  if (answer.ok) return (await answer.json()) as T;
  const problem = refusal(answer.status, await answer.text().catch(() => ""));
  throw path === "api/page" && answer.status === 404 ? new LanError("ended", problem.message, problem.hint) : problem;
}

export function read_page(): Promise<PageView> {
  return get("api/page");
}

export function read_share(id: string): Promise<Contents> {
  return get(`api/shares/${encodeURIComponent(id)}`);
}

/** Sends a text into the device's inbox. */
export async function send_text(text: string): Promise<void> {
  let answer: Response;
  try {
    answer = await fetch(`${base()}api/text`, { method: "POST", headers: { "Content-Type": "text/plain; charset=utf-8" }, body: text });
  } catch {
    throw new LanError("away");
  }
  if (!answer.ok) throw refusal(answer.status, await answer.text().catch(() => ""));
}

/** The longest text that is taken, bytes of UTF-8 (the daemon's). */
export const MAX_TEXT = 64 << 10;

export interface Sending {
  /** Takes how far it is, bytes. */
  onprogress: (bytes: number) => void;
  /** It is there, under this name. */
  ondone: (name: string) => void;
  onfailed: (error: LanError) => void;
}

/**
 * Sends a file; gives a way to break it off. `XMLHttpRequest` is what tells a page how far an upload is, and
 * reads the file bit by bit.
 */
export function send_file(file: Blob, name: string, told: Sending): () => void {
  const request = new XMLHttpRequest();
  request.open("POST", `${base()}api/upload?name=${encodeURIComponent(name)}`);
  request.setRequestHeader("Content-Type", "application/octet-stream");
  request.upload.onprogress = (event) => told.onprogress(event.loaded);
  request.onload = () => {
    if (request.status !== 201) return told.onfailed(refusal(request.status, request.responseText));
    let kept = name;
    try {
      kept = (JSON.parse(request.responseText) as { name: string }).name;
    } catch {
      // The file is there all the same.
    }
    told.ondone(kept);
  };
  request.onerror = () => told.onfailed(new LanError("away"));
  request.send(file);
  return () => request.abort();
}
