/** The core of devices and visits, one for a page. Tests put another one in the place of this file. */
import type { DeviceCore } from "../core/device-api.ts";
import { load_device_core } from "../core/device/load.ts";

let loaded: DeviceCore | undefined;

export async function load_device(): Promise<DeviceCore> {
  loaded ??= load_device_core();
  return loaded;
}
