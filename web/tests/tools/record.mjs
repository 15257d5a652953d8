// Writes what a real daemon answers to tests/recorded/desk.json, for the tests with a fake daemon:
//   HITHER_BIN=… node tests/tools/record.mjs
import http from "node:http";
import { writeFileSync } from "node:fs";
import { startWorld, furnish, until } from "./world.mjs";

const lists = ["status", "doctor", "shares", "config", "devices", "nearby", "inbox", "outbox", "groups", "asks", "asks/grants", "receive", "relays", "giving", "transfers", "catalogue"];

/** The first `count` events of a stream, at most for `limit` milliseconds. */
function events(socket, method, path, body, count, limit = 6000) {
  return new Promise((resolve, reject) => {
    const found = [];
    const request = http.request({ socketPath: socket, method, path, headers: { "content-type": "application/json" } }, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (part) => {
        text += part;
        let at;
        while ((at = text.indexOf("\n\n")) >= 0) {
          const data = text.slice(0, at).replace(/^data: /, "");
          text = text.slice(at + 2);
          if (data.startsWith("{")) found.push(JSON.parse(data));
        }
        if (found.length >= count) request.destroy();
      });
      answer.on("close", () => resolve(found));
    });
    request.on("error", (error) => (found.length ? resolve(found) : reject(error)));
    setTimeout(() => request.destroy(), limit);
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

const world = await startWorld(process.env.HITHER_BIN);
try {
  const { holiday } = await furnish(world);
  const { desk, laptop, phone } = world;
  await until("the request of the laptop", async () => (await desk.api("GET", "/v1/asks")).received.length);
  // Slow enough to be looked at while it goes on.
  await desk.api("POST", "/v1/config", { key: "limits.lan", value: "true" });
  await desk.api("POST", "/v1/config", { key: "limits.download", value: "4MB" });
  const found = await until("the film", () => desk.api("POST", "/v1/catalogue/find", { owner: "laptop", name: "film.mkv" }).catch(() => null));
  const offer = (await events(desk.socket, "POST", "/v1/fetches", { ticket: found.ticket, folder: desk.files }, 4)).find((one) => one.event === "offer");
  const offered = await desk.api("GET", "/v1/transfers");
  await desk.api("POST", `/v1/transfers/${offer.transfer}/accept`, { head: offer.head });
  const giving = laptop.run("fetch", holiday.ticket, "-o", laptop.files, "--yes", "--json");
  await until("half of the film", async () => (await desk.api("GET", `/v1/transfers/${offer.transfer}`)).bytes > 24e6);
  await giving;
  await desk.api("POST", "/v1/nearby", { visible: true });
  const stranger = until("the stranger", () => phone.run("send", "desk", "Is this your desk?").catch(() => null), 20_000).catch(() => {});
  await until("its introduction", async () => (await desk.api("GET", "/v1/nearby")).introductions.length, 20_000).catch((error) => console.error(error.message));
  await stranger;
  const answers = {};
  for (const list of lists) answers[list] = await desk.api("GET", `/v1/${list}`);
  const group = answers.groups[0].group;
  answers.members = await desk.api("GET", `/v1/groups/${group}/members`);
  answers.view = (await events(desk.socket, "GET", `/v1/transfers/${offer.transfer}/view?cells=1024`, undefined, 1))[0];
  answers.events = await events(desk.socket, "GET", "/v1/events", undefined, 4, 3000);
  answers.ticket = await desk.api("GET", `/v1/shares/${holiday.share}/ticket`);
  answers.message = await desk.api("GET", "/v1/inbox/1");
  answers.offered = offered;
  answers.offer = offer;
  answers.problem = await desk.api("POST", "/v1/config", { key: "port", value: "many" }).catch((error) => error.value);
  answers.why = await desk.api("GET", `/v1/transfers/${offer.transfer}/why`);
  // Paths of the machine it was recorded on do not belong into the repository.
  const text = JSON.stringify(answers, null, 1).replaceAll(world.dir, "/home/ada/hither");
  writeFileSync(new URL("../recorded/desk.json", import.meta.url), text + "\n");
} finally {
  await world.close();
}
