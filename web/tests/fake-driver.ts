/** A module of a part that does nothing by itself, for tests in node: `means.module` hears its commands and says its events. */
import type { Means, Report } from "../src/core/driver.ts";
import type { Input } from "../src/core/wire.ts";

/** The stand-in of a test for a module. */
export interface FakeModule {
  /** Commands that the part has given, with the bytes behind them. */
  said: { command: Record<string, unknown>; bytes: Uint8Array }[];
  onsaid?: (command: Record<string, unknown>) => void;
  /** Set by the driver: an event of the module. */
  event?: (event: object, bytes?: Uint8Array<ArrayBuffer>) => void;
}

/** The input that is a command: its length, JSON, and bytes. */
const COMMAND = 64;

export class Driver {
  readonly #report: (report: Report) => void;
  readonly #event: Means["event"];
  #module: FakeModule | undefined;

  constructor(means: Means, report: (report: Report) => void) {
    this.#event = means.event;
    this.#report = report;
  }

  async start(module: FakeModule): Promise<void> {
    this.#module = module;
    module.event = (event, bytes = new Uint8Array(0)) => this.#event?.(JSON.stringify(event), bytes);
    this.#report({ kind: "started", device: "page" });
  }

  tell(message: Input): void {
    const buffer = new Uint8Array(message.length);
    message.write(buffer);
    if (buffer[0] !== COMMAND) return;
    const end = 5 + new DataView(buffer.buffer).getUint32(1, true);
    const command = JSON.parse(new TextDecoder().decode(buffer.subarray(5, end))) as Record<string, unknown>;
    this.#module?.said.push({ command, bytes: buffer.slice(end) });
    this.#module?.onsaid?.(command);
  }
}
