import en from "../i18n/link.en.json";
import type { Catalogues, Language, Text } from "../i18n/index.ts";

export type LinkKey = keyof typeof en & string;
type Words = Readonly<Record<LinkKey, Text>>;

/** English is in the page; another language is fetched by who reads it, and is English until then. */
const catalogues: Record<Language, Words> = { en, de: en, zh: en };
export const link_words: Catalogues<LinkKey> = catalogues;

/** Brings a language. Without a network it stays English: the page works in words that are there. */
export async function load_words(language: Language): Promise<void> {
  const file = language === "en" ? undefined : HITHER_LINK_WORDS[language];
  if (!file || catalogues[language] !== en) return;
  try {
    const answer = await fetch(file.url, { integrity: file.integrity });
    if (answer.ok) catalogues[language] = (await answer.json()) as Words;
  } catch {
    // The file is away, or not what was built.
  }
}
