/** Groups: who is in them, who asks to join, what members share. */
import { useEffect, useState } from "preact/hooks";
import { Button, ButtonLink, Check, CopyText, Dialog, Field, Name, Notice, Spinner } from "../../ui-kit/index.ts";
import { Qr } from "../../ui-kit/qr.tsx";
import { Problem, call } from "../api.ts";
import { act, fits, useDesk, useSay } from "../desk.tsx";
import { FetchDialog, called, ticket_of, type FetchStart } from "../flows.tsx";
import { useLists } from "../live.ts";
import { Badge, Card, Cards, Choice, Empty, Facts, ListProblems, Mono, ProblemText, Said, Section, Waiting, type Tone } from "../parts.tsx";
import { address } from "../route.ts";
import type { FoundGroup, Group, Member, Policy } from "../types.ts";

const POLICIES: readonly Policy[] = ["approval", "open", "allow_list"];
const TONES: Record<Group["state"], Tone> = { member: "good", asking: "warn", refused: "bad", removed: "bad" };
/** Pause until the members are read again while they are looked at. */
const MEMBERS_MS = 8000;

function GroupCard({ one }: { one: Group }) {
  const { t } = useSay();
  return (
    <Card
      icon="group"
      id={one.group}
      title={<a href={address("groups", one.group)}><Name text={one.name || one.group.slice(0, 8)} /></a>}
      badges={
        <>
          <Badge tone={TONES[one.state]}>{t(`group.${one.state}`)}</Badge>
          {one.role === "admin" && <Badge>{t("group.admin")}</Badge>}
          {one.asking > 0 && <Badge tone="warn">{t("group.asking_n", { n: one.asking })}</Badge>}
        </>
      }
      actions={<ButtonLink href={address("groups", one.group)} icon="forward">{t("group.open")}</ButtonLink>}
    >
      <p class="small muted">{t("group.members_n", { n: one.members })} · {t("group.online_n", { n: one.online })} · {t("group.shares_n", { n: one.shares })}</p>
      {one.reason && <p class="small"><Said text={one.reason} /></p>}
    </Card>
  );
}

function CreateDialog({ onClose }: { onClose: () => void }) {
  const desk = useDesk();
  const { t } = useSay();
  const [name, set_name] = useState("");
  const [policy, set_policy] = useState<Policy>("approval");
  const [findable, set_findable] = useState(false);
  const create = async () => {
    const made = await act(desk, () => call<Group>("POST", "groups", { name: name.trim(), policy, findable }), t("group.created", { name: name.trim() }), { reads: ["groups"] });
    if (!made) return;
    onClose();
    desk.go("groups", made.group);
  };
  return (
    <Dialog
      title={t("group.new")}
      onClose={onClose}
      foot={
        <>
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button kind="primary" off={name.trim() === ""} onClick={() => void create()}>{t("group.create")}</Button>
        </>
      }
    >
      <Field label={t("name")} value={name} onValue={set_name} maxLength={100} />
      <Choice label={t("group.policy")} value={policy} onValue={set_policy} of={POLICIES.map((one) => [one, t(`policy.${one}`)] as const)} />
      <Check label={t("group.findable_set")} shown={t("group.findable_set")} on={findable} onChange={set_findable} />
    </Dialog>
  );
}

function JoinDialog({ onClose }: { onClose: () => void }) {
  const desk = useDesk();
  const { t } = useSay();
  const [text, set_text] = useState("");
  const [found, set_found] = useState<readonly FoundGroup[] | undefined>();
  const [problem, set_problem] = useState<Problem | undefined>();
  const join = async (group: string) => {
    const joined = await act(desk, () => call<Group>("POST", "groups/join", { group }), (one) => t(one.state === "member" ? "group.joined" : "group.asked", { name: one.name }), { reads: ["groups"], undo: (one) => call("DELETE", `groups/${one.group}`) });
    if (joined) onClose();
  };
  const search = () => {
    set_problem(undefined);
    call<FoundGroup[]>("POST", "groups/search", { text: text.trim() }).then(set_found, (error: unknown) => {
      if (!(error instanceof Problem)) throw error;
      set_problem(error);
    });
  };
  const word = text.trim().startsWith("hithergroup1");
  return (
    <Dialog title={t("group.join_title")} onClose={onClose}>
      <Field label={t("group.join_field")} hint={t("group.join_hint")} value={text} onValue={set_text} />
      <div class="cluster">
        <Button icon="search" off={word} onClick={search}>{t("group.search")}</Button>
        <Button kind="primary" off={text.trim() === ""} onClick={() => void join(text.trim())}>{t("group.join")}</Button>
      </div>
      {problem && <Notice tone="bad"><ProblemText problem={problem} /></Notice>}
      {found && (found.length === 0 ? <Empty>{t("found_nothing")}</Empty> : (
        <Cards>
          {found.map((one) => (
            <Card key={one.group} icon="group" title={<Name text={one.name} />} badges={one.state ? <Badge tone={TONES[one.state]}>{t(`group.${one.state}`)}</Badge> : undefined} actions={one.state ? undefined : <Button onClick={() => void join(one.group)}>{t("group.join")}</Button>}>
              <p class="small muted">{t("group.members_n", { n: one.members })} · {t(`policy.${one.policy}`)} · <Mono text={one.relay} /></p>
            </Card>
          ))}
        </Cards>
      ))}
    </Dialog>
  );
}

function RefuseDialog({ group, member, onClose, onDone }: { group: Group; member: Member; onClose: () => void; onDone: () => void }) {
  const desk = useDesk();
  const { t } = useSay();
  const [reason, set_reason] = useState("");
  const refuse = async () => {
    const done = await act(desk, () => call("POST", `groups/${group.group}/devices`, { device: member.device, what: "refuse", ...(reason.trim() === "" ? {} : { reason: reason.trim() }) }), t("group.refused_", { name: called(member) }), { reads: ["groups"] });
    if (done === undefined) return;
    onDone();
    onClose();
  };
  return (
    <Dialog
      title={<>{t("group.refuse_title")} <Name text={called(member)} /></>}
      onClose={onClose}
      foot={
        <>
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button kind="danger" onClick={() => void refuse()}>{t("group.refuse")}</Button>
        </>
      }
    >
      <p>{t("group.refuse_body")}</p>
      <Field label={t("group.reason")} value={reason} onValue={set_reason} maxLength={200} />
    </Dialog>
  );
}

function MemberCard({ group, one, onRead, onRefuse, onFetch }: { group: Group; one: Member; onRead: () => void; onRefuse: () => void; onFetch: (start: FetchStart) => void }) {
  const desk = useDesk();
  const { t, format } = useSay();
  const admin = group.role === "admin";
  const name = called(one);
  const decide = async (what: "approve" | "remove" | "promote", done: string) => {
    await act(desk, () => call("POST", `groups/${group.group}/devices`, { device: one.device, what }), done, { reads: ["groups"] });
    onRead();
  };
  const ask = async (what: "approve" | "remove" | "promote") => {
    const words = { approve: ["group.approve_title", "group.approve_body", "group.approve", "group.approved"], remove: ["group.remove_title", "group.remove_body", "group.remove", "group.removed_"], promote: ["group.promote_title", "group.promote_body", "group.promote", "group.promoted"] } as const;
    const [title, body, action, done] = words[what];
    if (await desk.ask({ title: t(title, { name }), body: <p>{t(body)}</p>, action: t(action), danger: what === "remove" })) await decide(what, t(done, { name }));
  };
  const fetch_it = async (share: string) => {
    const ticket = await ticket_of(desk, one.device, share);
    if (ticket !== undefined) onFetch({ ticket, name: share });
  };
  return (
    <Card
      icon="device"
      id={one.device}
      title={<Name text={name} />}
      badges={
        <>
          {one.this && <Badge tone="info">{t("device.this")}</Badge>}
          {one.asking ? <Badge tone="warn">{t("group.wants_in")}</Badge> : <Badge tone={one.online ? "good" : "plain"}>{one.online ? t("device.online") : one.last_seen === undefined ? t("device.never") : t("device.seen", { time: format.relative(one.last_seen * 1000) })}</Badge>}
          {one.role === "admin" && <Badge>{t("group.admin")}</Badge>}
        </>
      }
      actions={
        admin && !one.this ? (
          <>
            {one.asking && <Button kind="primary" onClick={() => void ask("approve")}>{t("group.approve")}</Button>}
            {one.asking && <Button kind="danger" onClick={onRefuse}>{t("group.refuse")}</Button>}
            {one.role === "member" && <Button onClick={() => void ask("promote")}>{t("group.promote")}</Button>}
            {one.role !== undefined && <Button kind="danger" onClick={() => void ask("remove")}>{t("group.remove")}</Button>}
          </>
        ) : undefined
      }
    >
      <p class="small muted">{t("device.short")} <Mono text={one.short} /></p>
      {one.shares.length > 0 && (
        <ul class="unmarked">
          {one.shares.map((share) => (
            <li key={share.share} class="cluster">
              <span><Name text={share.name} /> <span class="muted small">{t("files", { n: share.files })}, {format.size(share.bytes)}</span></span>
              {!one.this && <Button icon="download" label={t("fetch_named", { name: share.name })} onClick={() => void fetch_it(share.name)} />}
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}

function OneGroup({ id }: { id: string }) {
  const desk = useDesk();
  const { t } = useSay();
  const { groups } = useLists(desk.live, "groups");
  const [members, set_members] = useState<readonly Member[] | undefined>();
  const [problem, set_problem] = useState<Problem | undefined>();
  const [refusing, set_refusing] = useState<Member | undefined>();
  const [start, set_start] = useState<FetchStart | undefined>();
  const group = groups?.find((one) => one.group === id);
  const read = () =>
    call<Member[]>("GET", `groups/${encodeURIComponent(id)}/members`).then(
      (list) => {
        set_members(list);
        set_problem(undefined);
      },
      (error: unknown) => {
        if (error instanceof Problem) set_problem(error);
      },
    );
  useEffect(() => {
    void read();
    const timer = setInterval(() => {
      if (document.visibilityState === "visible") void read();
    }, MEMBERS_MS);
    return () => clearInterval(timer);
  }, [id]);
  const back = <div><ButtonLink href={address("groups")} icon="back">{t("group.back")}</ButtonLink></div>;
  if (!group) return <>{back}{groups ? <Empty>{t("group.unknown")}</Empty> : <Waiting of="groups" />}</>;
  const name = group.name || group.group.slice(0, 8);
  const leave = async () => {
    const member = group.state === "member";
    const yes = await desk.ask({ title: t(member ? "group.leave_title" : "group.drop_title", { name }), body: <p>{t(member ? "group.leave_body" : "group.drop_body")}</p>, action: t(member ? "group.leave" : "group.drop"), danger: true });
    if (!yes) return;
    const done = await act(desk, () => call("DELETE", `groups/${group.group}`), t("group.left", { name }), { reads: ["groups"] });
    if (done !== undefined) desk.go("groups");
  };
  const set_policy = (policy: Policy) => {
    const before = group.policy ?? "approval";
    const set = (to: Policy) => call("POST", `groups/${group.group}/policy`, { policy: to });
    void act(desk, () => set(policy), t("group.policy_set"), { reads: ["groups"], undo: () => set(before) });
  };
  const asking = members?.filter((one) => one.asking && fits(desk.query, one.name, one.short)) ?? [];
  const inside = members?.filter((one) => !one.asking && fits(desk.query, one.name, one.short, ...one.shares.map((share) => share.name))) ?? [];
  const cards = (of: readonly Member[]) => <Cards>{of.map((one) => <MemberCard key={one.device} group={group} one={one} onRead={() => void read()} onRefuse={() => set_refusing(one)} onFetch={set_start} />)}</Cards>;
  return (
    <>
      {refusing && <RefuseDialog group={group} member={refusing} onClose={() => set_refusing(undefined)} onDone={() => void read()} />}
      {start && <FetchDialog start={start} onClose={() => set_start(undefined)} />}
      {back}
      <section class="section" aria-labelledby="group-heading">
        <div class="section-head">
          <h2 id="group-heading"><Name text={name} /></h2>
          <Badge tone={TONES[group.state]}>{t(`group.${group.state}`)}</Badge>
        </div>
        {group.reason && <Notice tone="warn" still><Said text={group.reason} /></Notice>}
        <Facts
          of={[
            [t("group.relay"), <Mono text={group.relay} />],
            [t("group.findable"), group.findable ? t("yes") : t("no")],
            group.policy !== undefined && group.role !== "admin" && [t("group.policy"), t(`policy.${group.policy}`)],
            (group.allowed?.length ?? 0) > 0 && [t("group.allowed"), <Mono text={(group.allowed ?? []).map((one) => one.slice(-8)).join(", ")} />],
          ]}
        />
        {group.role === "admin" && group.policy !== undefined && <Choice label={t("group.policy")} value={group.policy} onValue={set_policy} of={POLICIES.map((one) => [one, t(`policy.${one}`)] as const)} />}
        {group.invite !== "" && (
          <details>
            <summary>{t("group.invite")}</summary>
            <div class="stack">
              <CopyText text={group.invite} label={t("group.invite")} />
              <div class="center"><Qr text={group.invite} label={t("group.invite_qr")} /></div>
            </div>
          </details>
        )}
        <div><Button kind="danger" onClick={() => void leave()}>{t(group.state === "member" ? "group.leave" : "group.drop")}</Button></div>
      </section>
      {problem && <Notice tone="bad"><ProblemText problem={problem} /></Notice>}
      {asking.length > 0 && <Section id="asking" title={t("group.asking_title")}>{cards(asking)}</Section>}
      {group.state === "member" && <Section id="members" title={t("group.members")}>{!members ? <Spinner label={t("loading")} /> : inside.length === 0 ? <Empty>{t("found_nothing")}</Empty> : cards(inside)}</Section>}
    </>
  );
}

export function Groups({ id }: { id: string }) {
  const desk = useDesk();
  const { t } = useSay();
  const { groups } = useLists(desk.live, "groups");
  const [open, set_open] = useState<"create" | "join" | undefined>();
  if (id !== "") return <OneGroup key={id} id={id} />;
  const shown = groups?.filter((one) => fits(desk.query, one.name, one.group, one.relay));
  return (
    <>
      {open === "create" && <CreateDialog onClose={() => set_open(undefined)} />}
      {open === "join" && <JoinDialog onClose={() => set_open(undefined)} />}
      <ListProblems names={["groups"]} />
      <Section
        id="groups"
        title={t("groups.mine")}
        actions={
          <>
            <Button kind="primary" icon="plus" onClick={() => set_open("create")}>{t("group.new")}</Button>
            <Button icon="search" onClick={() => set_open("join")}>{t("group.join_title")}</Button>
          </>
        }
      >
        {!shown ? <Waiting of="groups" /> : shown.length === 0 ? <Empty>{t(desk.query ? "found_nothing" : "groups.none")}</Empty> : <Cards>{shown.map((one) => <GroupCard key={one.group} one={one} />)}</Cards>}
      </Section>
    </>
  );
}
