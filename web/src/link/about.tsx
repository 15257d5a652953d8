/** About this page: whom it has to be trusted with, and what it leaves behind. */
import { useWords } from "../i18n/index.ts";
import { Dialog, Notice } from "../ui-kit/components.tsx";
import { link_words } from "./words.ts";

export function About({ device_id, onClose }: { device_id: string | undefined; onClose: () => void }) {
  const { t } = useWords(link_words);
  const host = location.host;
  return (
    <Dialog title={t("about")} onClose={onClose}>
      <Notice tone="warn" title={t("about_code_title", { host })} still>
        <p>{t("about_code", { host })}</p>
      </Notice>
      <h3>{t("about_encrypted_title")}</h3>
      <p>{t("about_encrypted")}</p>
      <h3>{t("about_link_title")}</h3>
      <p>{t("about_link")}</p>
      <h3>{t("about_stays_title")}</h3>
      <p>{t("about_stays")}</p>
      {device_id !== undefined && <p class="small muted">{t("about_device", { id: device_id.slice(-8) })}</p>}
    </Dialog>
  );
}
