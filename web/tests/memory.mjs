// Memory of the browsers that this process started.
import { readFileSync, readdirSync } from "node:fs";

/** Memory of all processes below this one, in bytes: what is theirs, and their part of what is shared (Pss). */
export function memory_below() {
  const children = new Map();
  for (const name of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
    const status = read(`/proc/${name}/stat`);
    const parent = Number(status.slice(status.lastIndexOf(")") + 2).split(" ")[1]);
    children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  let sum = 0;
  const waiting = [...(children.get(process.pid) ?? [])];
  for (let pid = waiting.pop(); pid !== undefined; pid = waiting.pop()) {
    waiting.push(...(children.get(pid) ?? []));
    sum += Number(/^Pss:\s+(\d+)/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0) * 1024;
  }
  return sum;
}

/** Watches the memory until it is stopped; then says the most that was seen beyond the start, in bytes. */
export function watch_memory() {
  const before = memory_below();
  let most = before;
  const timer = setInterval(() => (most = Math.max(most, memory_below())), 500);
  return () => {
    clearInterval(timer);
    return { before, grown: most - before };
  };
}

function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // It ended meanwhile.
  }
}
