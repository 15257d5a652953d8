/** Every key of the configuration, rules about what arrives, and what concerns this page alone. */
import { useState } from "preact/hooks";
import { Button, Check, Field, Name, Notice } from "../../ui-kit/index.ts";
import { call } from "../api.ts";
import { act, fits, useDesk, useSay } from "../desk.tsx";
import { called } from "../flows.tsx";
import { set_shortcuts, shortcuts_on } from "../keys.ts";
import { useLists } from "../live.ts";
import { Badge, Choice, Empty, ListProblems, Section, Waiting } from "../parts.tsx";
import { ABOUT, AREAS, CHOICES, area_of } from "../settings-words.ts";
import type { ConfigChange, ConfigKey, Receive, Receiving } from "../types.ts";

const RECEIVING: readonly Receiving[] = ["always", "ask", "never"];

function KeyRow({ one }: { one: ConfigKey }) {
  const desk = useDesk();
  const { t, language } = useSay();
  const [draft, set_draft] = useState<string | undefined>();
  const value = draft ?? one.value;
  const changed = value !== one.value;
  const about_own = ABOUT[one.key];
  const set = (to: string) => call<ConfigChange>("POST", "config", { key: one.key, value: to });
  const save = async (to: string) => {
    const before = one.value;
    const done = await act(
      desk,
      () => set(to),
      (change) => [t(change.pending.includes(one.key) ? "setting.set_pending" : "setting.set", { key: one.key }), ...(change.warnings ?? [])].join(" "),
      { reads: ["config", "status"], undo: () => set(before) },
    );
    if (done) set_draft(undefined);
  };
  const reset = async () => {
    const before = one.value;
    const done = await act(desk, () => call<ConfigChange>("DELETE", `config/${encodeURIComponent(one.key)}`), t("setting.reset_done", { key: one.key }), { reads: ["config", "status"], undo: () => set(before) });
    if (done) set_draft(undefined);
  };
  const choices = CHOICES[one.key] ?? (one.value === "true" || one.value === "false" ? ["true", "false"] : undefined);
  return (
    <li class="setting" data-id={one.key}>
      <div class="setting-words">
        <h3 class="mono">{one.key}</h3>
        {/* A key of a later daemon has only the daemon's words. */}
        <p class="small" lang={about_own && language !== "en" ? undefined : "en"}>{about_own && language !== "en" ? about_own[language] : one.about}</p>
        <div class="cluster">
          {one.pending && <Badge tone="warn">{t("setting.pending")}</Badge>}
          {one.needs_restart && !one.pending && <Badge>{t("setting.restart")}</Badge>}
          <Badge>{t(`setting.from.${one.source}`)}</Badge>
        </div>
        {one.source === "file" && (
          <div class="cluster">
            <Button icon="refresh" label={t("setting.reset_name", { key: one.key })} onClick={() => void reset()}>{t("setting.reset")}</Button>
            <span class="small muted">{one.default === "" ? t("setting.default_empty") : <>{t("setting.default")} <span class="mono"><Name text={one.default} /></span></>}</span>
          </div>
        )}
      </div>
      <form
        class="setting-value"
        onSubmit={(event) => {
          event.preventDefault();
          if (changed) void save(value.trim());
        }}
      >
        {choices ? (
          <select class="select" aria-label={t("setting.value", { key: one.key })} value={value} onChange={(event) => void save(event.currentTarget.value)}>
            {choices.map((choice) => <option key={choice} value={choice}>{choice}</option>)}
          </select>
        ) : (
          <>
            <Field plain label={t("setting.value", { key: one.key })} value={value} onValue={set_draft} placeholder={t("setting.empty")} />
            {changed && (
              <div class="cluster">
                <Button kind="primary" type="submit">{t("setting.save")}</Button>
                <Button onClick={() => set_draft(undefined)}>{t("cancel")}</Button>
              </div>
            )}
          </>
        )}
      </form>
    </li>
  );
}

/** Rules for what single devices and groups send. */
function Rules({ receive }: { receive: Receive }) {
  const desk = useDesk();
  const { t } = useSay();
  const { devices, groups, "inbox/links": links } = useLists(desk.live, "devices", "groups", "inbox/links");
  const [from, set_from] = useState("");
  const [policy, set_policy] = useState<Receiving>("ask");
  const set = (of: string, to: Receiving | undefined) => call("POST", "receive", { from: of, ...(to === undefined ? {} : { policy: to }) });
  const change = (of: string, to: Receiving | undefined, before: Receiving | undefined, name: string) =>
    act(desk, () => set(of, to), t(to === undefined ? "rule.removed" : "rule.set", { name }), { reads: ["receive"], undo: () => set(of, before) });
  const known = [
    ...(devices ?? []).filter((one) => !one.this && one.relation !== "nearby").map((one) => [one.device, called(one)] as const),
    ...(groups ?? []).filter((one) => one.state === "member").map((one) => [one.group, t("rule.group", { name: one.name })] as const),
    ...(links ?? []).filter((one) => one.left_seconds > 0).map((one) => [`link ${one.id}`, t("rule.link", { name: one.name })] as const),
  ].filter(([id]) => !receive.rules.some((rule) => rule.device === id || rule.group === id || `link ${rule.link}` === id));
  const chosen = from || known[0]?.[0] || "";
  return (
    <div class="stack">
      {receive.rules.length === 0 ? <Empty>{t("rules.none")}</Empty> : (
        <ul class="unmarked stack">
          {receive.rules.map((rule) => {
            const id = rule.device ?? rule.group ?? `link ${rule.link ?? ""}`;
            const name = rule.link !== undefined ? t("rule.link", { name: rule.name }) : rule.name || id.slice(-8);
            return (
              <li key={id} class="cluster">
                <Name text={name} />
                <select class="select" aria-label={t("rule.policy", { name })} value={rule.policy} onChange={(event) => void change(id, event.currentTarget.value as Receiving, rule.policy, name)}>
                  {RECEIVING.map((one) => <option key={one} value={one}>{t(`receive.${one}`)}</option>)}
                </select>
                <Button kind="danger" onClick={() => void change(id, undefined, rule.policy, name)}>{t("rule.remove")}</Button>
              </li>
            );
          })}
        </ul>
      )}
      {known.length > 0 && (
        <div class="cluster end">
          <Choice label={t("rule.from")} value={chosen} onValue={set_from} of={known} />
          <Choice label={t("rule.what")} value={policy} onValue={set_policy} of={RECEIVING.map((one) => [one, t(`receive.${one}`)] as const)} />
          <Button
            onClick={() => {
              set_from("");
              void change(chosen, policy, undefined, known.find(([id]) => id === chosen)?.[1] ?? "");
            }}
          >
            {t("rule.add")}
          </Button>
        </div>
      )}
    </div>
  );
}

export function Settings(_: { id: string }) {
  const desk = useDesk();
  const { t } = useSay();
  const { config, receive } = useLists(desk.live, "config", "receive");
  const [keys, set_keys] = useState(shortcuts_on);
  const shown = config?.filter((one) => fits(desk.query, one.key, one.value, one.about, ...Object.values(ABOUT[one.key] ?? {})));
  const pending = config?.filter((one) => one.pending) ?? [];
  const areas = [...new Set(shown?.map((one) => area_of(one.key)))];
  return (
    <>
      <ListProblems names={["config", "receive"]} />
      {pending.length > 0 && <Notice tone="warn" title={t("settings.pending", { n: pending.length })}>{t("settings.restart_how")}</Notice>}
      <p class="muted">{t("settings.about")}</p>
      <div><Button icon="refresh" onClick={() => void act(desk, () => call<ConfigChange>("POST", "config/reload"), (change) => [t("settings.reloaded", { n: change.changed.length }), ...(change.warnings ?? [])].join(" "), { reads: ["config", "status"] })}>{t("settings.reload")}</Button></div>
      {!shown ? <Waiting of="config" /> : shown.length === 0 ? <Empty>{t("found_nothing")}</Empty> : AREAS.filter((area) => areas.includes(area)).map((area) => (
        <Section key={area} id={`area-${area}`} title={t(`area.${area}`)}>
          <ul class="card settings">{shown.filter((one) => area_of(one.key) === area).map((one) => <KeyRow key={one.key} one={one} />)}</ul>
        </Section>
      ))}
      {receive && desk.query === "" && <Section id="rules" title={t("rules")}><Rules receive={receive} /></Section>}
      {desk.query === "" && (
        <Section id="page" title={t("settings.page")}>
          <Check
            label={t("settings.keys")}
            shown={t("settings.keys")}
            on={keys}
            onChange={(on) => {
              set_shortcuts(on);
              set_keys(on);
              desk.say({ text: t(on ? "settings.keys_on" : "settings.keys_off") });
            }}
          />
        </Section>
      )}
    </>
  );
}
