/**
 * The address of the module, which the site chooses: pages of a relay have a constant for it, and the build puts these
 * names in its place (esbuild's "inject").
 */
export let HITHER_DEVICE_WASM_URL = "";
/** A site that wants to pin the module serves it itself. */
export const HITHER_DEVICE_WASM_INTEGRITY = "";

export function set_wasm(url: string): void {
  HITHER_DEVICE_WASM_URL = url;
}
