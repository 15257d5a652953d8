/** The link for an installed Hither, and for another device's camera. */
import { useWords } from "../i18n/index.ts";
import { CopyText, Dialog } from "../ui-kit/components.tsx";
import { Qr } from "../ui-kit/qr.tsx";
import { link_words } from "./words.ts";

/** `ticket` passed `parse_ticket`, so that nothing in the command is anything but letters, digits and an origin. */
export function OpenIn({ ticket, onClose }: { ticket: string; onClose: () => void }) {
  const { t } = useWords(link_words);
  const url = `${location.origin}/l#${ticket}`;
  return (
    <Dialog title={t("open_in")} onClose={onClose}>
      <p>{t("open_in_why")}</p>
      <CopyText text={`hither fetch '${url}'`} label={t("command")} />
      <h3>{t("other_device")}</h3>
      <p>{t("other_device_how")}</p>
      <Qr text={url} label={t("qr_label")} />
      <CopyText text={url} label={t("link")} />
    </Dialog>
  );
}
