/**
 * The first script of the link's page: it starts the core's worker and gets its module while the rest of the page is
 * on its way, because these take longest.
 */

import { script_url } from "../ui-kit/trusted.ts";
import { GIVEN, type FromWorker, type ToWorker } from "./messages.ts";

/** The worker that was started, and what it said before the page heard it. */
export interface Started {
  worker: Worker;
  said: FromWorker[];
}

function start(): Started {
  const worker = new Worker(script_url(HITHER_WORKER_URL), { type: "module", name: GIVEN });
  const said: FromWorker[] = [];
  worker.onmessage = ({ data }: MessageEvent<FromWorker>) => said.push(data);
  const give = (module: WebAssembly.Module | undefined) => worker.postMessage({ kind: "module", module } satisfies ToWorker);
  // The worker tries itself where this fails, and tells what is wrong.
  WebAssembly.compileStreaming(fetch(HITHER_WASM_URL, { integrity: HITHER_WASM_INTEGRITY })).then(give, () => give(undefined));
  return { worker, said };
}

// Without a ticket there is nothing to open.
if (location.hash.length > 1) (globalThis as { hither_started?: Started }).hither_started = start();
