/** The module of a part of the page, with its driver: commands in, events out. */

import { Driver, type Means, type Report } from "../driver.ts";
import { input } from "../wire.ts";
import { type Command, type DeviceEvent, hex, NOTHING } from "./commands.ts";
import type { Keep } from "./keep.ts";

/** Everything that a part of the page cannot do itself. */
export interface PartMeans extends Means {
  keep: Keep;
  /** Unix milliseconds. */
  date(): number;
  /** The module, and the id of the relay that serves the page. */
  module: WebAssembly.Module | Promise<WebAssembly.Module>;
  relay: Promise<string>;
}

export class CoreLink {
  readonly means: PartMeans;
  readonly #driver: Driver;
  /** Reports about shares that are read: for the page's side of them. */
  onreport: ((report: Report) => void) | undefined;
  device_id = "";

  constructor(means: PartMeans, onevent: (event: DeviceEvent, bytes: Uint8Array<ArrayBuffer>) => void) {
    this.means = means;
    const event = (json: string, bytes: Uint8Array<ArrayBuffer>) => onevent(JSON.parse(json) as DeviceEvent, bytes);
    this.#driver = new Driver({ ...means, event }, (report) => {
      if (report.kind === "started") this.device_id = report.device;
      this.onreport?.(report);
    });
  }

  async start(seed: Uint8Array): Promise<void> {
    await this.#driver.start(this.means.module, seed);
    this.#driver.tell(input.endpoint(0, await this.means.relay));
  }

  tell(command: Command, bytes: Uint8Array = NOTHING): void {
    this.#driver.tell(input.command(JSON.stringify(command), bytes));
  }

  /** For the page's side of shares. */
  get driver(): Driver {
    return this.#driver;
  }

  /** Fresh random bytes in hexadecimal digits. */
  random(length: number): string {
    const bytes = new Uint8Array(length);
    this.means.random(bytes);
    return hex(bytes);
  }
}
