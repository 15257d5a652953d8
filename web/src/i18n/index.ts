/**
 * Languages. A catalogue is a flat JSON object for each language: text with `{name}` places, or an object
 * with one text per plural category (Intl.PluralRules), chosen by the parameter `n`. English has the keys;
 * tests/i18n.test.mjs checks that the others have exactly these, with the same places.
 */
import { createContext } from "preact";
import { useContext, useEffect, useState } from "preact/hooks";
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

const KEPT = "hither.language";

function kept_language(): string | null {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null; // Storage is forbidden: the choice lasts as long as the page.
  }
}

function is_language(text: string | null | undefined): text is Language {
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

type Change = (language: Language) => void;
const LanguageContext = createContext<{ language: Language; locale: string; change: Change }>({
  language: "en",
  locale: "en",
  change: () => {},
});
export const LanguageProvider = LanguageContext.Provider;

/** The language that was chosen here before, or else that of the browser, and its tag. */
export function current_language(): [Language, string] {
  const kept = kept_language();
  if (!is_language(kept)) return choose_language(navigator.languages);
  return choose_language([...navigator.languages.filter((tag) => tag.toLowerCase().split("-")[0] === kept), kept]);
}

/**
 * The page's language, for the root component, set on `<html lang>`. `prepare` brings what another language
 * needs before it is shown.
 */
export function useLanguageChoice(prepare?: (language: Language) => Promise<void>): { language: Language; locale: string; change: Change } {
  const [[language, locale], set_current] = useState(current_language);
  useEffect(() => {
    document.documentElement.lang = language === "zh" ? "zh-Hans" : language;
  }, [language]);
  return {
    language,
    locale,
    change(wanted) {
      try {
        localStorage.setItem(KEPT, wanted);
      } catch {
        // Storage is forbidden: the choice lasts as long as the page.
      }
      const [, tag] = choose_language([...navigator.languages.filter((own) => own.toLowerCase().split("-")[0] === wanted), wanted]);
      void (prepare?.(wanted) ?? Promise.resolve()).then(() => set_current([wanted, tag]));
    },
  };
}

/** The language in use and how to change it. */
export function useLanguage() {
  return useContext(LanguageContext);
}

const made = new Map<string, WeakMap<object, unknown>>();

/** Words of a catalogue in the page's language. */
export function useWords<K extends string>(catalogues: Catalogues<K>): Words<K> {
  const { language, locale } = useContext(LanguageContext);
  const key = `${language} ${locale}`;
  let by_catalogue = made.get(key);
  if (!by_catalogue) made.set(key, (by_catalogue = new WeakMap()));
  let found = by_catalogue.get(catalogues) as Words<K> | undefined;
  if (!found) by_catalogue.set(catalogues, (found = words(language, locale, catalogues)));
  return found;
}
