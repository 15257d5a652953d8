/** The map of a fetch: which part of the data is here, from whom, and which is missing. */
import { useEffect, useRef, useState } from "preact/hooks";
import { useSay } from "./desk.tsx";
import { Name } from "../ui-kit/index.ts";
import type { CellState, SpanMap, View, ViewSource } from "./types.ts";

/** Edges of the smallest and the largest cell, the gap beside it, and about how high the map is, CSS pixels. */
const SMALLEST = 9;
const LARGEST = 26;
const GAP = 2;
const HEIGHT = 120;
/** Colours of sources, by `--source-<n>`; marks tell apart what colours do not. */
export const SOURCE_LOOKS = 6;

export interface Cell { state: CellState; source: number }

/** The cells of a map in order. More than the map says there are, or runs of nonsense, are cut off. */
export function cells_of(map: SpanMap): Cell[] {
  const cells: Cell[] = [];
  for (const run of map.runs) {
    for (let left = Math.min(run.cells, map.cells - cells.length); left > 0; left -= 1) cells.push({ state: run.state, source: run.source ?? -1 });
  }
  while (cells.length < map.cells) cells.push({ state: "missing", source: -1 });
  return cells;
}

export interface Parts { missing: number; in_flight: number; earlier: number; local: number; by_source: number[] }

/** Counts the cells of each kind. */
export function count_cells(cells: readonly Cell[], sources: number): Parts {
  const parts: Parts = { missing: 0, in_flight: 0, earlier: 0, local: 0, by_source: new Array<number>(sources).fill(0) };
  for (const cell of cells) {
    if (cell.state === "source") parts.by_source[cell.source] = (parts.by_source[cell.source] ?? 0) + 1;
    else parts[cell.state] += 1;
  }
  return parts;
}

/** A shape in the middle of a cell, so that sources differ without their colours. */
function mark(draw: CanvasRenderingContext2D, look: number, x: number, y: number, size: number): void {
  const middle = size / 2;
  const thin = Math.max(1, size / 5);
  draw.beginPath();
  if (look === 1) draw.rect(x, y + middle - thin / 2, size, thin);
  else if (look === 2) draw.rect(x + middle - thin / 2, y, thin, size);
  else if (look === 3) draw.arc(x + middle, y + middle, size / 4, 0, 2 * Math.PI);
  else if (look === 4) draw.rect(x, y, middle, middle);
  else if (look === 5) draw.rect(x + middle, y + middle, middle, middle);
  draw.fill();
}

/** Draws one cell at a place of the canvas, in its pixels. */
function draw_cell(draw: CanvasRenderingContext2D, colours: (name: string) => string, cell: Cell, x: number, y: number, size: number): void {
  const look = ((cell.source % SOURCE_LOOKS) + SOURCE_LOOKS) % SOURCE_LOOKS;
  if (cell.state === "missing" || cell.state === "in_flight") {
    const line = Math.max(1, size / 8);
    draw.lineWidth = line;
    draw.strokeStyle = colours(cell.state === "missing" ? "--border" : `--source-${look}`);
    draw.strokeRect(x + line / 2, y + line / 2, size - line, size - line);
    return;
  }
  draw.fillStyle = colours(cell.state === "source" ? `--source-${look}` : cell.state === "local" ? "--map-local" : "--map-earlier");
  draw.fillRect(x, y, size, size);
  if (cell.state !== "source") return;
  draw.fillStyle = colours("--surface");
  mark(draw, look, x, y, size);
}

function Sample({ cell }: { cell: Cell }) {
  const ref = useRef<HTMLCanvasElement>(null);
  const scheme = useScheme();
  useEffect(() => {
    const canvas = ref.current;
    const draw = canvas?.getContext("2d");
    if (!canvas || !draw) return;
    const style = getComputedStyle(canvas);
    draw.clearRect(0, 0, 32, 32);
    draw_cell(draw, (name) => style.getPropertyValue(name), cell, 4, 4, 24);
  }, [cell.state, cell.source, scheme]);
  return <canvas ref={ref} class="sample" width={32} height={32} aria-hidden="true" />;
}

/** The colour scheme of the system, as it changes: what is drawn takes its colours from it. */
function useScheme(): string {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const [scheme, set_scheme] = useState(dark.matches ? "dark" : "light");
  useEffect(() => {
    const changed = () => set_scheme(dark.matches ? "dark" : "light");
    dark.addEventListener("change", changed);
    return () => dark.removeEventListener("change", changed);
  }, []);
  return scheme;
}

function Grid({ map, label }: { map: SpanMap; label: string }) {
  const ref = useRef<HTMLCanvasElement>(null);
  const [width, set_width] = useState(0);
  const scheme = useScheme();
  useEffect(() => {
    const canvas = ref.current?.parentElement;
    if (!canvas) return;
    const watching = new ResizeObserver(([entry]) => set_width(Math.floor(entry?.contentRect.width ?? 0)));
    watching.observe(canvas);
    return () => watching.disconnect();
  }, []);
  useEffect(() => {
    const canvas = ref.current;
    const draw = canvas?.getContext("2d");
    if (!canvas || !draw || width === 0) return;
    const fitting = Math.floor(Math.sqrt((width * HEIGHT) / Math.max(1, map.cells))) - GAP;
    const edge = Math.min(LARGEST, Math.max(SMALLEST, fitting));
    const columns = Math.max(1, Math.floor((width + GAP) / (edge + GAP)));
    const rows = Math.ceil(map.cells / columns);
    const scale = Math.min(3, devicePixelRatio || 1);
    const height = rows * (edge + GAP) - GAP;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.max(1, Math.round(height * scale));
    canvas.style.blockSize = `${Math.max(1, height)}px`;
    const style = getComputedStyle(canvas);
    const found = new Map<string, string>();
    const colours = (name: string) => {
      let colour = found.get(name);
      if (colour === undefined) found.set(name, (colour = style.getPropertyValue(name)));
      return colour;
    };
    cells_of(map).forEach((cell, at) => {
      const x = Math.round((at % columns) * (edge + GAP) * scale);
      const y = Math.round(Math.floor(at / columns) * (edge + GAP) * scale);
      draw_cell(draw, colours, cell, x, y, Math.round(edge * scale));
    });
  }, [map, width, scheme]);
  return <div class="map"><canvas ref={ref} role="img" aria-label={label} /></div>;
}

/** The map with the sources beside it; the table says the same as the picture. */
export function SpanMapView({ view }: { view: View }) {
  const { t, format } = useSay();
  const { map, sources } = view;
  const parts = map ? count_cells(cells_of(map), sources.length) : undefined;
  const name = (source: ViewSource) => source.name || source.device.slice(-8);
  const part = (cells: number) => format.percent(map && map.cells > 0 ? cells / map.cells : 0);
  const all = sources.reduce((sum, source) => sum + source.bytes, 0);
  const here = map && parts ? map.cells - parts.missing - parts.in_flight : 0;
  const label = map && parts ? t("map.label", { here: part(here), coming: part(parts.in_flight), missing: part(parts.missing) }) : "";
  return (
    <div class="stack">
      {map && parts ? (
        <>
          <Grid map={map} label={label} />
          <p class="small muted">{label}</p>
        </>
      ) : (
        <p class="muted">{t("map.none")}</p>
      )}
      <div class="scrolls" tabIndex={0} role="region" aria-label={t("sources")}>
        <table>
          <caption class="for-readers">{t("sources")}</caption>
          <thead>
            <tr><th scope="col">{t("source")}</th><th scope="col" class="number">{t("source.part")}</th><th scope="col" class="number">{t("source.bytes")}</th><th scope="col" class="number">{t("source.rate")}</th><th scope="col" class="number">{t("source.flight")}</th></tr>
          </thead>
          <tbody>
            {sources.map((source, at) => (
              <tr key={`${source.device} ${source.kind}`}>
                <th scope="row">
                  <span class="legend">
                    <Sample cell={{ state: source.kind === "local" ? "local" : "source", source: at }} />
                    <span><Name text={name(source)} /> <span class="muted small">{t(`kind.${source.kind}`)}{source.open ? "" : ` · ${t("source.away")}`}{source.faults > 0 ? ` · ${t("source.faults", { n: source.faults })}` : ""}</span></span>
                  </span>
                </th>
                <td class="number">{format.percent(all > 0 ? source.bytes / all : 0)}</td>
                <td class="number">{format.size(source.bytes)}</td>
                <td class="number">{source.rate > 0 ? format.rate(source.rate) : "–"}</td>
                <td class="number">{source.in_flight > 0 ? format.size(source.in_flight) : "–"}</td>
              </tr>
            ))}
            {parts && parts.earlier > 0 && (
              <tr><th scope="row"><span class="legend"><Sample cell={{ state: "earlier", source: -1 }} /><span>{t("map.earlier")}</span></span></th><td class="number">{part(parts.earlier)}</td><td colSpan={3} /></tr>
            )}
            {parts && parts.in_flight > 0 && (
              <tr><th scope="row"><span class="legend"><Sample cell={{ state: "in_flight", source: 0 }} /><span>{t("map.coming")}</span></span></th><td class="number">{part(parts.in_flight)}</td><td colSpan={3} /></tr>
            )}
            {parts && parts.missing > 0 && (
              <tr><th scope="row"><span class="legend"><Sample cell={{ state: "missing", source: -1 }} /><span>{t("map.missing")}</span></span></th><td class="number">{part(parts.missing)}</td><td colSpan={3} /></tr>
            )}
          </tbody>
        </table>
      </div>
    </div>
  );
}
