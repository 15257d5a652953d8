/** The pieces that all pages are made of. Text from outside goes through `<Name>` or `display_name`. */
import { type ComponentChildren, type Ref } from "preact";
import { useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { LANGUAGES, useLanguage, useWords, type Language } from "../i18n/index.ts";
import { kit } from "../i18n/kit.ts";
import { Icon, Mark, type IconName } from "./icons.tsx";
import { display_name } from "./names.ts";

/** A name from outside, as text, kept apart from the direction of the text around it. */
export function Name({ text }: { text: string }) {
  return <bdi class="name">{display_name(text)}</bdi>;
}

/** Short facts after another; lines break between them, not inside, where there is room. */
export function Parts({ of }: { of: readonly string[] }) {
  const shown = of.filter((part) => part !== "");
  return (
    <span class="parts">
      <span>
        {shown.map((part, at) => (
          <span class="part" key={at}>{part} </span>
        ))}
      </span>
    </span>
  );
}

interface ButtonProps {
  kind?: "plain" | "primary" | "danger" | "quiet";
  icon?: IconName;
  /** The button's purpose, for buttons that show an icon only. */
  label?: string;
  /** Keeps the button focusable and says that it does nothing now. */
  off?: boolean;
  type?: "button" | "submit";
  class?: string;
  onClick?: (event: MouseEvent) => void;
  children?: ComponentChildren;
  pressed?: boolean;
  expanded?: boolean;
  describedby?: string;
  buttonRef?: Ref<HTMLButtonElement>;
}

export function Button(props: ButtonProps) {
  const { kind = "plain", icon, label, off = false, type = "button", onClick, children } = props;
  const shape = children === undefined ? " only-icon" : "";
  return (
    <button
      ref={props.buttonRef}
      type={type}
      class={`button ${kind}${shape}${props.class ? ` ${props.class}` : ""}`}
      aria-label={label}
      title={children === undefined ? label : undefined}
      aria-disabled={off ? "true" : undefined}
      aria-pressed={props.pressed}
      aria-expanded={props.expanded}
      aria-describedby={props.describedby}
      onClick={(event) => {
        if (off) event.preventDefault();
        else onClick?.(event);
      }}
    >
      {icon && <Icon name={icon} />}
      {children !== undefined && <span>{children}</span>}
    </button>
  );
}

/** A link that looks like a button. */
export function ButtonLink(props: { href: string; icon?: IconName; primary?: boolean; download?: boolean; children: ComponentChildren }) {
  return (
    <a class={`button ${props.primary ? "primary" : "plain"}`} href={props.href} download={props.download ? "" : undefined}>
      {props.icon && <Icon name={props.icon} />}
      <span>{props.children}</span>
    </a>
  );
}

interface RowProps {
  icon?: IconName;
  title: ComponentChildren;
  detail?: ComponentChildren;
  /** Called when the row is opened; without it the row is not a button. */
  onOpen?: () => void;
  href?: string;
  before?: ComponentChildren;
  after?: ComponentChildren;
  chosen?: boolean;
  rowRef?: Ref<HTMLLIElement>;
  describedby?: string;
}

/** A row of a list: put it into `<ul class="rows">`. */
export function Row({ icon, title, detail, onOpen, href, before, after, chosen, rowRef, describedby }: RowProps) {
  const inside = (
    <>
      {icon && <Icon name={icon} />}
      <span class="row-text">
        <span class="row-title">{title}</span>
        {detail !== undefined && <span class="row-detail">{detail}</span>}
      </span>
    </>
  );
  return (
    <li class={chosen ? "row chosen" : "row"} ref={rowRef}>
      {before}
      {onOpen ? (
        <button type="button" class="row-main" onClick={onOpen} aria-describedby={describedby}>{inside}</button>
      ) : href !== undefined ? (
        <a class="row-main" href={href}>{inside}</a>
      ) : (
        <div class="row-main">{inside}</div>
      )}
      {after}
    </li>
  );
}

/** A bar with its words. `value` is a part from 0 to 1, or undefined while the end is not known. */
export function Progress({ value, label, words }: { value: number | undefined; label: string; words?: ComponentChildren }) {
  const { format } = useWords(kit);
  const part = value === undefined ? undefined : Math.min(1, Math.max(0, value));
  return (
    <div class={part === undefined ? "progress unknown" : "progress"}>
      <div
        class="progress-bar"
        role="progressbar"
        aria-label={label}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={part === undefined ? undefined : Math.floor(part * 100)}
        aria-valuetext={part === undefined ? undefined : format.percent(Math.floor(part * 100) / 100)}
      >
        <span style={part === undefined ? undefined : { inlineSize: `${part * 100}%` }} />
      </div>
      {words !== undefined && <div class="small muted numeric">{words}</div>}
    </div>
  );
}

/** Pause between readings of progress, in ms: often enough to know that it goes on, seldom enough to hear other things. */
const SPOKEN_EVERY = 10_000;

/** Reads `text` to screen readers, politely, and not more often than `every` ms (0: each change). */
export function Live({ text, every = SPOKEN_EVERY }: { text: string; every?: number }) {
  const [said, say] = useState(text);
  const last = useRef(0);
  useEffect(() => {
    const wait = Math.max(0, last.current + every - Date.now());
    const timer = setTimeout(() => {
      last.current = Date.now();
      say(text);
    }, wait);
    return () => clearTimeout(timer);
  }, [text, every]);
  return <div class="for-readers" aria-live="polite" role="status">{said}</div>;
}

export function Spinner({ label }: { label: string }) {
  return (
    <div class="cluster" role="status">
      <span class="spinner" aria-hidden="true" />
      <span>{label}</span>
    </div>
  );
}

const TONES = { info: "info", good: "check", warn: "warning", bad: "warning" } as const;

/** Something to know. What is bad interrupts a screen reader, the rest waits. */
export function Notice({ tone = "info", title, children, still }: { tone?: keyof typeof TONES; title?: ComponentChildren; children?: ComponentChildren; /** It was there from the start: nothing to announce. */ still?: boolean }) {
  return (
    <div class={`notice ${tone}`} role={still ? undefined : tone === "bad" ? "alert" : "status"}>
      <Icon name={TONES[tone]} />
      <div>
        {title !== undefined && <strong>{title}</strong>}
        {children}
      </div>
    </div>
  );
}

/** A modal dialog: the rest of the page is out of reach, Escape closes, the focus returns. */
export function Dialog({ title, onClose, children, foot, wide }: { title: ComponentChildren; onClose: () => void; children: ComponentChildren; foot?: ComponentChildren; wide?: boolean }) {
  const { t } = useWords(kit);
  const ref = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useEffect(() => {
    const before = document.activeElement;
    const dialog = ref.current;
    dialog?.showModal();
    return () => {
      dialog?.close();
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={ref}
      class={wide ? "dialog wide" : "dialog"}
      aria-labelledby={heading}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => {
        if (event.target === event.currentTarget) onClose();
      }}
    >
      <div class="dialog-head">
        <h2 id={heading} tabIndex={-1} autofocus>{title}</h2>
        <Button kind="quiet" icon="close" label={t("close")} onClick={onClose} />
      </div>
      <div class="dialog-body">{children}</div>
      {foot !== undefined && <div class="dialog-foot">{foot}</div>}
    </dialog>
  );
}

/** Asks before something that cannot be undone. */
export function Confirm({ title, children, action, danger, onDo, onClose }: { title: ComponentChildren; children: ComponentChildren; action: string; danger?: boolean; onDo: () => void; onClose: () => void }) {
  const { t } = useWords(kit);
  return (
    <Dialog
      title={title}
      onClose={onClose}
      foot={
        <>
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button kind={danger ? "danger" : "primary"} onClick={onDo}>{action}</Button>
        </>
      }
    >
      {children}
    </Dialog>
  );
}

interface FieldProps {
  type?: "text" | "search" | "number" | "password" | "url";
  placeholder?: string;
  required?: boolean;
  /** An `id` of a `<datalist>` with proposals. */
  list?: string;
  maxLength?: number;
  onKeyDown?: (event: KeyboardEvent) => void;
  label: string;
  hint?: string;
  error?: string | undefined;
  value: string;
  onValue: (value: string) => void;
  /** A text of several lines, with this many shown. */
  lines?: number;
  inputRef?: Ref<HTMLInputElement>;
  /** The label is for screen readers only: the place explains itself. */
  plain?: boolean;
}

/** One line or several of text, with its label, a hint and what is wrong with it. */
export function Field({ label, hint, error, value, onValue, lines, inputRef, plain, type = "text", ...rest }: FieldProps) {
  const id = useId();
  const about = [hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ") || undefined;
  const common = { id, class: "input", value, "aria-describedby": about, "aria-invalid": error ? ("true" as const) : undefined };
  return (
    <div class="field">
      <label for={id} class={plain ? "for-readers" : undefined}>{label}</label>
      {lines === undefined ? (
        <input {...rest} {...common} type={type as "text"} autocomplete="off" spellcheck={false} ref={inputRef} onInput={(event) => onValue(event.currentTarget.value)} />
      ) : (
        <textarea {...rest} {...common} rows={lines} onInput={(event) => onValue(event.currentTarget.value)} />
      )}
      {hint && <span class="hint" id={`${id}-hint`}>{hint}</span>}
      {error && <span class="error" id={`${id}-error`} role="alert">{error}</span>}
    </div>
  );
}

/** A box to tick. Without `shown` the label is for screen readers only. */
export function Check({ label, shown, on, some, onChange, describedby }: { label: string; shown?: ComponentChildren; on: boolean; some?: boolean; onChange: (on: boolean) => void; describedby?: string }) {
  const ref = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (ref.current) ref.current.indeterminate = Boolean(some) && !on;
  }, [some, on]);
  return (
    <label class={shown === undefined ? "check" : "check labelled"}>
      <input ref={ref} type="checkbox" checked={on} aria-label={shown === undefined ? label : undefined} aria-describedby={describedby} onChange={(event) => onChange(event.currentTarget.checked)} />
      {shown !== undefined && <span>{shown}</span>}
    </label>
  );
}

/** Copies text; on pages without a clipboard (plain HTTP) by the old command. Says whether it worked. */
export async function copy_text(text: string): Promise<boolean> {
  try {
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(text);
      return true;
    }
  } catch {
    // The browser refuses: the old way may work.
  }
  const area = document.createElement("textarea");
  area.value = text;
  area.readOnly = true;
  area.className = "for-readers";
  // Inside an open dialog everything else is inert and cannot be selected.
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}

/** A text and a button that copies it. */
export function CopyText({ text, label }: { text: string; label: string }) {
  const { t } = useWords(kit);
  const [state, set_state] = useState<"" | "copied" | "not_copied">("");
  return (
    <div class="copy">
      <code tabIndex={0} role="group" aria-label={label}>{text}</code>
      <Button
        icon={state === "copied" ? "check" : "copy"}
        onClick={() => void copy_text(text).then((done) => set_state(done ? "copied" : "not_copied"))}
      >
        {state === "copied" ? t("copied") : t("copy")}
      </Button>
      <Live every={0} text={state === "" ? "" : t(state)} />
    </div>
  );
}

/** The menu of languages. */
export function LanguageMenu() {
  const { language, change } = useLanguage();
  const { t } = useWords(kit);
  return (
    <select class="select" aria-label={t("language")} value={language} onChange={(event) => change(event.currentTarget.value as Language)}>
      {LANGUAGES.map(([code, name]) => (
        <option key={code} value={code} lang={code}>{name}</option>
      ))}
    </select>
  );
}

/** The frame of a page: skip link, header with the brand and languages, main, footer. */
export function Page({ children, foot, aside }: { children: ComponentChildren; foot?: ComponentChildren; /** Beside the languages. */ aside?: ComponentChildren }) {
  const { t } = useWords(kit);
  return (
    <div class="page">
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          // The fragment of a link page is its ticket and stays.
          event.preventDefault();
          document.getElementById("main")?.focus();
        }}
      >
        {t("skip")}
      </a>
      <header>
        <span class="brand"><Mark />Hither</span>
        <span class="cluster">{aside}<LanguageMenu /></span>
      </header>
      <main id="main" tabIndex={-1}>{children}</main>
      {foot !== undefined && <footer>{foot}</footer>}
    </div>
  );
}

/** For a row of a list: when it goes while the focus is in it, the next row has the focus, or else the one before, or the page. */
export function useFocusHeir(): Ref<HTMLLIElement> {
  const ref = useRef<HTMLLIElement>(null);
  useLayoutEffect(() => {
    const row = ref.current;
    return () => {
      if (!row?.contains(document.activeElement)) return;
      const heir = row.nextElementSibling ?? row.previousElementSibling;
      (heir?.querySelector<HTMLElement>("button, a[href]") ?? document.getElementById("main"))?.focus();
    };
  }, []);
  return ref;
}

/** Sets the title of the document. */
export function useTitle(title: string): void {
  useEffect(() => {
    document.title = title;
  }, [title]);
}

/** Moves the focus to the heading of a screen when `screen` changes, not when the page is opened. */
export function useHeadingFocus(screen: string): Ref<HTMLHeadingElement> {
  const ref = useRef<HTMLHeadingElement>(null);
  const before = useRef(screen);
  useEffect(() => {
    if (before.current === screen) return;
    before.current = screen;
    ref.current?.focus();
  }, [screen]);
  return ref;
}
