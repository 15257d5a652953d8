/** Small pieces that the screens share. */
import type { ComponentChildren } from "preact";
import { Button, Icon, Name, Notice, Spinner, type IconName } from "../ui-kit/index.ts";
import { Problem } from "./api.ts";
import { useDesk, useSay } from "./desk.tsx";
import type { ListName } from "./types.ts";

export type Tone = "plain" | "good" | "warn" | "bad" | "info";

export function Badge({ tone = "plain", children }: { tone?: Tone; children: ComponentChildren }) {
  return <span class={`badge ${tone}`}>{children}</span>;
}

/** A part of a screen with its heading; `actions` stand beside it. */
export function Section({ title, actions, children, id }: { title: string; actions?: ComponentChildren; children: ComponentChildren; id: string }) {
  return (
    <section aria-labelledby={`${id}-heading`} class="section">
      <div class="section-head">
        <h2 id={`${id}-heading`}>{title}</h2>
        {actions !== undefined && <div class="cluster">{actions}</div>}
      </div>
      {children}
    </section>
  );
}

/** One thing of a list, with its actions. */
export function Card({ icon, title, badges, children, actions, id }: { icon?: IconName; title: ComponentChildren; badges?: ComponentChildren; children?: ComponentChildren; actions?: ComponentChildren; id?: string }) {
  return (
    <li class="card padded thing" data-id={id}>
      <div class="thing-head">
        {icon && <Icon name={icon} />}
        <h3>{title}</h3>
        {badges}
      </div>
      {children}
      {actions !== undefined && <div class="cluster actions">{actions}</div>}
    </li>
  );
}

export function Cards({ children }: { children: ComponentChildren }) {
  return <ul class="cards">{children}</ul>;
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty muted">{children}</p>;
}

/** Names and values, such as the facts about a device. */
export function Facts({ of }: { of: readonly (readonly [string, ComponentChildren] | false | undefined)[] }) {
  return (
    <dl class="facts">
      {of.map((fact) => fact && (
        <div key={fact[0]}>
          <dt>{fact[0]}</dt>
          <dd>{fact[1]}</dd>
        </div>
      ))}
    </dl>
  );
}

/** A path, a ticket, an id: as it is, to be read letter by letter. */
export function Mono({ text }: { text: string }) {
  return <span class="mono"><Name text={text} /></span>;
}

/** Words of the daemon, which speaks English. Paragraphs stay, everything else is shown safely. */
export function Said({ text }: { text: string }) {
  if (!text.includes("\n")) return <span lang="en" dir="auto"><Name text={text} /></span>;
  return <span lang="en" dir="auto">{text.split("\n").map((line, at) => <span key={at} class="line"><Name text={line} /></span>)}</span>;
}

/** A failure as a sentence with its hint. */
export function ProblemText({ problem }: { problem: Problem }) {
  const { t } = useSay();
  const own = problem.code === "no_daemon" ? t("problem.no_daemon") : problem.code === "signed_out" ? t("problem.signed_out") : problem.code === "interrupted" ? t("problem.interrupted") : "";
  if (own) return <span>{own}</span>;
  return (
    <>
      <span>{problem.message ? <Said text={problem.message} /> : t("problem.unknown")}</span>
      {problem.hint !== "" && <span class="small"><Said text={problem.hint} /></span>}
    </>
  );
}

/** Says why some list could not be read, with a way to try again. */
export function ListProblems({ names }: { names: readonly ListName[] }) {
  const { live } = useDesk();
  const { t } = useSay();
  const failed = names.filter((name) => live.problems[name]);
  return (
    <>
      {failed.map((name) => (
        <Notice key={name} tone="bad">
          <ProblemText problem={live.problems[name] as Problem} />
          <div><Button icon="refresh" onClick={() => void live.read(name)}>{t("again")}</Button></div>
        </Notice>
      ))}
    </>
  );
}

/** Stands for a list while it is being read for the first time; where that fails, the reason stands elsewhere. */
export function Waiting({ of }: { of: ListName }) {
  const { live } = useDesk();
  const { t } = useSay();
  const reading = live.problems[of] === undefined && (live.connection === "connecting" || live.connection === "open");
  return reading ? <Spinner label={t("loading")} /> : null;
}

/** A choice of a few. */
export function Choice<T extends string>({ label, value, of, onValue }: { label: string; value: T; of: readonly (readonly [T, string])[]; onValue: (value: T) => void }) {
  return (
    <label class="field">
      <span class="label">{label}</span>
      <select class="select" value={value} onChange={(event) => onValue(event.currentTarget.value as T)}>
        {of.map(([code, words]) => <option key={code} value={code}>{words}</option>)}
      </select>
    </label>
  );
}

/** Buttons of which one is on; each is reached by Tab. */
export function Radios<T extends string>({ legend, name, value, of, onValue }: { legend: string; name: string; value: T; of: readonly (readonly [T, ComponentChildren])[]; onValue: (value: T) => void }) {
  return (
    <fieldset class="radios">
      <legend>{legend}</legend>
      {of.map(([code, words]) => (
        <label key={code} class="check labelled">
          <input type="radio" name={name} checked={value === code} onChange={() => onValue(code)} />
          <span>{words}</span>
        </label>
      ))}
    </fieldset>
  );
}
