/** Messages between a page and its worker. */

import type { Report } from "./driver.ts";

/** The name of a worker whose page gets the module for it. */
export const GIVEN = "given";

export type ToWorker =
  | { kind: "module"; module: WebAssembly.Module | undefined }
  | { kind: "open"; share: number; ticket: string }
  | { kind: "read"; share: number; reading: number; entry: number; offset: number }
  | { kind: "taken"; share: number; reading: number; bytes: number }
  | { kind: "read_no_more"; share: number; reading: number }
  | { kind: "close"; share: number }
  | { kind: "back" };

/** `broken`: the core cannot start, or has ended; nothing else follows. */
export type FromWorker = Report | { kind: "broken"; code: string; message: string };
