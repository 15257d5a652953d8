/**
 * Languages. A catalogue is a flat JSON object for each language: text with `{name}` places, or an object
 * with one text per plural category (Intl.PluralRules), chosen by the parameter `n`. English has the keys;
 * tests/i18n.test.mjs checks that the others have exactly these, with the same places.
 */
import { formats, type Formats } from "../ui-kit/format.ts";

export type Text = string | { readonly [category: string]: string };
export type Catalogue = Readonly<Record<string, Text>>;
export type Language = "en" | "de" | "zh";
export type Places = Readonly<Record<string, string | number>>;

/** Languages by their own names, in the order of the menu. */
export const LANGUAGES: readonly (readonly [Language, string])[] = [
  ["en", "English"],
  ["de", "Deutsch"],
  ["zh", "中文"],
];

/** One part of a page's text in all languages. */
export interface Catalogues<K extends string> {
  readonly en: Readonly<Record<K, Text>>;
  readonly de: Readonly<Record<K, Text>>;
  readonly zh: Readonly<Record<K, Text>>;
}

export interface Words<K extends string> {
  language: Language;
  /** BCP 47 tag for Intl: the browser's own form of the language where it has one (de-AT, en-GB). */
  locale: string;
  t(key: K, places?: Places): string;
  format: Formats;
}

export function is_language(text: string | null | undefined): text is Language {
  return LANGUAGES.some(([known]) => known === text);
}

/** The first language of `wanted` (BCP 47 tags, most wanted first) that there is a catalogue for, and the tag. */
export function choose_language(wanted: readonly string[]): [Language, string] {
  for (const tag of wanted) {
    const base = tag.toLowerCase().split("-")[0];
    if (is_language(base)) return [base, tag];
  }
  return ["en", "en"];
}

/** The words of `catalogues` in `language`; a key that two of them have is the first one's. */
export function words<K extends string>(language: Language, locale: string, catalogues: Catalogues<K>): Words<K> {
  const plural = new Intl.PluralRules(locale);
  const format = formats(locale);
  return {
    language,
    locale,
    format,
    t(key, places = {}) {
      const text: Text = catalogues[language][key];
      const chosen = typeof text === "string" ? text : (text[plural.select(Number(places["n"] ?? 0))] ?? text["other"] ?? "");
      return chosen.replace(/\{(\w+)\}/g, (whole, name: string) => {
        const value = places[name];
        return value === undefined ? whole : typeof value === "number" ? format.number(value) : value;
      });
    },
  };
}

/** Joins the parts of a page's text. */
export function joined<A extends string, B extends string>(a: Catalogues<A>, b: Catalogues<B>): Catalogues<A | B> {
  const both = (language: Language) => ({ ...b[language], ...a[language] }) as Record<A | B, Text>;
  return { en: both("en"), de: both("de"), zh: both("zh") };
}
