import en from "../i18n/visit.en.json";
import { lazy_words } from "../i18n/lazy.ts";

export type VisitKey = keyof typeof en & string;

export const { words: visit_words, load: load_visit_words } = lazy_words(en, HITHER_VISIT_WORDS);
