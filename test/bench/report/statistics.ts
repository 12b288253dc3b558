/** The few numbers that a row of measurements comes down to. */

export function median(values: readonly number[]): number {
  if (values.length === 0) return Number.NaN;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Enough digits to compare, none that pretend. */
export const rounded = (value: number, digits = 2): number => Number(value.toFixed(digits));
