import en from "../i18n/link.en.json";
import { lazy_words } from "../i18n/lazy.ts";

export type LinkKey = keyof typeof en & string;

export const { words: link_words, load: load_words } = lazy_words(en, HITHER_LINK_WORDS);
