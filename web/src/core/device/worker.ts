/** The worker of one part of a page: a device, or a visit. It owns the module, the sockets, the files and what is kept. */

import { CoreError } from "../api.ts";
import { input } from "../wire.ts";
import { DevicePart } from "./device.ts";
import { DatabaseKeep, type Keep, MemoryKeep, VISITS } from "./keep.ts";
import type { Begin, FromPart, ToPart } from "./messages.ts";
import { hear } from "./reading.ts";
import { ENDS, VisitPart } from "./visit.ts";
import { means_of } from "./world.ts";

interface Scope {
  postMessage(message: FromPart, transfer?: Transferable[]): void;
  onmessage: ((event: MessageEvent<ToPart>) => void) | null;
}

const scope = globalThis as unknown as Scope;
/** The methods that a page may call; everything else is no method of a part. */
const METHODS = {
  device: [
    "rename", "forget", "send_text", "send_files", "mark_read", "delete", "file", "ask", "cancel", "seen", "answer", "answer_text", "refuse", "push", "set_push",
    "pair_no_more",
  ],
  visit: ["name", "send_text", "send_files", "answer", "refuse", "close"],
  sendings: ["pause", "resume", "clear"],
} as const;

let part: DevicePart | VisitPart | undefined;
let kind: Begin["part"] = "device";

/** Time in which the page that was here before a reload must have let go, milliseconds. */
const LET_GO_MS = 1_000;

/** Keeps a lock until the worker ends; `false`: another tab has it. */
function locked(name: string): Promise<boolean> {
  const { locks } = navigator as Partial<Navigator>;
  if (!locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    const hold = () => {
      resolve(true);
      return new Promise(() => {});
    };
    locks.request(name, { signal: AbortSignal.timeout(LET_GO_MS) }, hold).catch(() => resolve(false));
  });
}

/** A name for a link in what is kept, which does not give the link away. */
async function name_of(link: string): Promise<string | undefined> {
  const { subtle } = crypto as Partial<Crypto>;
  if (!subtle) return undefined;
  const digest = new Uint8Array(await subtle.digest("SHA-256", new TextEncoder().encode(link.trim().toLowerCase())));
  return Array.from(digest.subarray(0, 12), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function keep_of(begin: Begin): Promise<Keep> {
  if (begin.part === "device") {
    // A second connection with the same key would push out the first.
    if (!(await locked("hither-device"))) throw new CoreError("elsewhere", "this page is open in another tab");
    return DatabaseKeep.open("hither-device");
  }
  const name = await name_of(begin.link);
  // A second tab with the same link is another visitor.
  if (!name || !(await locked(`hither-visit-${name}`))) return new MemoryKeep();
  const keep = await DatabaseKeep.open(VISITS, `${name}/`);
  if (keep instanceof DatabaseKeep) await keep.sweep(ENDS, Date.now());
  return keep;
}

/** The relay as it was known before, so that the page begins without a network; what it is called now counts the next time. */
async function known(asked: Promise<string>, means: { keep: Keep }): Promise<string> {
  const before = await means.keep.get<string>("facts", "relay");
  const now = asked.then(async (id) => {
    if (id !== before) await means.keep.put("facts", "relay", id);
    return id;
  });
  now.catch(() => undefined);
  return before ?? now;
}

async function begin(wanted: Begin): Promise<void> {
  kind = wanted.part;
  const keep = await keep_of(wanted);
  const means = means_of(location.origin, keep);
  means.relay = known(means.relay, means);
  const made = wanted.part === "device" ? new DevicePart(means) : new VisitPart(means);
  made.link.onreport = (report) => {
    if (report.kind === "bytes") scope.postMessage({ kind: "core", message: report }, [report.bytes.buffer]);
    else scope.postMessage({ kind: "core", message: report });
  };
  const tell = () => scope.postMessage({ kind: "view", view: made.view() });
  made.onchange(tell);
  part = made;
  if (made instanceof VisitPart && wanted.part === "visit") await made.start(wanted.link);
  else if (made instanceof DevicePart) await made.start();
  tell();
  scope.postMessage({ kind: "begun" });
}

async function call(method: string, args: unknown[]): Promise<unknown> {
  if (!part) throw new CoreError("unreachable", "the part has not begun");
  if (method === "pair" && part instanceof DevicePart) {
    return part.pair(String(args[0]), String(args[1]), (words) => scope.postMessage({ kind: "words", words }));
  }
  const of_sendings = (METHODS.sendings as readonly string[]).includes(method);
  if (!of_sendings && !(METHODS[kind] as readonly string[]).includes(method)) throw new CoreError("not_found", `no method ${method}`);
  const target = (of_sendings ? part.sendings : part) as unknown as Record<string, (...args: unknown[]) => unknown>;
  return target[method]?.(...args);
}

function failure(error: unknown): { code: string; message: string; retry_after_ms?: number } {
  if (!(error instanceof CoreError)) return { code: "unreachable", message: error instanceof Error ? error.message : String(error) };
  const { code, message, retry_after_ms } = error;
  return { code, message, ...(retry_after_ms === undefined ? {} : { retry_after_ms }) };
}

scope.onmessage = ({ data }) => {
  switch (data.kind) {
    case "begin":
      begin(data.begin).catch((error: unknown) => scope.postMessage({ kind: "failed", call: 0, ...failure(error) }));
      return;
    case "call":
      call(data.method, data.args).then(
        (value) => {
          // The answer that the page awaits next has the outcome in it.
          if (part) scope.postMessage({ kind: "view", view: part.view() });
          scope.postMessage({ kind: "done", call: data.call, value });
        },
        (error: unknown) => scope.postMessage({ kind: "failed", call: data.call, ...failure(error) }),
      );
      return;
    case "back":
      part?.link.driver.tell(input.back());
      return;
    case "core":
      if (part) hear(part.link.driver, data.message);
  }
};
