/** The means of a part in a browser: sockets, fetch, WebCrypto, and the relay that serves the page. */

import { open_pipe } from "../pipe.ts";
import type { Keep } from "./keep.ts";
import type { PartMeans } from "./link.ts";

declare const HITHER_DEVICE_WASM_URL: string;
declare const HITHER_DEVICE_WASM_INTEGRITY: string;

/** Pause before the relay is asked again who it is, milliseconds: the first, and the longest. */
const PAUSE_MS = [500, 10_000] as const;

/** `origin`: of the relay. */
export function means_of(origin: string, keep: Keep): PartMeans {
  return {
    now: () => performance.now(),
    date: () => Date.now(),
    random: (bytes) => void crypto.getRandomValues(bytes),
    open_pipe: (_, events) => open_pipe(origin, events),
    get: (_, path, signal) => fetch(new URL(path, origin), { signal, credentials: "omit", cache: "no-store", referrerPolicy: "no-referrer" }),
    subtle: (crypto as Partial<Crypto>).subtle,
    keep,
    module: module(origin),
    relay: relay(origin),
  };
}

async function module(origin: string): Promise<WebAssembly.Module> {
  const url = new URL(HITHER_DEVICE_WASM_URL, origin);
  const answer = await fetch(url, { credentials: "omit", ...(HITHER_DEVICE_WASM_INTEGRITY ? { integrity: HITHER_DEVICE_WASM_INTEGRITY } : {}) });
  if (!answer.ok) throw new Error(`the device's module: status ${answer.status}`);
  return WebAssembly.compileStreaming(answer);
}

/** Gives the relay at an origin. It is asked again until it answers: the network may come back. */
async function relay(origin: string): Promise<string> {
  for (let pause: number = PAUSE_MS[0]; ; pause = Math.min(pause * 2, PAUSE_MS[1])) {
    try {
      const answer = await fetch(new URL("/.well-known/hither", origin), { credentials: "omit", cache: "no-store" });
      const facts: unknown = answer.ok ? await answer.json() : undefined;
      if (typeof facts === "object" && facts !== null && "relay" in facts && typeof facts.relay === "string") return facts.relay;
    } catch {
      // The loop tries again.
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}
