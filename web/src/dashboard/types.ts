/** The objects of the local API (docs/scripting.md, `GET /v1/openapi.json`) as the dashboard reads them. Times are Unix seconds. */

export type SourceKind = "lan" | "direct" | "relayed" | "store" | "local";
export type Phase =
  | "reading" | "connecting" | "offered" | "comparing" | "fetching" | "writing"
  | "uploading" | "waiting" | "following" | "paused" | "done" | "failed";
export type Existing = "fail" | "overwrite" | "rename" | "skip";

export interface Link { device: string; name: string; carrier: string; relay?: string; address: string; rtt_ms: number }
export interface Relay {
  relay: string; url: string; host: string; state: "connected" | "connecting" | "waiting"; joined: number; devices: number;
  carrier?: string; rtt_ms?: number; reason?: string; hint?: string; lasting?: boolean; retry_seconds?: number;
}
export interface Status {
  version: string; device: string; short: string; name: string; pid: number; uptime: number; udp_port?: number; tcp_port?: number;
  home: string; shares: number; uploads: number; transfers: number; giving: number; nearby: number; links: Link[]; relays: Relay[];
  unread: number; outgoing: number;
  world: { metered?: boolean; battery?: { percent: number; discharging: boolean }; reluctant: boolean };
  limits: { upload?: number; download?: number; lan: boolean; schedule?: string; devices?: string[] };
  losses?: string[]; warnings: string[];
}
export interface Finding { check: string; level: "ok" | "warning" | "problem"; message: string; hint: string }

export interface Device {
  device: string; short: string; name: string; calls_itself?: string; words: string; relation: "own" | "known" | "member" | "nearby";
  /** It is a page in a browser. */
  web?: boolean;
  this: boolean; online: boolean; last_seen?: number; same_network: boolean; groups?: string[]; relays: string[]; addresses: string[]; as_of?: number;
}
export interface Introduction {
  device: string; short: string; name: string; words: string; kind: "text" | "files" | "share" | "request" | "unknown";
  summary: string; files: number; bytes: number; waiting_seconds: number;
}
export interface Nearby { visible: "everybody" | "known" | "nobody"; left_seconds?: number; words: string; introductions: Introduction[] }
export interface Removed { device: string; name: string; relays: string[]; waiting?: string[]; told: number }

export interface Follow {
  transfer: string; state: "up_to_date" | "behind" | "waiting" | "paused" | "target_missing" | "failed";
  version?: number; newest: number; waiting_for?: string; conflicts: number; reason?: string;
}
export interface SourceBytes { device: string; name: string; kind: SourceKind; bytes: number; cost?: number }
export interface Names { renamed?: { path: string; written: string }[]; renamed_total?: number; skipped?: string[]; skipped_total?: number }
export interface Transfer {
  transfer: string; share: string; name: string; path: string; phase: Phase; bytes: number; total: number; rate: number; devices: number;
  started: number; ended?: number; seconds?: number; reason?: string; follow?: Follow; sources: SourceBytes[]; names?: Names;
}
export interface ViewSource {
  device: string; name: string; kind: SourceKind; open: boolean; bytes: number; rate: number; in_flight: number;
  rtt_ms?: number; price?: number; cost?: number; faults: number;
}
export type CellState = "missing" | "in_flight" | "earlier" | "local" | "source";
export interface MapRun { cells: number; state: CellState; source?: number }
export interface SpanMap { cells: number; runs: MapRun[] }
export interface View { transfer: Transfer; remaining?: number; history: number[]; sources: ViewSource[]; map?: SpanMap }
export interface Giving {
  direction: "giving"; share: string; name: string; device: string; device_name: string; kind: SourceKind; open: boolean; given: number;
  giving_rate: number; version: number; bytes: number; total: number; rate: number; remaining?: number; complete: boolean; times: number;
  since: number; done?: number;
}
export interface Offer {
  event: "offer"; transfer: string; share: string; name: string; single_file: boolean; files: number; bytes: number; path: string; owner: string;
  head: string; agreed: boolean; exists?: { taken: number; of: number };
}

export interface Upload { state: "off" | "waiting" | "uploading" | "uploaded"; bytes: number; total: number; version?: number; relay?: string; words: string }
export interface LeftOut { path: string; reason: string }
export interface Share {
  share: string; name: string; path: string; more_paths?: string[]; mine: boolean; owner: string; version: number; files: number; bytes: number;
  chunks: number; held: number; published: number; expires?: number; group?: string; watched: boolean; once?: boolean; piped?: boolean;
  exclude?: string[]; state: "whole" | "changed" | "gone" | "unreadable" | "moved"; trouble?: string; left_out?: LeftOut[]; left_out_total?: number;
  unportable?: LeftOut[]; unportable_total?: number; follow?: Follow; upload?: Upload;
}
export interface Listed {
  device: string; device_name: string; share: string; name: string; version: number; files: number; bytes: number; published: number;
  group?: string; expires?: number;
}

export interface Ticket { ticket: string; name: string; files: number; bytes: number }
export interface Arrival { state: "asked" | "arriving" | "arrived" | "by_hand"; paths?: string[]; reason?: string }
/** Somebody without a device, who sent something by a link. Anybody may choose any name. */
export interface Visitor { name: string; link: number; link_name: string }
/** A link by which browsers send to this device: a secret, empty when it has ended. */
export interface InboxLink {
  id: number; link: string; name: string; relay: string; left_seconds: number; max: number; visitors: number; told: boolean; reason?: string;
}
export interface Message {
  visitor?: Visitor;
  id: number; message: string; from: string; name: string; kind: "text" | "files" | "ticket" | "request" | "unknown"; received: number; made: number;
  read: boolean; text?: string; files?: { name: string; bytes: number }[]; share?: Ticket; arrival?: Arrival;
}
export interface Sent {
  message: string; to: string; name: string; state: "delivered" | "at_relay" | "waiting" | "failed" | "declined"; reason?: string; hint?: string;
  others?: Sent[];
}
export interface Outgoing extends Sent { id: number; kind: Message["kind"]; summary: string; made: number }

export interface Thing { name: string; media_type: string; bytes: number; made: number; thumbnail?: string }
export interface Ask {
  ask: string; device: string; name: string; kind: string; what: string; digest: boolean; reason?: string; state: string; made: number;
  left_seconds?: number; by_grant?: boolean; refusal?: string; words?: string; text?: string; things?: Thing[]; message?: string;
}
export interface Asks { received: Ask[]; sent: Ask[] }
export interface Candidate { path: string; bytes: number; made: number }
export interface Grant { grant: number; device: string; name: string; kind?: string; folder?: string; live: boolean; left_seconds?: number }

export type Policy = "open" | "allow_list" | "approval";
export interface Group {
  group: string; name: string; state: "member" | "asking" | "refused" | "removed"; role?: "admin" | "member"; policy?: Policy; allowed?: string[];
  findable: boolean; members: number; online: number; shares: number; asking: number; generation: number; relay: string; invite: string; reason?: string;
}
export interface Member {
  group: string; device: string; short: string; name: string; this: boolean; role?: "admin" | "member"; asking?: boolean; online: boolean;
  last_seen?: number; shares: { share: string; name: string; files: number; bytes: number; published: number }[];
}
export interface FoundGroup { group: string; name: string; policy: Policy; members: number; relay: string; state?: Group["state"] }

export interface ConfigKey {
  key: string; value: string; about: string; needs_restart: boolean; pending: boolean;
  /** The value that it has by itself. */
  default: string;
  source: "default" | "file" | "environment";
}
/** The names in a folder that begin as a text does. */
export interface Below { folder: string; entries: { name: string; folder: boolean }[]; more?: boolean }
/** A line of the daemon's log, as it stands in the file. */
export interface LogLine { timestamp?: string; level?: string; target?: string; fields?: Record<string, unknown>; [more: string]: unknown }
export interface ConfigChange { changed: string[]; pending: string[]; warnings?: string[] }
export type Receiving = "always" | "ask" | "never";
export interface Receive {
  folder: string; own: Receiving; known: Receiving; max?: number; hook: boolean;
  rules: { device?: string; group?: string; link?: number; name: string; policy: Receiving }[];
}

/** A page for browsers on this network. */
export interface PageInfo { page: string; urls: string[]; left_seconds: number; upload: boolean; shares: string[]; received: number }

/** Everything that the page keeps a copy of, by the name of its call below `/v1/`. */
export interface Lists {
  status: Status; doctor: Finding[]; devices: Device[]; nearby: Nearby; transfers: Transfer[]; giving: Giving[]; shares: Share[]; catalogue: Listed[];
  inbox: Message[]; outbox: Outgoing[]; asks: Asks; "asks/grants": Grant[]; groups: Group[]; config: ConfigKey[]; receive: Receive; relays: Relay[]; pages: PageInfo[];
  "inbox/links": InboxLink[];
}
export type ListName = keyof Lists;

/** An event of a stream; fields beside `event` are those of its object. */
export interface Told { event: string; [field: string]: unknown }
