/** The words of the element, in the language of the part of the page that it is in. */
import de from "../../src/i18n/ask.de.json";
import en from "../../src/i18n/ask.en.json";
import zh from "../../src/i18n/ask.zh.json";
import { choose_language, words, type Words } from "../../src/i18n/words.ts";
import { display_name } from "../../src/ui-kit/names.ts";
import type { Digest } from "./given.ts";

export type AskKey = keyof typeof en & string;

export interface AskWords extends Words<AskKey> {
  /** Gives names and size of the things on one line. */
  title(files: readonly File[], digest: string): string;
}

function named(digest: string): { name: string; size: number }[] {
  try {
    const value = JSON.parse(digest) as Digest | Digest[];
    return Array.isArray(value) ? value : [value];
  } catch {
    return [];
  }
}

/** `lang`: the nearest one in the page; without one the browser's languages count. */
export function words_of(lang: string): AskWords {
  const [language, locale] = choose_language(lang === "" ? navigator.languages : [lang, ...navigator.languages]);
  const found = words(language, locale, { en, de, zh });
  return {
    ...found,
    title(files, digest) {
      const things = digest === "" ? files : named(digest);
      const [first] = things;
      if (!first) return found.t("nothing");
      const size = found.format.size(things.reduce((sum, one) => sum + one.size, 0));
      return things.length === 1 ? `${display_name(first.name)} (${size})` : found.t("several", { n: things.length, size });
    },
  };
}
