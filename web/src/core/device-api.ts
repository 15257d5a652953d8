/** The page as a device, a visitor or an asker, as the screens see it. Secrets stay behind these types. */

import type { OpenShare } from "./api.ts";

/** Another device of the user. */
export interface Peer {
  id: string;
  /** As it calls itself; any text, to be shown as text only. */
  name: string;
  online: boolean;
  /** A page in a browser. */
  web: boolean;
  last_seen_ms: number;
}

export type SendState =
  | "preparing" // read and cut into chunks
  | "uploading"
  | "waiting" // at this page: the relay cannot be reached
  | "sent" // at the relay
  | "taken"
  | "declined"
  | "paused"
  | "needs_file" // after a reload: the browser did not give the file back
  | "failed";

/** Something that this page sends; kept over reloads until the user clears it. */
export interface Sending {
  id: string;
  to: string;
  to_name: string;
  kind: "text" | "files" | "answer";
  /** First words of a text. */
  text?: string;
  files: { name: string; size: number; modified_ms: number }[];
  state: SendState;
  /** Plaintext bytes that are at the relay, of `bytes`. */
  done: number;
  bytes: number;
  /** Bytes per second, lately. */
  rate: number;
  /**
   * Only when failed. `code`: "changed" (a file is not what it was), "unreadable", "too_large", "quota", "no_space" (at the relay), "not_found" (the
   * other device is not the user's any more), "refused", "removed", "unreachable" (the store is not at this relay), "lost" (the page ended
   * before it was kept).
   */
  error?: { code: string; message: string; retry_after_ms?: number };
  /** It goes in one letter, which is kept here: nothing of it is paused, and the page may be left. */
  letter?: true;
  /** Only when failed: nothing of it is left here, so that `resume` needs files where there were some, and a text is written anew. */
  spent?: true;
}

export type AskKind = "photo" | "video" | "audio" | "file" | "qr" | "location" | "playing" | "clipboard" | "place";

export interface AskRequest {
  kind: AskKind;
  which: "picked" | "latest" | "named" | "live";
  /** With named: a pattern. */
  name?: string;
  /** With live: length of a recording; 0 a picture. */
  seconds?: number;
  digest?: boolean;
  reason?: string;
  /** 1 to 2,592,000. */
  valid_s: number;
}

export interface Thing {
  name: string;
  media_type: string;
  bytes: number;
  made_ms?: number;
  /** The thing itself where it came in the letter. */
  content?: Blob;
  /** JPEG. */
  thumbnail?: Blob;
}

export type AskRefusal = "declined" | "nothing" | "unsupported" | "busy" | "failed" | "expired";

export type Answer =
  | { kind: "refused"; refusal: AskRefusal; words: string }
  | { kind: "text"; text: string }
  | { kind: "things"; things: Thing[]; ticket?: string };

/** A request that stands before the user of this page. */
export interface Asked extends AskRequest {
  id: string;
  from: string;
  from_name: string;
  received_ms: number;
  /** By this page's clock. */
  ends_ms: number;
  state: "open" | "answered" | "refused" | "expired" | "cancelled";
}

/** A request of this page. */
export interface Asking extends AskRequest {
  id: string;
  to: string;
  to_name: string;
  made_ms: number;
  state: "waiting" | "sent" | "seen" | "answered" | "refused" | "expired" | "cancelled";
  answer?: Answer;
}

/** Something that came; kept in the browser until the user deletes it. */
export interface Arrived {
  id: string;
  from: string;
  from_name: string;
  received_ms: number;
  read: boolean;
  kind: "text" | "files" | "share" | "unknown";
  text?: string;
  files?: { name: string; bytes: number }[];
  share?: { ticket: string; name: string; files: number; bytes: number };
}

export type DeviceState =
  | "new" // paired with nobody
  | "connecting"
  | "online"
  | "offline"
  | "removed"; // the user or the relay removed this page

/** A file to be sent, as the browser gave it, and a handle by which it can give it again. */
export interface GivenFile {
  file: File;
  /** Folders above it and its name, with `/` between; left out: its name alone. */
  path?: string;
  handle?: FileSystemFileHandle;
}

/** The page as one of the user's devices. */
export interface PageDevice {
  readonly device_id: string;
  readonly state: DeviceState;
  /** The page's own name. */
  readonly name: string;
  peers(): Peer[];
  sendings(): Sending[];
  inbox(): Arrived[];
  asked(): Asked[];
  asking(): Asking[];
  /** The reason for which what came last is not kept: too much waits to be read, or the browser has no room. It is tried again by itself. */
  readonly stuck?: "unread" | "room" | undefined;
  /** Anything above changed. */
  onchange(listener: () => void): () => void;
  /**
   * Pairs with the device that shows the code. `words`: three words that both screens show; the other person says yes or no there.
   * Rejects with CoreError: "ticket" (no such code), "too_new", "spent", "busy", "declined", "refused" (the relay that serves this page lets
   * the other device invite nobody), "unreachable", "not_found" (the other device is not at this relay), "aborted".
   */
  pair(text: string, name: string, words: (words: string[]) => void, signal?: AbortSignal): Promise<{ name: string }>;
  rename(name: string): Promise<void>;
  /**
   * Gives everything up here; the other devices list the page until it is removed there, or for a month; also to be used when the state is
   * "removed", before pairing again. This one is of no use afterwards: a page that is loaded anew makes another device.
   */
  forget(): Promise<void>;
  send_text(to: string, text: string): Promise<Sending>;
  send_files(to: string, files: GivenFile[]): Promise<Sending>;
  pause(id: string): void;
  /** Goes on; `files` where the state is "needs_file". Rejects "changed" when they are not the same. */
  resume(id: string, files?: GivenFile[]): Promise<void>;
  clear(id: string): Promise<void>;
  mark_read(id: string): Promise<void>;
  /** Deletes something that came, or a request that has ended. */
  delete(id: string): Promise<void>;
  /** A file that came in a letter. */
  file(id: string, index: number): Promise<Blob>;
  /** A share that came. */
  open(ticket: string, signal?: AbortSignal): Promise<OpenShare>;
  ask(to: string, request: AskRequest): Promise<Asking>;
  cancel(id: string): Promise<void>;
  /** The request is before the user; its asker is told so once. */
  seen(id: string): void;
  answer(id: string, files: GivenFile[]): Promise<Sending>;
  answer_text(id: string, text: string): Promise<void>;
  refuse(id: string, words?: string): Promise<void>;
  /** Web push of the relay that serves this page; `key`: for PushManager.subscribe. */
  push(): Promise<{ key?: Uint8Array; set: boolean }>;
  set_push(subscription: PushSubscriptionJSON | undefined): Promise<void>;
}

/** The visit that a link of a device, or of a site, opened. */
export interface Visit {
  readonly kind: "inbox" | "ask";
  /** As the link says; any text. */
  readonly host_name: string;
  /** The site that asks, as the relay saw it; only of an ask. */
  readonly origin?: string;
  /** The request; only of an ask. */
  readonly ask?: AskRequest & { multiple: boolean };
  /** Two digits that both screens show. */
  readonly number: number;
  /** By this page's clock. */
  readonly ends_ms: number;
  /** Bytes that may be left. */
  readonly bytes: number;
  readonly state: "connecting" | "online" | "offline" | "ended";
  sendings(): Sending[];
  onchange(listener: () => void): () => void;
  /** Sets the visitor's name for the host. */
  name(name: string): void;
  send_text(text: string): Promise<Sending>;
  send_files(files: GivenFile[]): Promise<Sending>;
  answer(files: GivenFile[]): Promise<Sending>;
  refuse(words?: string): Promise<void>;
  pause(id: string): void;
  resume(id: string, files?: GivenFile[]): Promise<void>;
  clear(id: string): Promise<void>;
  close(): void;
}

/** A page of a site that asks. */
export interface Asker {
  /** The address to be scanned or opened: a secret. */
  readonly link: string;
  /** Set when somebody has opened the link. */
  readonly number?: number;
  readonly state: "connecting" | "waiting" | "opened" | "answered" | "ended";
  onchange(listener: () => void): () => void;
  /** Rejects with CoreError: "refused" (the relay does not let this site ask), "declined", "expired", "unreachable", "aborted". */
  answer(): Promise<Thing[]>;
  /** A thing of the answer that was too large for the letter, by its place. */
  read(index: number): ReadableStream<Uint8Array>;
  close(): void;
}

export interface DeviceCore {
  /** The device of this browser, made when there is none. One tab at a time has it: rejects with "elsewhere" in another one. */
  device(): Promise<PageDevice>;
  /** `link`: what follows the `#`. Rejects with CoreError: "ticket", "gone", "unreachable", "too_new". */
  visit(link: string, signal?: AbortSignal): Promise<Visit>;
  /** `relay`: its address, "https://host". Resolves when the link can be shown; rejects with CoreError: "refused" (the relay does not let this site ask), "unreachable". */
  ask(request: AskRequest & { multiple: boolean }, relay: string): Promise<Asker>;
}
