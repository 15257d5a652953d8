/** Pieces of the device page. */
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Peer } from "../core/device-api.ts";
import { useWords } from "../i18n/index.ts";
import { display_name } from "../ui-kit/names.ts";
import { device_words } from "./words.ts";

export function Badge({ tone = "plain", children }: { tone?: "plain" | "good" | "info" | "warn" | "bad"; children: ComponentChildren }) {
  return <span class={`badge ${tone}`}>{children}</span>;
}

/** A text as it was written, line by line; what cannot be seen is shown. */
export function Written({ text }: { text: string }) {
  return <div class="written" dir="auto" tabIndex={0} role="group">{text.split("\n").map((line, at) => <div key={at}>{display_name(line.replace(/\r$/, "").replaceAll("\t", "    ")) || " "}</div>)}</div>;
}

/** Marks of a device: whether it is there, and whether it is a page. */
export function Marks({ peer }: { peer: Peer }) {
  const { t, format } = useWords(device_words);
  return (
    <>
      {peer.online ? <Badge tone="good">{t("online")}</Badge> : <Badge>{peer.last_seen_ms > 0 ? t("seen", { when: format.relative(peer.last_seen_ms) }) : t("never_seen")}</Badge>}
      {peer.web && <Badge tone="info">{t("web")}</Badge>}
    </>
  );
}

/** Draws anew every `ms`, for what counts down. */
export function useTick(ms: number): void {
  const [, tick] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => tick((n) => n + 1), ms);
    return () => clearInterval(timer);
  }, [ms]);
}

/** Calls `seen` when the page is before somebody: now, or when its tab is looked at again. The answer ends what it began. */
export function useLook(seen: () => (() => void) | void, about: readonly unknown[]): void {
  useEffect(() => {
    let end: (() => void) | void;
    const look = () => {
      end?.();
      end = document.visibilityState === "visible" ? seen() : undefined;
    };
    look();
    document.addEventListener("visibilitychange", look);
    return () => {
      end?.();
      document.removeEventListener("visibilitychange", look);
    };
  }, about);
}

/** An address for a blob while it is shown. */
export function useBlobUrl(blob: Blob | undefined): string | undefined {
  const [url, set_url] = useState<string>();
  useEffect(() => {
    if (!blob) return set_url(undefined);
    const at = URL.createObjectURL(blob);
    set_url(at);
    return () => URL.revokeObjectURL(at);
  }, [blob]);
  return url;
}
