/** Shares that are read with the module of a part: what the page's side of them wants. */

import type { Driver } from "../driver.ts";
import type { ToWorker } from "../messages.ts";
import { input } from "../wire.ts";

export function hear(driver: Driver, message: ToWorker): void {
  switch (message.kind) {
    case "open":
      return driver.tell(input.open(message.share, message.ticket));
    case "read":
      return driver.tell(input.read(message.share, message.reading, message.entry, message.offset));
    case "taken":
      return driver.tell(input.taken(message.share, message.reading, message.bytes));
    case "read_no_more":
      return driver.tell(input.read_no_more(message.share, message.reading));
    case "close":
      return driver.tell(input.close(message.share));
    case "back":
      return driver.tell(input.back());
  }
}
