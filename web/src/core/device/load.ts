/** The page's side of its parts: promises around messages to their workers. */

import { script_url } from "../../ui-kit/trusted.ts";
import { type Core, CoreError, type OpenShare } from "../api.ts";
import type { Asker, AskRequest, Asked, Asking, DeviceCore, GivenFile, PageDevice, Peer, Sending, Thing, Visit } from "../device-api.ts";
import { type Port, RemoteCore } from "../load.ts";
import type { FromWorker, ToWorker } from "../messages.ts";
import { AskerPart } from "./asker.ts";
import type { DeviceView } from "./device.ts";
import { MemoryKeep } from "./keep.ts";
import type { Begin, FromPart, ToPart } from "./messages.ts";
import { hear } from "./reading.ts";
import type { VisitView } from "./visit.ts";
import { means_of } from "./world.ts";

declare const HITHER_DEVICE_WORKER_URL: string;

export interface PartPort {
  postMessage(message: ToPart): void;
  onmessage: ((event: MessageEvent<FromPart>) => void) | null;
  onerror: ((event: ErrorEvent) => void) | null;
  terminate?(): void;
}

interface Call {
  resolve(value: unknown): void;
  reject(error: CoreError): void;
}

const aborted = () => new CoreError("aborted", "the page does not want it any more");

/** Rejects when the signal says so; what comes later is nobody's. */
function unless<T>(signal: AbortSignal | undefined, work: Promise<T>): Promise<T> {
  if (!signal) return work;
  if (signal.aborted) return Promise.reject(aborted());
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(aborted()), { once: true });
    work.then(resolve, reject);
  });
}

/** One part behind the port to its worker. */
class Remote<View> {
  view: View | undefined;
  readonly #port: PartPort;
  readonly #calls = new Map<number, Call>();
  readonly #listeners = new Set<() => void>();
  #next = 1;
  #broken: CoreError | undefined;
  words: ((words: string[]) => void) | undefined;
  /** Shares that are read by the same module. */
  readonly core: Promise<Core>;
  readonly #core_port: Port = { postMessage: (message: ToWorker) => this.#port.postMessage({ kind: "core", message }), onmessage: null, onerror: null };

  constructor(port: PartPort) {
    this.#port = port;
    this.core = RemoteCore.start(this.#core_port);
    // The opener of a share hears of it.
    this.core.catch(() => undefined);
    port.onmessage = ({ data }) => this.#hear(data);
    port.onerror = ({ message }) => this.#break(new CoreError("unreachable", message));
  }

  begin(begin: Begin): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#calls.set(0, { resolve: () => resolve(), reject });
      this.#port.postMessage({ kind: "begin", begin });
    });
  }

  call<T>(method: string, ...args: unknown[]): Promise<T> {
    if (this.#broken) return Promise.reject(this.#broken);
    const call = this.#next++;
    return new Promise<T>((resolve, reject) => {
      this.#calls.set(call, { resolve: (value) => resolve(value as T), reject });
      this.#port.postMessage({ kind: "call", call, method, args });
    });
  }

  /** A call of which nothing is awaited. */
  tell(method: string, ...args: unknown[]): void {
    this.call(method, ...args).catch((error: unknown) => console.error(method, error));
  }

  back(): void {
    this.#port.postMessage({ kind: "back" });
  }

  end(): void {
    this.#port.terminate?.();
    this.#break(aborted());
  }

  onchange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #hear(data: FromPart): void {
    switch (data.kind) {
      case "begun":
        return this.#settle(0, (call) => call.resolve(undefined));
      case "view":
        this.view = data.view as View;
        for (const listener of this.#listeners) listener();
        return;
      case "done":
        return this.#settle(data.call, (call) => call.resolve(data.value));
      case "failed":
        return this.#settle(data.call, (call) => call.reject(new CoreError(data.code, data.message, data.retry_after_ms)));
      case "words":
        return this.words?.(data.words);
      case "core":
        this.#core_port.onmessage?.({ data: data.message } as MessageEvent<FromWorker>);
    }
  }

  #settle(number: number, settle: (call: Call) => void): void {
    const call = this.#calls.get(number);
    this.#calls.delete(number);
    if (call) settle(call);
  }

  #break(error: CoreError): void {
    this.#broken ??= error;
    for (const number of [...this.#calls.keys()]) this.#settle(number, (call) => call.reject(error));
  }
}

class RemoteDevice implements PageDevice {
  readonly #remote: Remote<DeviceView>;

  constructor(remote: Remote<DeviceView>) {
    this.#remote = remote;
  }
  get #view(): DeviceView {
    return this.#remote.view ?? { device_id: "", state: "connecting", name: "", peers: [], sendings: [], inbox: [], asked: [], asking: [] };
  }
  get device_id() {
    return this.#view.device_id;
  }
  get state() {
    return this.#view.state;
  }
  get name() {
    return this.#view.name;
  }
  peers = (): Peer[] => this.#view.peers;
  sendings = (): Sending[] => this.#view.sendings;
  inbox = () => this.#view.inbox;
  asked = (): Asked[] => this.#view.asked;
  asking = (): Asking[] => this.#view.asking;
  get stuck() {
    return this.#view.stuck;
  }
  onchange = (listener: () => void) => this.#remote.onchange(listener);
  pair(text: string, name: string, words: (words: string[]) => void, signal?: AbortSignal): Promise<{ name: string }> {
    this.#remote.words = words;
    signal?.addEventListener("abort", () => this.#remote.tell("pair_no_more"), { once: true });
    return unless(signal, this.#remote.call("pair", text, name));
  }
  rename = (name: string) => this.#remote.call<void>("rename", name);
  async forget(): Promise<void> {
    await this.#remote.call("forget");
    // Its place is free for the device of the page that is loaded next.
    this.#remote.end();
  }
  send_text = (to: string, text: string) => this.#remote.call<Sending>("send_text", to, text);
  send_files = (to: string, files: GivenFile[]) => this.#remote.call<Sending>("send_files", to, files);
  pause = (id: string) => this.#remote.tell("pause", id);
  resume = (id: string, files?: GivenFile[]) => this.#remote.call<void>("resume", id, files);
  clear = (id: string) => this.#remote.call<void>("clear", id);
  mark_read = (id: string) => this.#remote.call<void>("mark_read", id);
  delete = (id: string) => this.#remote.call<void>("delete", id);
  file = (id: string, index: number) => this.#remote.call<Blob>("file", id, index);
  async open(ticket: string, signal?: AbortSignal): Promise<OpenShare> {
    return (await this.#remote.core).open(ticket, signal ? { signal } : {});
  }
  ask = (to: string, request: AskRequest) => this.#remote.call<Asking>("ask", to, request);
  cancel = (id: string) => this.#remote.call<void>("cancel", id);
  seen = (id: string) => this.#remote.tell("seen", id);
  answer = (id: string, files: GivenFile[]) => this.#remote.call<Sending>("answer", id, files);
  answer_text = (id: string, text: string) => this.#remote.call<void>("answer_text", id, text);
  refuse = (id: string, words?: string) => this.#remote.call<void>("refuse", id, words);
  push = () => this.#remote.call<{ key?: Uint8Array; set: boolean }>("push");
  set_push = (subscription: PushSubscriptionJSON | undefined) => this.#remote.call<void>("set_push", subscription);
}

class RemoteVisit implements Visit {
  readonly #remote: Remote<VisitView>;
  readonly #begun: VisitView;
  #closed = false;
  constructor(remote: Remote<VisitView>, begun: VisitView) {
    this.#remote = remote;
    this.#begun = begun;
  }
  get #view(): VisitView {
    return this.#remote.view ?? this.#begun;
  }
  get kind() {
    return this.#view.kind;
  }
  get host_name() {
    return this.#view.host_name;
  }
  get origin() {
    return this.#view.origin as string;
  }
  get ask() {
    return this.#view.ask as AskRequest & { multiple: boolean };
  }
  get number() {
    return this.#view.number;
  }
  get ends_ms() {
    return this.#view.ends_ms;
  }
  get bytes() {
    return this.#view.bytes;
  }
  get state() {
    return this.#closed ? "ended" : this.#view.state;
  }
  sendings = (): Sending[] => this.#view.sendings;
  onchange = (listener: () => void) => this.#remote.onchange(listener);
  name = (name: string) => this.#remote.tell("name", name);
  send_text = (text: string) => this.#remote.call<Sending>("send_text", text);
  send_files = (files: GivenFile[]) => this.#remote.call<Sending>("send_files", files);
  answer = (files: GivenFile[]) => this.#remote.call<Sending>("answer", files);
  refuse = (words?: string) => this.#remote.call<void>("refuse", words);
  pause = (id: string) => this.#remote.tell("pause", id);
  resume = (id: string, files?: GivenFile[]) => this.#remote.call<void>("resume", id, files);
  clear = (id: string) => this.#remote.call<void>("clear", id);
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#remote.tell("close");
    // The last words have a moment.
    setTimeout(() => this.#remote.end(), 1000);
  }
}

/** An asker in the page itself: a worker of another origin is not allowed to a site. */
export class LocalAsker implements Asker {
  readonly #part: AskerPart;
  readonly #core: Promise<Core>;
  #share: Promise<OpenShare> | undefined;

  constructor(part: AskerPart) {
    this.#part = part;
    const port: Port = { postMessage: (message) => hear(part.link.driver, message), onmessage: null, onerror: null };
    // A report must not be heard while the module is still at it.
    part.link.onreport = (report) => queueMicrotask(() => port.onmessage?.({ data: report } as MessageEvent<FromWorker>));
    this.#core = RemoteCore.start(port);
  }
  get link() {
    return this.#part.view().link;
  }
  get number() {
    return this.#part.view().number as number;
  }
  get state() {
    return this.#part.view().state;
  }
  onchange = (listener: () => void) => this.#part.onchange(listener);

  answer(): Promise<Thing[]> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const { things, failed } = this.#part.view();
        if (!things && !failed) return;
        stop();
        if (things) resolve(things);
        else reject(new CoreError(failed?.code ?? "unreachable", failed?.message ?? ""));
      };
      const stop = this.#part.onchange(look);
      look();
    });
  }

  read(index: number): ReadableStream<Uint8Array> {
    const { things, ticket } = this.#part.view();
    const thing = things?.[index];
    let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
    return new ReadableStream<Uint8Array>(
      {
        start: async () => {
          if (!thing) throw new CoreError("not_found", "there is no such thing");
          if (thing.content) {
            reader = (thing.content.stream() as ReadableStream<Uint8Array>).getReader();
            return;
          }
          if (!ticket) throw new CoreError("not_found", "the thing did not come");
          this.#share ??= this.#core.then((core) => core.open(ticket));
          const share = await this.#share;
          const entry = share.entries.find(({ kind, path, size }) => kind === "file" && path.at(-1) === thing.name && size === thing.bytes);
          if (!entry) throw new CoreError("damaged", "the share does not have what was answered");
          reader = share.read(entry).getReader();
        },
        pull: async (controller) => {
          const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
          if (done || !value) controller.close();
          else controller.enqueue(value);
        },
        cancel: () => reader?.cancel(),
      },
      { highWaterMark: 0 },
    );
  }

  close(): void {
    void this.#part.close();
  }
}

/** The browser's part: what a test stands in for. */
export interface Workers {
  worker(): PartPort;
  asker(relay: string): AskerPart;
}

const workers: Workers = {
  worker: () => new Worker(script_url(HITHER_DEVICE_WORKER_URL), { type: "module" }) as PartPort,
  asker: (relay) => new AskerPart(means_of(relay, new MemoryKeep())),
};

/** The parts of this page. */
export function load_device_core({ worker, asker }: Workers = workers): DeviceCore {
  let device: Promise<PageDevice> | undefined;
  const begin_device = async () => {
    const remote = new Remote<DeviceView>(worker());
    try {
      await remote.begin({ part: "device" });
    } catch (error) {
      remote.end();
      throw error;
    }
    come_back(remote);
    return remote;
  };
  const come_back = (remote: Remote<unknown>) => {
    const back = () => remote.back();
    addEventListener("online", back);
    addEventListener("pageshow", back);
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && back());
  };
  return {
    device() {
      device ??= begin_device().then((remote) => new RemoteDevice(remote));
      // Another tab may be closed later.
      device.catch(() => (device = undefined));
      return device;
    },
    async visit(link, signal) {
      const remote = new Remote<VisitView>(worker());
      try {
        await unless(signal, remote.begin({ part: "visit", link }));
      } catch (error) {
        remote.end();
        throw error;
      }
      come_back(remote);
      if (!remote.view) throw new CoreError("unreachable", "the visit has not begun");
      return new RemoteVisit(remote, remote.view);
    },
    async ask(request, relay) {
      const part = asker(relay);
      const local = new LocalAsker(part);
      try {
        await part.start(request);
      } catch (error) {
        local.close();
        throw error;
      }
      return local;
    },
  };
}
