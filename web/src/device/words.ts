import en from "../i18n/device.en.json";
import { lazy_words } from "../i18n/lazy.ts";

export type DeviceKey = keyof typeof en & string;

export const { words: device_words, load: load_device_words } = lazy_words(en, HITHER_DEVICE_WORDS);
