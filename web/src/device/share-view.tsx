/** A share that came, opened by the parts of the link page. */
import { useEffect, useState } from "preact/hooks";
import type { OpenShare } from "../core/api.ts";
import type { PageDevice } from "../core/device-api.ts";
import { useWords } from "../i18n/index.ts";
import type { ServiceLink } from "../link/save/sw-link.ts";
import { ShareScreen } from "../link/share.tsx";
import { link_words, type LinkKey } from "../link/words.ts";
import { Button, Notice, Spinner } from "../ui-kit/components.tsx";
import { go } from "./route.ts";
import { device_words } from "./words.ts";

const KNOWN = new Set(["ticket", "not_found", "gone", "unreachable", "damaged", "busy", "too_new"]);

/** The ticket of something that came, or of an answer. */
function ticket_of(device: PageDevice, id: string): string | undefined {
  const arrived = device.inbox().find((one) => one.id === id)?.share?.ticket;
  if (arrived !== undefined) return arrived;
  const answer = device.asking().find((one) => one.id === id)?.answer;
  return answer?.kind === "things" ? answer.ticket : undefined;
}

export function ShareView({ device, id, link }: { device: PageDevice; id: string; link: Promise<ServiceLink | undefined> }) {
  const { t } = useWords(device_words);
  const { t: of_link } = useWords(link_words);
  const [share, set_share] = useState<OpenShare>();
  const [code, set_code] = useState<string>();
  const [turn, set_turn] = useState(0);
  const ticket = ticket_of(device, id);
  useEffect(() => {
    if (ticket === undefined) return;
    const stop = new AbortController();
    let opened: OpenShare | undefined;
    set_code(undefined);
    device.open(ticket, stop.signal).then(
      (made) => {
        opened = made;
        if (stop.signal.aborted) made.close();
        else set_share(made);
      },
      (problem: { code?: string }) => !stop.signal.aborted && set_code(KNOWN.has(problem.code ?? "") ? problem.code : "unknown"),
    );
    return () => {
      stop.abort();
      opened?.close();
    };
  }, [ticket, turn]);
  const back = <div><Button icon="back" onClick={() => go("inbox")}>{t("tab.inbox")}</Button></div>;
  if (ticket === undefined) return <><h1>{t("tab.inbox")}</h1><Notice tone="warn" title={t("item_gone")} />{back}</>;
  if (code !== undefined) {
    return (
      <>
        <h1>{of_link(`problem_${code}_title` as LinkKey)}</h1>
        <p>{of_link(`problem_${code}` as LinkKey)}</p>
        <div class="cluster"><Button kind="primary" icon="refresh" onClick={() => set_turn(turn + 1)}>{of_link("try_again")}</Button><Button icon="back" onClick={() => go("inbox")}>{t("tab.inbox")}</Button></div>
      </>
    );
  }
  if (!share) return <><h1 class="for-readers">{of_link("opening")}</h1><Spinner label={of_link("opening")} />{back}</>;
  return <>{back}<ShareScreen key={share.id} share={share} ticket={ticket} link={link} /></>;
}
