import type { Core } from "./api.ts";
/** Loads the core: its wasm, in a worker of its own. */
export declare function load_core(): Promise<Core>;
