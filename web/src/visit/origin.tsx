/** The site that asks, as the relay saw it: large, whole, and in letters that have no doubles. */
import { useWords } from "../i18n/index.ts";
import { Notice } from "../ui-kit/components.tsx";
import { display_name } from "../ui-kit/names.ts";
import { visit_words } from "./words.ts";

export interface SiteName {
  /** Host, and port where it is unusual; in ASCII, so that letters of other scripts imitate nothing. */
  host: string;
  scheme: string;
  /** Some label is the technical form of letters of other scripts. */
  encoded: boolean;
  /** It is no origin of a site at all. */
  wrong: boolean;
}

export function site_name(origin: string): SiteName {
  try {
    const url = new URL(origin);
    // An origin is a scheme and a host: whatever has more does not come from a relay that keeps its word.
    const whole = url.username === "" && url.password === "" && url.search === "" && url.hash === "" && url.pathname === "/";
    if ((url.protocol === "https:" || url.protocol === "http:") && whole && /^[\x21-\x7e]+$/.test(url.host)) {
      return { host: url.host, scheme: url.protocol.slice(0, -1), encoded: url.hostname.split(".").some((label) => label.startsWith("xn--")), wrong: false };
    }
  } catch {
    // It is no address.
  }
  return { host: display_name(origin), scheme: "", encoded: false, wrong: true };
}

export function Origin({ origin }: { origin: string }) {
  const { t } = useWords(visit_words);
  const { host, scheme, encoded, wrong } = site_name(origin);
  return (
    <div class="origin">
      <p class="origin-label" id="origin-label">{t("site")}</p>
      <p class="origin-host" aria-labelledby="origin-label" role="group"><bdi dir="ltr">{host}</bdi></p>
      {scheme === "http" && <Notice tone="bad" still>{t("site_http")}</Notice>}
      {encoded && <Notice tone="warn" still>{t("site_encoded")}</Notice>}
      {wrong && <Notice tone="bad" still>{t("site_wrong")}</Notice>}
    </div>
  );
}
