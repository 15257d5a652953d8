/** A byte pipe to a relay over a WebSocket (SPEC.md, "Byte pipe"). */

import type { Pipe, PipeEvents } from "./driver.ts";

const SUBPROTOCOL = "hither.v1";
/** Time that a WebSocket may take until it is open. */
const PATIENCE_MS = 10_000;

/** The parts of a WebSocket that are used: the browser's, or one of a test. */
export interface Socket {
  readonly readyState: number;
  binaryType: string;
  onopen: ((event: never) => void) | null;
  onmessage: ((event: { data: unknown }) => void) | null;
  onerror: ((event: never) => void) | null;
  onclose: ((event: never) => void) | null;
  send(bytes: Uint8Array<ArrayBuffer>): void;
  close(code?: number): void;
}

const OPEN = 1;

function address(origin: string): string {
  const url = new URL("/hither/1/pipe", origin);
  url.protocol = url.protocol === "http:" ? "ws:" : "wss:";
  return url.href;
}

/** Sockets that are opened before anybody asks for them. */
export class Warm {
  readonly #sockets: Socket[];

  constructor(origin: string, count: number) {
    this.#sockets = Array.from({ length: count }, () => new WebSocket(address(origin), SUBPROTOCOL) as Socket);
  }

  /** One that is open or on its way, if there is one left. */
  take(): Socket | undefined {
    for (let socket = this.#sockets.shift(); socket; socket = this.#sockets.shift()) if (socket.readyState <= OPEN) return socket;
    return undefined;
  }
}

/** Opens a pipe to the relay at an origin (`https://host[:port]`); `ready` may give a socket that was opened to it before. */
export function open_pipe(origin: string, events: PipeEvents, ready: () => Socket | undefined = () => undefined): Pipe {
  const socket = ready() ?? (new WebSocket(address(origin), SUBPROTOCOL) as Socket);
  socket.binaryType = "arraybuffer";
  let open = false;
  let waiting: Uint8Array<ArrayBuffer>[] = [];
  const patience = setTimeout(() => over(), PATIENCE_MS);
  let closed = false;
  const over = () => {
    if (closed) return;
    closed = true;
    clearTimeout(patience);
    socket.onopen = socket.onmessage = socket.onerror = socket.onclose = null;
    socket.close();
    events.closed();
  };
  const opened = () => {
    if (closed) return;
    open = true;
    clearTimeout(patience);
    for (const bytes of waiting) socket.send(bytes);
    waiting = [];
    events.opened();
  };
  // Not at once: who asked for the pipe does not know it yet.
  if (socket.readyState === OPEN) queueMicrotask(opened);
  else socket.onopen = opened;
  socket.onmessage = ({ data }) => {
    if (data instanceof ArrayBuffer) events.bytes(new Uint8Array(data));
    else over();
  };
  socket.onerror = over;
  socket.onclose = over;
  return {
    send(bytes) {
      if (open && !closed) socket.send(bytes);
      else if (!closed) waiting.push(bytes);
    },
    close() {
      if (closed) return;
      closed = true;
      clearTimeout(patience);
      socket.onopen = socket.onmessage = socket.onerror = socket.onclose = null;
      socket.close(1000);
    },
  };
}
