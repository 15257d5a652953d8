/**
 * Calls of the local API from the page. The address that `hither ui` opens has a code that is good once; for it
 * the daemon gives a session, whose secret every call carries in a header that no other site's page can set.
 */
import type { Told } from "./types.ts";

const HEADER = "X-Hither-Dashboard";
/** The session is this tab's: it outlives a reload and no more. */
const KEPT = "hither.session";
let session = "";

/**
 * A failed call, in words: `message` is a sentence, `hint` says what could be done and may be empty.
 * `code` is the API's, or "no_daemon" (nobody answers) or "signed_out" (there is no session any more).
 */
export class Problem extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly hint = "",
    readonly status = 0,
  ) {
    super(message);
  }
}

/** Calls that a daemon never refuses for another reason. */
const READABLE = /^GET (events|status|devices|nearby|transfers|giving|shares|inbox|outbox|asks|config|receive)$/;

/**
 * Takes the code of the address, if there is one, for a session; without one the session of before counts. The
 * code leaves the address bar. Whether the session is good shows at the first call.
 */
export async function sign_in(): Promise<void> {
  const code = /^#open=([\w-]+)$/.exec(location.hash)?.[1];
  try {
    session = sessionStorage.getItem(KEPT) ?? "";
  } catch {
    // Storage is forbidden: a reload needs another address.
  }
  if (code === undefined) return;
  history.replaceState(null, "", "#/devices");
  try {
    const answer = await fetch("/session", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ code }), cache: "no-store" });
    if (!answer.ok) return;
    session = ((await answer.json()) as { session: string }).session;
    sessionStorage.setItem(KEPT, session);
  } catch {
    // Nobody answers, or nothing can be kept: the first call says so.
  }
}

/** The problem of an answer that is no success. */
async function problem_of(answer: Response, path: string): Promise<Problem> {
  const said = (await answer.json().catch(() => ({}))) as { code?: string; message?: string; detail?: string; hint?: string; title?: string };
  // Reading is refused to nobody but who has no session.
  const code = answer.status === 403 && READABLE.test(path) ? "signed_out" : (said.code ?? "internal");
  return new Problem(code, said.message ?? said.detail ?? said.title ?? `${answer.status} ${answer.statusText}`, said.hint ?? "", answer.status);
}

async function ask(method: string, path: string, body: unknown, signal: AbortSignal | undefined): Promise<Response> {
  const headers = new Headers({ [HEADER]: session });
  if (body !== undefined) headers.set("Content-Type", "application/json");
  let answer: Response;
  try {
    answer = await fetch(`/v1/${path}`, {
      method,
      headers,
      body: body === undefined ? null : JSON.stringify(body),
      credentials: "omit",
      cache: "no-store",
      redirect: "error",
      signal: signal ?? null,
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem("no_daemon", "");
  }
  if (!answer.ok) throw await problem_of(answer, `${method} ${path}`);
  return answer;
}

/** One call; `path` is what follows `/v1/`. Throws a `Problem`. */
export async function call<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const answer = await ask(method, path, body, signal);
  const text = await answer.text();
  try {
    return (text === "" ? {} : JSON.parse(text)) as T;
  } catch {
    throw new Problem("internal", "", "", answer.status);
  }
}


/** Longest event that is read, characters: one with a map of 4,096 cells has 300,000. */
const MAX_EVENT = 4 << 20;

/**
 * Takes the whole events off the beginning of a text of server-sent events: gives their data, and the rest.
 * Lines end as the standard says, comments and other fields are passed over.
 */
export function split_events(text: string): { events: string[]; rest: string } {
  const events: string[] = [];
  let rest = text;
  for (;;) {
    const end = /\r\n\r\n|\n\n|\r\r/.exec(rest);
    if (!end) return { events, rest };
    const lines = rest.slice(0, end.index).split(/\r\n|\n|\r/);
    rest = rest.slice(end.index + end[0].length);
    const data = lines.filter((line) => line.startsWith("data:")).map((line) => line.slice(5).replace(/^ /, ""));
    if (data.length > 0) events.push(data.join("\n"));
  }
}

/**
 * The events that a call answers with, until it ends or `signal` aborts; leaving the loop hangs up. `opened` is
 * called when the answer begins. Throws a `Problem`, also when the connection breaks off.
 */
export async function* stream<T = Told>(method: string, path: string, body?: unknown, signal?: AbortSignal, opened?: () => void): AsyncGenerator<T, void, undefined> {
  for await (const batch of batches(method, path, body, signal, opened)) for (const event of batch) yield JSON.parse(event) as T;
}

/**
 * Hears a stream in which each event replaces the one before: `take` gets the newest, at most once in
 * `every` milliseconds, however fast they come. Ends and throws as `stream` does.
 */
export async function newest<T>(path: string, every: number, take: (value: T) => void, signal: AbortSignal): Promise<void> {
  let last: string | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const give = () => {
    timer = undefined;
    if (last === undefined || signal.aborted) return;
    const text = last;
    last = undefined;
    timer = setTimeout(give, every);
    take(JSON.parse(text) as T);
  };
  try {
    for await (const batch of batches("GET", path, undefined, signal)) {
      last = batch[batch.length - 1];
      if (timer === undefined) give();
    }
  } finally {
    clearTimeout(timer);
    timer = undefined;
    give();
    clearTimeout(timer);
  }
}

/** The texts of the events of a call, as many at a time as came together. */
async function* batches(method: string, path: string, body: unknown, signal: AbortSignal | undefined, opened?: () => void): AsyncGenerator<readonly string[], void, undefined> {
  const hang_up = new AbortController();
  const abort = () => hang_up.abort();
  signal?.addEventListener("abort", abort, { once: true });
  if (signal?.aborted) abort();
  try {
    const answer = await ask(method, path, body, hang_up.signal);
    opened?.();
    const reader = (answer.body as ReadableStream<Uint8Array>).pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
    let text = "";
    for (;;) {
      const part = await reader.read().catch((error: unknown) => {
        if (hang_up.signal.aborted) throw error;
        throw new Problem("no_daemon", "");
      });
      if (part.done) return;
      const { events, rest } = split_events(text + part.value);
      text = rest;
      if (text.length > MAX_EVENT) throw new Problem("internal", "");
      if (events.length > 0) yield events;
    }
  } finally {
    signal?.removeEventListener("abort", abort);
    abort();
  }
}

/**
 * The last event of work that ends with `done` or `error`. `told` sees each event; when it gives true, the work
 * is left to itself and the event that it was shown is the answer.
 */
export async function work(method: string, path: string, body: unknown, told: (event: Told) => boolean | void, signal?: AbortSignal): Promise<Told> {
  for await (const event of stream(method, path, body, signal)) {
    if (event.event === "error") throw new Problem(String(event["code"]), String(event["message"]), String(event["hint"] ?? ""));
    if (told(event) === true || event.event === "done") return event;
  }
  throw new Problem("interrupted", "");
}
