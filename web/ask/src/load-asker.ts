/** The core of the element, in the page that embeds it. Tests put another one in the place of this file. */
import type { DeviceCore } from "../../src/core/device-api.ts";
import { load_device_core } from "../../src/core/device/load.ts";
import { set_wasm } from "./place.ts";

export async function load_asker(wasm: string): Promise<Pick<DeviceCore, "ask">> {
  set_wasm(wasm);
  return load_device_core();
}
