/** The latest lines of the daemon's log, read when they are asked for. */
import { useState } from "preact/hooks";
import { Button, display_name } from "../../ui-kit/index.ts";
import { act, fits, useDesk, useSay } from "../desk.tsx";
import { call } from "../api.ts";
import { Badge, Choice, Empty, Section, type Tone } from "../parts.tsx";
import type { LogLine } from "../types.ts";

const LINES = 300;
const LEVELS = ["error", "warn", "info", "debug"] as const;
type Level = (typeof LEVELS)[number];
const TONES: Partial<Record<string, Tone>> = { error: "bad", warn: "warn", info: "info" };

/** The text of a line: its words, then its other fields. */
export function words_of(line: LogLine): string {
  const { message, ...rest } = line.fields ?? {};
  const more = Object.entries(rest).map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  const said = typeof message === "string" ? message : line.fields === undefined ? JSON.stringify(line) : "";
  return [said, ...more].filter((part) => part !== "").join(" ");
}

function level_of(line: LogLine): string {
  return typeof line.level === "string" ? line.level.toLowerCase() : "";
}

export function Log() {
  const desk = useDesk();
  const { t, format } = useSay();
  const [lines, set_lines] = useState<readonly LogLine[]>();
  const [most, set_most] = useState<Level>("info");
  const read = async () => {
    const found = await act(desk, () => call<LogLine[]>("GET", `log?lines=${LINES}`), t("log.read_done"));
    if (Array.isArray(found)) set_lines(found);
  };
  const wanted = (line: LogLine) => {
    const at = LEVELS.findIndex((one) => one === level_of(line));
    return at <= LEVELS.indexOf(most) && fits(desk.query, words_of(line), line.target);
  };
  // The newest first: who looks into a log wants to know what was last.
  const shown = lines?.filter(wanted).reverse();
  return (
    <Section id="log" title={t("log")} actions={<Button icon="refresh" onClick={() => void read()}>{t(lines ? "log.again" : "log.read")}</Button>}>
      {!shown ? <p class="small muted">{t("log.about", { n: LINES })}</p> : (
        <>
          <Choice label={t("log.level")} value={most} onValue={set_most} of={LEVELS.map((one) => [one, t(`log.${one}`)] as const)} />
          {shown.length === 0 ? <Empty>{t("found_nothing")}</Empty> : (
            <ol class="card log" lang="en" tabIndex={0} aria-label={t("log")}>
              {shown.map((line, at) => (
                <li key={at}>
                  <span class="small muted numeric">{line.timestamp === undefined ? "" : format.time(Date.parse(line.timestamp))}</span> <Badge tone={TONES[level_of(line)] ?? "plain"}>{level_of(line)}</Badge> <span class="mono">{display_name(words_of(line))}</span>
                </li>
              ))}
            </ol>
          )}
        </>
      )}
    </Section>
  );
}
