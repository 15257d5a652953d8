/** The sources of the bytes. */
import { useEffect, useState } from "preact/hooks";
import type { OpenShare } from "../core/api.ts";
import { useWords } from "../i18n/index.ts";
import { Row } from "../ui-kit/components.tsx";
import { link_words } from "./words.ts";

export function Sources({ share }: { share: OpenShare }) {
  const { t, format } = useWords(link_words);
  const [, tick] = useState(0);
  useEffect(() => {
    const again = () => tick((n) => n + 1);
    const stop = share.onchange(again);
    const timer = setInterval(again, 1_000);
    return () => {
      stop();
      clearInterval(timer);
    };
  }, [share]);
  const sources = share.sources();
  return (
    <details class="card sources">
      <summary>{t("sources", { n: sources.length })}</summary>
      {sources.length === 0 && <p class="padded muted">{t("no_sources")}</p>}
      <ul class="rows">
        {sources.map((source) => (
          <Row
            key={`${source.kind} ${source.id}`}
            icon={source.kind === "store" ? "store" : "device"}
            title={t(`source_${source.kind}`, { id: source.id.slice(-8) })}
            detail={
              <span class="numeric">
                {t(`source_${source.state}`)} · {format.size(source.bytes)}
                {source.state === "open" && source.rate > 0 ? ` · ${format.rate(source.rate)}` : ""}
              </span>
            }
          />
        ))}
      </ul>
    </details>
  );
}
