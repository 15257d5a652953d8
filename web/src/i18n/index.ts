/** The language of a page: chosen, kept, and given to what is drawn. */
import { createContext } from "preact";
import { useContext, useEffect, useState } from "preact/hooks";
import { choose_language, is_language, words, type Catalogues, type Language, type Words } from "./words.ts";

export * from "./words.ts";

const KEPT = "hither.language";

function kept_language(): string | null {
  try {
    return localStorage.getItem(KEPT);
  } catch {
    return null; // Storage is forbidden: the choice lasts as long as the page.
  }
}

/** Forgets the choice: the next page speaks the browser's language. */
export function forget_language(): void {
  try {
    localStorage.removeItem(KEPT);
  } catch {
    // Storage is forbidden: nothing was kept.
  }
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
