/** A length of time for people: `850 ms`, `4.2 s`, `35 min`, `3 h`; `-` where it is not known. */
export function duration(ms: number | bigint | undefined): string {
  if (ms === undefined) return '-';
  const value = Number(ms);
  if (value < 1_000) return `${Math.round(value)} ms`;
  if (value < 120_000) return `${(value / 1_000).toFixed(1)} s`;
  if (value < 7_200_000) return `${Math.round(value / 60_000)} min`;
  return `${Math.round(value / 3_600_000)} h`;
}
