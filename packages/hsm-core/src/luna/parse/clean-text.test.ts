import { expect, it } from 'vitest';
import { cleanLine, withoutPrompts } from './clean-text.ts';

it.each([
  ['a\r', 'a'],
  ['\u001b[0;31mred\u001b[0m', 'red'],
  ['\u001b]0;title\u0007text', 'text'],
  ['passs\bword', 'password'],
  ['ab\b\bcd', 'cd'],
  ['nul\u0000', 'nul'],
  ['tab\tstays', 'tab\tstays'],
])('%j is read as %j', (line, text) => {
  expect(cleanLine(line)).toBe(text);
});

it.each([
  ['lunacm:>    Slot Id -> 0', '   Slot Id -> 0'],
  ['lunacm:>lunacm:>x', 'x'],
  ['  Label: lunacm:>', '  Label: lunacm:>'],
])('%j without prompts is %j', (line, text) => {
  expect(withoutPrompts(line)).toBe(text);
});
