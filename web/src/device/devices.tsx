/** The user's other devices, and what can be done with each. */
import type { PageDevice, Peer } from "../core/device-api.ts";
import { useWords } from "../i18n/index.ts";
import { Button, Name, Row } from "../ui-kit/components.tsx";
import { display_name } from "../ui-kit/names.ts";
import { Marks } from "./parts.tsx";
import { address, go } from "./route.ts";
import { device_words } from "./words.ts";

/** Devices that are there first, then by their names. */
export function in_order(peers: readonly Peer[], locale: string): Peer[] {
  return [...peers].sort((a, b) => Number(b.online) - Number(a.online) || Number(a.web) - Number(b.web) || a.name.localeCompare(b.name, locale));
}

/** The name of a device: its own words, or the end of its id. */
export function called(peer: { name: string; id: string }): string {
  return peer.name.trim() === "" ? `…${peer.id.slice(-8)}` : peer.name;
}

export function Devices({ device }: { device: PageDevice }) {
  const { t, locale } = useWords(device_words);
  const peers = in_order(device.peers(), locale);
  return (
    <>
      <p class="muted">{t("this_is")} <Name text={device.name} /></p>
      {peers.length === 0 && <p>{t("no_devices")}</p>}
      {peers.length > 0 && (
        <ul class="rows card" aria-label={t("tab.devices")}>
          {peers.map((peer) => (
            <Row
              key={peer.id}
              icon={peer.web ? "phone" : "device"}
              title={<Name text={called(peer)} />}
              detail={<span class="cluster marks"><Marks peer={peer} /></span>}
              href={address("send", peer.id)}
              after={<Button kind="quiet" icon="question" label={t("ask_name", { name: display_name(called(peer)) })} onClick={() => go("requests", peer.id)} />}
            />
          ))}
        </ul>
      )}
      <p class="small muted">{t("choose_one")}</p>
    </>
  );
}
