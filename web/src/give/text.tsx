/** A text to send. */
import { useState } from "preact/hooks";
import { useWords } from "../i18n/index.ts";
import { Button, Field, Live } from "../ui-kit/components.tsx";
import { give_words } from "./words.ts";

/** Longest text of a letter, bytes. */
export const LONGEST = 131_072;

export function SendText({ onSend }: { onSend: (text: string) => Promise<unknown> }) {
  const { t, format } = useWords(give_words);
  const [text, set_text] = useState("");
  const [state, set_state] = useState<"" | "sending" | "sent" | "failed">("");
  const long = new TextEncoder().encode(text).length > LONGEST;
  const off = text.trim() === "" || long || state === "sending";
  const send = async () => {
    set_state("sending");
    try {
      await onSend(text);
      set_text("");
      set_state("sent");
    } catch {
      set_state("failed");
    }
  };
  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        if (!off) void send();
      }}
    >
      <Field
        label={t("text")}
        value={text}
        lines={3}
        onValue={(value) => {
          set_text(value);
          set_state("");
        }}
        error={long ? t("text_long", { size: format.size(LONGEST) }) : state === "failed" ? t("text_failed") : undefined}
      />
      <div><Button type="submit" icon="send" off={off}>{t("send_text")}</Button></div>
      <Live every={0} text={state === "sent" ? t("text_taken") : ""} />
    </form>
  );
}
