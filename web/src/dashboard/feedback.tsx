/**
 * Feedback says what was done, or why not. It is drawn in a place of its own, which moves into an open dialog: everything
 * outside of that is out of reach.
 */
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { LanguageProvider, type Language } from "../i18n/index.ts";
import { Button, Icon } from "../ui-kit/index.ts";
import { useSay, type Feedback } from "./desk.tsx";
import { ProblemText } from "./parts.tsx";

/** Time that feedback stays, ms: what can be undone or went wrong until it is closed. */
const STAYS_MS = 12_000;
const MOST = 4;

interface Spoken { language: Language; locale: string; change: (language: Language) => void }

export class Feedbacks {
  list: readonly (Feedback & { id: number })[] = [];
  #place = document.createElement("div");
  #next = 1;
  #spoken: Spoken | undefined;

  /** The page's language, as it changes. */
  speak(spoken: Spoken): void {
    if (this.#spoken?.locale === spoken.locale && this.#spoken.language === spoken.language) return;
    this.#spoken = spoken;
    this.#draw();
  }

  say(feedback: Feedback): void {
    const id = this.#next++;
    this.list = [...this.list, { ...feedback, id }].slice(-MOST);
    if (!feedback.problem && !feedback.undo) setTimeout(() => this.close(id), STAYS_MS);
    this.#draw();
  }

  close(id: number): void {
    this.list = this.list.filter((one) => one.id !== id);
    this.#draw();
  }

  /** Puts the place where it can be reached. */
  settle = (): void => {
    const dialogs = [...document.querySelectorAll<HTMLDialogElement>("dialog[open]")];
    const into = dialogs[dialogs.length - 1] ?? document.body;
    if (this.#place.parentElement === into) return;
    into.append(this.#place);
    // A dialog that goes takes with it what is in it.
    if (into instanceof HTMLDialogElement) into.addEventListener("close", this.settle, { once: true });
  };

  #draw(): void {
    if (!this.#spoken) return;
    this.settle();
    render(<LanguageProvider value={this.#spoken}><List of={this} /></LanguageProvider>, this.#place);
  }
}

function List({ of }: { of: Feedbacks }) {
  const { t } = useSay();
  return (
    <div class="feedbacks" role="status" aria-live="polite" aria-label={t("feedback")}>
      {of.list.map((one) => (
        <div key={one.id} class={one.problem ? "feedback bad" : "feedback"}>
          <Icon name={one.problem ? "warning" : "check"} />
          <div class="feedback-text">{one.problem ? <ProblemText problem={one.problem} /> : <span>{one.text}</span>}</div>
          {one.undo && <Undo one={one} of={of} />}
          <Button kind="quiet" icon="close" label={t("dismiss")} onClick={() => of.close(one.id)} />
        </div>
      ))}
    </div>
  );
}

function Undo({ one, of }: { one: Feedback & { id: number }; of: Feedbacks }) {
  const { t } = useSay();
  return (
    <Button
      onClick={() => {
        of.close(one.id);
        void one.undo?.();
      }}
    >
      {t("undo")}
    </Button>
  );
}

/** Tells the place of a dialog that opens or closes. */
export function useSettled(of: Feedbacks): void {
  const [watching] = useState(() => new MutationObserver(of.settle));
  useEffect(() => {
    watching.observe(document.body, { subtree: true, attributes: true, attributeFilter: ["open"] });
    return () => watching.disconnect();
  }, []);
}
