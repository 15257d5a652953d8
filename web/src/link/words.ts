import de from "../i18n/link.de.json";
import en from "../i18n/link.en.json";
import zh from "../i18n/link.zh.json";
import type { Catalogues } from "../i18n/index.ts";

export const link_words: Catalogues<LinkKey> = { en, de, zh };
export type LinkKey = keyof typeof en & string;
