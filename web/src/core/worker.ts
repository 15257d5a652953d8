/** The worker in which the core runs: it owns the module and the sockets, so that the page stays smooth. */

import { Driver, type Report } from "./driver.ts";
import { device_seed } from "./key.ts";
import { GIVEN, type FromWorker, type ToWorker } from "./messages.ts";
import { open_pipe, Warm } from "./pipe.ts";
import { input } from "./wire.ts";

/** The one relay that a page reaches: the one that served it. */
const OWN = 0;
/** Pipes that every share begins with: who has it, what the store says, and what it gives. */
const FIRST_PIPES = 3;
/** Pause before the relay is asked again who it is, milliseconds: the first, and the longest. */
const PAUSE_MS = [500, 10_000] as const;

type Said = Exclude<ToWorker, { kind: "module" }>;

interface Scope {
  postMessage(message: FromWorker, transfer?: Transferable[]): void;
  readonly name: string;
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
}

const scope = globalThis as unknown as Scope;
const origin = location.origin;
/** Opened before the core is there, which takes as long. */
const warm = new Warm(origin, FIRST_PIPES);

const driver = new Driver(
  {
    now: () => performance.now(),
    random: (bytes) => void crypto.getRandomValues(bytes),
    open_pipe: (_, events) => open_pipe(origin, events, () => warm.take()),
    get: (_, path, signal) => fetch(new URL(path, origin), { signal, credentials: "omit", cache: "no-store", referrerPolicy: "no-referrer" }),
    subtle: (crypto as Partial<Crypto>).subtle,
  },
  report,
);

function report(message: Report): void {
  if (message.kind === "bytes") scope.postMessage(message, [message.bytes.buffer]);
  else scope.postMessage(message);
}

/** Gives the relay that serves this page. It is asked again until it answers: the network may come back. */
async function relay(): Promise<string> {
  for (let pause: number = PAUSE_MS[0]; ; pause = Math.min(pause * 2, PAUSE_MS[1])) {
    try {
      const answer = await fetch(new URL("/.well-known/hither", origin), { credentials: "omit", cache: "no-store" });
      const facts: unknown = answer.ok ? await answer.json() : undefined;
      if (is_facts(facts)) return facts.relay;
    } catch {
      // The loop tries again.
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

function is_facts(facts: unknown): facts is { relay: string } {
  return typeof facts === "object" && facts !== null && "relay" in facts && typeof facts.relay === "string";
}

/** The module: the page's, which began to get it before, or one that is fetched here. */
async function module(): Promise<WebAssembly.Module> {
  return (scope.name === GIVEN ? await given : undefined) ?? fetched();
}

async function fetched(): Promise<WebAssembly.Module> {
  const answer = await fetch(HITHER_WASM_URL, HITHER_WASM_INTEGRITY ? { integrity: HITHER_WASM_INTEGRITY } : {});
  if (!answer.ok) throw new Error(`the core's module: status ${answer.status}`);
  return WebAssembly.compileStreaming(answer);
}

let give: (module: WebAssembly.Module | undefined) => void;
const given = new Promise<WebAssembly.Module | undefined>((resolve) => (give = resolve));

/** Until the relay is known, what the page says waits. */
let waiting: Said[] | undefined = [];

function hear(message: Said): void {
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

/** Something that must not happen, such as a trap in the module: the page must not wait for ever. */
function broken(error: unknown): void {
  scope.postMessage({ kind: "broken", code: "unreachable", message: error instanceof Error ? error.message : String(error) });
}

scope.onmessage = ({ data }) => {
  if (data.kind === "module") give(data.module);
  else if (waiting) waiting.push(data);
  else hear(data);
};
addEventListener("error", ({ message }) => broken(message));
addEventListener("unhandledrejection", ({ reason }) => broken(reason));

async function begin(): Promise<void> {
  const known = relay();
  await driver.start(module(), await device_seed());
  driver.tell(input.endpoint(OWN, await known));
  const heard = waiting ?? [];
  waiting = undefined;
  heard.forEach(hear);
}

begin().catch(broken);
