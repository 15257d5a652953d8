/** Messages between a page and the worker of one of its parts. */

import type { FromWorker, ToWorker } from "../messages.ts";

export type Begin = { part: "device" } | { part: "visit"; link: string };

export type ToPart =
  | { kind: "begin"; begin: Begin }
  | { kind: "call"; call: number; method: string; args: unknown[] }
  | { kind: "back" }
  /** About shares that are read. */
  | { kind: "core"; message: ToWorker };

export type FromPart =
  | { kind: "begun" }
  | { kind: "view"; view: unknown }
  | { kind: "done"; call: number; value: unknown }
  | { kind: "failed"; call: number; code: string; message: string; retry_after_ms?: number }
  | { kind: "words"; words: string[] }
  | { kind: "core"; message: FromWorker };
