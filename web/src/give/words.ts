import en from "../i18n/give.en.json";
import { lazy_words } from "../i18n/lazy.ts";

export type GiveKey = keyof typeof en & string;

/** Words for choosing, sending and answering, which the device page and the page of visitors have both. */
export const { words: give_words, load: load_give_words } = lazy_words(en, HITHER_GIVE_WORDS);
