/** Messages between a page's device and its module: JSON with bytes behind it (web-core/src/device/command.rs, event.rs). */

export interface AskJson {
  id: string;
  kind: string;
  which: string;
  name?: string;
  seconds?: number;
  digest: boolean;
  reason: string;
  valid_s: number;
}

export interface ThingJson {
  name: string;
  media_type: string;
  bytes: number;
  made_ms: number;
  /** Length of its content, which stands behind the JSON; absent where it is not there. */
  content?: number | null;
  /** Length of its picture, which stands behind its content. */
  thumbnail: number;
}

export type LetterJson =
  | { kind: "text"; text: string }
  | { kind: "files"; files: { name: string; length: number }[] }
  | { kind: "ticket"; ticket: string; name: string; files: number; bytes: number }
  | { kind: "ask"; ask: AskJson }
  | { kind: "cancel"; ask: string }
  | { kind: "seen"; ask: string }
  | { kind: "refused"; ask: string; refusal: string; words: string }
  | { kind: "answer_text"; ask: string; text: string }
  | { kind: "answer"; ask: string; things: ThingJson[]; ticket?: string | null }
  | { kind: "receipt"; of: string; taken: boolean }
  | { kind: "unknown" }
  | { kind: "service" }
  | { kind: "unreadable" };

export interface GivenJson {
  path: string[];
  size: number;
  modified_ms: number;
}

export interface UploadSecrets {
  /** Hexadecimal digits, as all secrets and ids here. */
  secret: string;
  domain: string;
  salt: string;
  published_ms: number;
}

export type Command =
  | { do: "device"; invitation?: string; name: string; made_ms: number; instance: number }
  | { do: "visit"; link: string; name: string }
  | { do: "asker"; ask: AskJson; multiple: boolean }
  | { do: "name"; name: string; made_ms: number }
  | { do: "leave" }
  | { do: "send"; to: string; id: string; made_ms: number; receipt: boolean; letter: LetterJson }
  | { do: "unsend"; id: string }
  | { do: "received"; seq: number }
  | ({ do: "upload"; upload: number; name: string; files: GivenJson[]; keep_s: number } & UploadSecrets)
  | { do: "piece"; upload: number }
  | { do: "sealed"; upload: number }
  | { do: "chunks"; upload: number; put: number; first: number }
  | { do: "unreadable"; upload: number }
  | { do: "drop"; upload: number }
  | { do: "release"; share: string }
  | { do: "pair"; text: string; name: string }
  | { do: "pair_no_more" }
  | { do: "ask_wake" }
  | { do: "wake"; endpoint?: string; key?: string; auth?: string }
  | { do: "end_visitors" };

export interface PeerJson {
  id: string;
  name: string;
  online: boolean;
  web: boolean;
  last_seen_ms: number;
}

export type LetterEvent = {
  on: "letter";
  seq: number;
  from: string;
  id: string;
  taken_ms: number;
  made_ms: number;
  receipt: boolean;
  number?: number;
  letter: LetterJson;
};

export type Need = { on: "need"; upload: number; file: number; offset: number; length: number };
export type Take = { on: "take"; upload: number; put: number; first: number; lengths: number[]; parts: [file: number, offset: number, length: number][] };

export type DeviceEvent =
  | { on: "state"; state: "connecting" | "online" | "offline" | "removed"; code?: string; retry_ms: number }
  | { on: "link"; kind: "inbox" | "ask"; host: string; name: string; number: number; ask?: AskJson; multiple: boolean }
  | { on: "no_link"; code: string }
  | { on: "devices"; devices: PeerJson[] }
  | { on: "visiting"; origin?: string; seconds: number; bytes: number; online: boolean }
  | { on: "asking"; link: string; seconds: number }
  | { on: "asking_ended" }
  | LetterEvent
  | { on: "sent"; id: string }
  | { on: "unsent"; id: string; code: string; retry_ms: number }
  | Need
  | { on: "cuts"; upload: number; lengths: number[] }
  | { on: "records"; upload: number; first: number }
  | { on: "prepared"; upload: number; share: string; name: string; files: number; bytes: number }
  | Take
  | { on: "progress"; upload: number; stage: "preparing" | "uploading"; done: number; bytes: number }
  | { on: "uploaded"; upload: number; ticket: string }
  | { on: "upload_failed"; upload: number; code: string; message: string; retry_ms: number }
  | { on: "upload_waits"; upload: number; retry_ms: number }
  | { on: "pair_words"; words: string[] }
  | { on: "paired"; name: string; invitation: string }
  | { on: "pair_failed"; code: string; message: string }
  | { on: "wake_ways"; push: boolean; set: boolean }
  | { on: "wake_kept" }
  | { on: "wake_failed"; code: string };

export const NOTHING: Uint8Array<ArrayBuffer> = new Uint8Array(0);

export function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
