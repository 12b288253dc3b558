/** How a command ended, by its trailer. The exit status of the tool says nothing about a command. */
import { type Phrases, REFUSALS } from '../phrases.ts';

/** Why the tool refused. `other` stands for every reason without a known text. */
export type Refusal = (typeof REFUSALS)[number] | 'otherTool' | 'unknownCommand' | 'other';

export interface Failure {
  readonly refusal: Refusal;
  /** A symbol or a number of the device, to look up in its manual; empty if the tool gave none. */
  readonly code: string;
}

/** The text behind `Command Result :`; undefined if the line is not a trailer. */
export function trailerOf(line: string, phrases: Phrases): string | undefined {
  return phrases.trailer.pattern.exec(line)?.[1];
}

/** Undefined if the trailer reports success. */
export function failureOf(trailer: string, lines: readonly string[], phrases: Phrases): Failure | undefined {
  if (phrases.success.pattern.test(trailer)) return undefined;
  if (phrases.otherTool.pattern.test(trailer)) return { refusal: 'otherTool', code: '' };
  // Only what the tool says of itself: a label of an object could hold any of these words.
  const said = [trailer, ...lines.filter((line) => phrases.errorLine.pattern.test(line))];
  if (said.some((text) => phrases.unknownCommand.pattern.test(text.trim())))
    return { refusal: 'unknownCommand', code: '0x1' };
  const refusal = REFUSALS.find((name) => said.some((text) => phrases[name].pattern.test(text))) ?? 'other';
  const find = (name: 'symbol' | 'hexCode'): string | undefined =>
    said.map((text) => phrases[name].pattern.exec(text)?.[0]).find((found) => found !== undefined);
  return { refusal, code: find('symbol') ?? find('hexCode') ?? '' };
}

/** The refusal that one line of a move reports for one object; undefined if it reports none. */
export function refusalIn(line: string, phrases: Phrases): Refusal | undefined {
  return REFUSALS.find((name) => phrases[name].pattern.test(line));
}
