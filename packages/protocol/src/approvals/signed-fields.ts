/** Reads the fields of what operators sign. One value has one form, so nothing is taken that is there twice or too much. */
import { type AntipodeError, canonicalJson } from '@antipode/runtime';

const REASON_CHARACTERS_MAX = 500;

/** @param invalid makes the error that names the first field that is not valid */
export function signedFields(invalid: (field: string, why: string) => AntipodeError) {
  return {
    /** An object with exactly these fields. */
    recordOf(value: unknown, field: string, names: readonly string[]): Record<string, unknown> {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(field, 'is not an object');
      const found = Object.keys(value).sort();
      if (found.join() !== [...names].sort().join())
        throw invalid(field, `has the fields ${found.join(', ')}, expected ${[...names].sort().join(', ')}`);
      return value as Record<string, unknown>;
    },

    /** No value twice: a longer list must mean more. */
    listOf<T>(
      value: unknown,
      field: string,
      { min, max }: { min: number; max: number },
      each: (one: unknown) => T,
    ): T[] {
      if (!Array.isArray(value) || value.length < min || value.length > max)
        throw invalid(field, `is not a list of ${min} to ${max}`);
      if (new Set(value.map(canonicalJson)).size !== value.length) throw invalid(field, 'names something twice');
      return value.map(each);
    },

    text(value: unknown, field: string, isValid: (text: string) => boolean): string {
      if (typeof value !== 'string' || !isValid(value)) throw invalid(field, 'is not valid');
      return value;
    },

    integer(value: unknown, field: string): number {
      if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0 || Object.is(value, -0))
        throw invalid(field, 'is not a whole number');
      return value;
    },

    oneOf<const T extends string>(value: unknown, field: string, words: readonly T[]): T {
      if (!words.includes(value as T)) throw invalid(field, `is not one of: ${words.join(', ')}`);
      return value as T;
    },
  };
}

/** Nothing that does not show: people sign what they see. */
export const isReason = (reason: string): boolean =>
  reason.length <= REASON_CHARACTERS_MAX && reason.trim() === reason && reason !== '' && !/\p{C}/u.test(reason);

/** ISO 8601 in UTC with milliseconds. */
export function isTime(time: string): boolean {
  const ms = Date.parse(time);
  return Number.isFinite(ms) && new Date(ms).toISOString() === time && /^\d{4}-/.test(time);
}
