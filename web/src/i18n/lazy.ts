/** Catalogues of which English is in the page: another language is fetched by who reads it, and is English until then. */
import type { Catalogues, Language, Text } from "./index.ts";

export interface LazyWords<K extends string> {
  words: Catalogues<K>;
  /** Brings a language. Without a network it stays English: the page works in words that are there. */
  load(language: Language): Promise<void>;
}

export function lazy_words<K extends string>(en: Readonly<Record<K, Text>>, files: Readonly<Record<string, { url: string; integrity: string }>>): LazyWords<K> {
  const words: Record<Language, Readonly<Record<K, Text>>> = { en, de: en, zh: en };
  return {
    words,
    async load(language) {
      const file = language === "en" ? undefined : files[language];
      if (!file || words[language] !== en) return;
      try {
        const answer = await fetch(file.url, { integrity: file.integrity });
        if (answer.ok) words[language] = (await answer.json()) as Readonly<Record<K, Text>>;
      } catch {
        // The file is away, or not what was built.
      }
    },
  };
}
