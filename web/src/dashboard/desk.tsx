/** The desk of every screen: the copy of the daemon's lists, feedback, questions, the search, the way to other screens. */
import { createContext, type ComponentChildren } from "preact";
import { useContext } from "preact/hooks";
import { useWords } from "../i18n/index.ts";
import { dashboard, type Word } from "../i18n/dashboard.ts";
import { Problem, call } from "./api.ts";
import type { Live } from "./live.ts";
import type { ListName } from "./types.ts";

/** A question before something that cannot be undone. */
export interface Question {
  title: ComponentChildren;
  body: ComponentChildren;
  action: string;
  danger?: boolean;
}

export interface Feedback {
  /** In words of the page's language. */
  text?: string;
  problem?: Problem;
  undo?: (() => Promise<unknown>) | undefined;
}

export interface Desk {
  live: Live;
  /** The text that is searched for on this screen, in lower case; empty: nothing. */
  query: string;
  say(feedback: Feedback): void;
  /** True when the user says yes. */
  ask(question: Question): Promise<boolean>;
  go(screen: string, id?: string): void;
}

export const DeskContext = createContext<Desk | undefined>(undefined);

export function useDesk(): Desk {
  const desk = useContext(DeskContext);
  if (!desk) throw new Error("no desk");
  return desk;
}

/** The words of the dashboard. */
export function useSay() {
  return useWords(dashboard);
}

export type Translate = (key: Word, places?: Readonly<Record<string, string | number>>) => string;

/**
 * Does something for the user: says that it is done (with a way back, where there is one) or why not, and reads
 * the lists again that it changes. Gives what `what` gives, or `undefined` when it failed.
 */
export async function act<T>(desk: Desk, what: () => Promise<T>, done: string | ((result: T) => string), after: { reads?: readonly ListName[]; undo?: (result: T) => Promise<unknown> } = {}): Promise<T | undefined> {
  try {
    const result = await what();
    const undo = after.undo;
    const back = undo && (async () => {
      await undo(result);
      await Promise.all((after.reads ?? []).map((name) => desk.live.read(name)));
    });
    desk.say({ text: typeof done === "string" ? done : done(result), undo: back });
    await Promise.all((after.reads ?? []).map((name) => desk.live.read(name)));
    return result;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    desk.say({ problem: error });
    return undefined;
  }
}

/** Reads something once, for a dialog; says why not when it cannot be read. */
export async function look<T>(desk: Desk, path: string): Promise<T | undefined> {
  try {
    return await call<T>("GET", path);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    desk.say({ problem: error });
    return undefined;
  }
}

/** True when any of the texts has what is searched for. */
export function fits(query: string, ...texts: (string | undefined)[]): boolean {
  return query === "" || texts.some((text) => text?.toLowerCase().includes(query));
}
