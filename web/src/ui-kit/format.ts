/** Sizes, rates, times as people of a language write them (Intl). Units are decimal, as in the programs. */

export interface Formats {
  number(value: number): string;
  percent(part: number): string;
  /** Bytes: "1.5 MB". */
  size(bytes: number): string;
  /** Bytes per second: "1.5 MB/s". */
  rate(bytes_per_s: number): string;
  /** A duration in the one or two largest units: "2 min 5 s". */
  duration(seconds: number): string;
  /** A point in time: date and time of day, in the browser's zone. */
  time(unix_ms: number): string;
  date(unix_ms: number): string;
  /** "in 5 minutes", "3 days ago". */
  relative(unix_ms: number, now_ms?: number): string;
}

const SIZE_UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte", "petabyte"] as const;

/** Index of the largest unit of which there is at least one, rounding to three digits included. */
function unit_of(bytes: number): number {
  let index = 0;
  for (let rest = bytes; rest >= 999.5 && index < SIZE_UNITS.length - 1; rest /= 1000) index += 1;
  return index;
}

/** Splits a duration into its largest unit and the next smaller one. */
export function duration_parts(seconds: number): [number, "day" | "hour" | "minute" | "second"][] {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return [[whole, "second"]];
  const [big, small, names] =
    whole < 3600 ? [60, 1, ["minute", "second"] as const]
    : whole < 86_400 ? [3600, 60, ["hour", "minute"] as const]
    : [86_400, 3600, ["day", "hour"] as const];
  const first = Math.floor(whole / big);
  const second = Math.floor((whole % big) / small);
  return second === 0 ? [[first, names[0]]] : [[first, names[0]], [second, names[1]]];
}

/** True when a time can be written as a date at all. */
function is_time(unix_ms: number): boolean {
  return Number.isFinite(unix_ms) && Math.abs(unix_ms) <= 8.64e15;
}

export function formats(locale: string): Formats {
  const number = new Intl.NumberFormat(locale);
  const percent = new Intl.NumberFormat(locale, { style: "percent", maximumFractionDigits: 0 });
  const date = new Intl.DateTimeFormat(locale, { dateStyle: "medium" });
  const time = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });
  const relative = new Intl.RelativeTimeFormat(locale, { numeric: "auto" });
  const amount = (value: number, unit: string, display: "short" | "long", decimals: number) =>
    new Intl.NumberFormat(locale, { style: "unit", unit, unitDisplay: display, maximumFractionDigits: decimals }).format(value);
  const sized = (bytes: number, per: string) => {
    const index = unit_of(bytes);
    const unit = SIZE_UNITS[index] ?? "byte";
    const value = bytes / 1000 ** index;
    const display = index === 0 && per === "" ? "long" : "short";
    return amount(value, unit + per, display, index === 0 || value >= 99.95 ? 0 : 1);
  };
  return {
    number: (value) => number.format(value),
    percent: (part) => percent.format(part),
    size: (bytes) => sized(Math.max(0, bytes), ""),
    rate: (bytes) => sized(Math.max(0, bytes), "-per-second"),
    duration: (seconds) => duration_parts(seconds).map(([value, unit]) => amount(value, unit, "short", 0)).join(" "),
    time: (ms) => (is_time(ms) ? time.format(ms) : "–"),
    date: (ms) => (is_time(ms) ? date.format(ms) : "–"),
    relative(ms, now = Date.now()) {
      const seconds = Math.round((ms - now) / 1000);
      const far = Math.abs(seconds);
      if (far < 60) return relative.format(seconds, "second");
      if (far < 3600) return relative.format(Math.round(seconds / 60), "minute");
      if (far < 86_400) return relative.format(Math.round(seconds / 3600), "hour");
      return relative.format(Math.round(seconds / 86_400), "day");
    },
  };
}
