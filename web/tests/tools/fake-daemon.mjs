// A daemon for tests of the dashboard: gives what a real one gave (tests/recorded/desk.json), tells events when
// the test says so, and takes every call.
import { readFileSync } from "node:fs";
import { problem } from "./dashboard-proxy.mjs";

export const recorded = () => JSON.parse(readFileSync(new URL("../recorded/desk.json", import.meta.url), "utf8"));

/** The event of an open stream. */
const frame = (value) => `data: ${JSON.stringify(value)}\n\n`;

/**
 * `answers` are for calls by "METHOD path" (what follows /v1/, without the query): a value, or a function of
 * (body, answer, url), which may answer itself and then gives undefined. Everything else that changes something
 * is answered with {}.
 */
export function fake_daemon(answers = {}) {
  const state = recorded();
  const streams = new Set();
  const daemon = {
    state,
    answers: {
      "GET openapi.json": { paths: {} },
      "GET inbox/links": () => state["inbox/links"] ?? [],
      "GET pages": () => daemon.pages,
      "POST pages": (body) => {
        const page = { page: "0a1b2c3d", urls: ["http://192.168.7.2:8080/p/k3v9q0x7m2/"], left_seconds: body.keep_seconds, upload: !body.no_upload, shares: ["holiday"], received: 0 };
        daemon.pages.push(page);
        return page;
      },
      [`GET groups/${state.groups[0].group}/members`]: state.members,
      [`GET shares/${state.shares[0].share}/ticket`]: state.ticket,
      "GET inbox/1": state.message,
      ...answers,
    },
    pages: [],
    /** Tells an event to every page that listens. */
    push(event) {
      for (const answer of streams) answer.write(frame(event));
    },
    /** Breaks the streams of events off, as a daemon that ends does. */
    cut() {
      for (const answer of streams) answer.destroy();
      streams.clear();
    },
    streams,
    /** Open streams that watch a transfer. */
    views: new Set(),
    api(request, answer, body, url) {
      const path = decodeURIComponent(url.pathname.slice("/v1/".length));
      const key = `${request.method} ${path}`;
      const json = (value) => {
        answer.writeHead(200, { "Content-Type": "application/json", "Cache-Control": "no-store" });
        answer.end(JSON.stringify(value));
      };
      if (key === "GET events" || /^GET transfers\/[^/]+\/view$/.test(key)) {
        answer.writeHead(200, { "Content-Type": "text/event-stream" });
        if (key === "GET events") {
          streams.add(answer);
          answer.on("close", () => streams.delete(answer));
          for (const event of state.events.filter((one) => one.event !== "asks")) answer.write(frame(event));
          answer.write(frame({ event: "asks", ...state.asks }));
        } else {
          daemon.views.add(answer);
          answer.on("close", () => daemon.views.delete(answer));
          answer.write(frame(state.view));
        }
        return;
      }
      const given = daemon.answers[key];
      if (given !== undefined) {
        const value = typeof given === "function" ? given(body === "" ? undefined : JSON.parse(body), answer, url) : given;
        if (value !== undefined) json(value);
        return;
      }
      if (request.method === "GET") {
        if (state[path] === undefined) problem(answer, 404, "not_found", "There is no such call.");
        else json(state[path]);
        return;
      }
      json({});
    },
  };
  return daemon;
}

/** Answers a call with events, the last of which ends it. */
export function tell(answer, events, { keep = false } = {}) {
  answer.writeHead(200, { "Content-Type": "text/event-stream" });
  for (const event of events) answer.write(frame(event));
  if (!keep) answer.end();
}
