/** The question before something that is hard to take back. */
import { createInterface } from 'node:readline/promises';
import { confirmationQuestion, requireTyped } from '@antipode/operator';
import { AntipodeError } from '@antipode/runtime';

/** @throws USAGE when it is not confirmed, and when there is no terminal to ask at */
export async function confirm(name: string, what = 'the group'): Promise<void> {
  if (!process.stdin.isTTY)
    throw new AntipodeError('USAGE', 'there is no terminal to ask for confirmation; nothing was changed', {
      details: { field: 'yes' },
      hint: 'Read what the command is about to do. To confirm it without a question, add --yes.',
    });
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await new Promise<string | undefined>((resolve) => {
      // Ctrl-C and Ctrl-D close it, and leave the question without an answer.
      prompt.once('close', () => resolve(undefined));
      prompt.question(`${confirmationQuestion(what)}: `).then(resolve, () => resolve(undefined));
    });
    requireTyped(answer, { name, what });
  } finally {
    prompt.close();
  }
}

/** Asks for a text. @throws USAGE when there is no terminal to ask at, naming the option that gives it */
export async function ask(question: string, { option }: { option: string }): Promise<string> {
  if (!process.stdin.isTTY)
    throw new AntipodeError('USAGE', `there is no terminal to ask at; expected ${option}`, {
      details: { field: option.replace(/^-+/, '') },
      hint: `Give the answer with ${option}.`,
    });
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return await new Promise<string>((resolve) => {
      prompt.once('close', () => resolve(''));
      prompt.question(question).then(resolve, () => resolve(''));
    });
  } finally {
    prompt.close();
  }
}
