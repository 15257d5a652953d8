import de from "./lan.de.json";
import en from "./lan.en.json";
import zh from "./lan.zh.json";
import type { Catalogues } from "./index.ts";

/** Words of the page on the local network. */
export const lan: Catalogues<keyof typeof en> = { en, de, zh };
