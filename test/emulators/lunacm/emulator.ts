/**
 * Behaves as `lunacm` is known to behave. Its state is the folder that `ChrystokiConfigurationPath` names. So a caller
 * starts it exactly as it would start the real tool.
 */
import { readFileSync } from 'node:fs';
import * as archive from './commands/archive.ts';
import { listGroups } from './commands/hagroup.ts';
import * as hsm from './commands/hsm.ts';
import * as partition from './commands/partition.ts';
import * as role from './commands/role.ts';
import * as setup from './commands/setup.ts';
import * as slot from './commands/slot.ts';
import { Refused, Run } from './run.ts';
import type { Terminal } from './terminal.ts';
import { maskedLine, type Typed, typedOf, wordsOf } from './words.ts';

type Work = (run: Run, options: ReadonlyMap<string, string>) => void | Promise<void>;

const WORK: Readonly<Record<string, Work>> = {
  'slot list': (run) => slot.printSlots(run),
  'slot set': slot.slotSet,
  'role login': role.roleLogin,
  'role logout': (run) => role.roleLogout(run),
  'role show': role.roleShow,
  'role list': (run) => role.roleList(run),
  'role init': role.roleInit,
  'role changepw': role.roleChangePassword,
  'hsm init': hsm.init,
  'hsm changehsmpolicy': hsm.changePolicy,
  'stm recover': hsm.recover,
  'stm transport': hsm.transport,
  'hsm showinfo': (run) => partition.hsmShowInfo(run),
  'hsm showpolicies': (run) => partition.showPolicies(run, 'hsm'),
  'partition showinfo': (run) => partition.showInfo(run),
  'partition showpolicies': (run) => partition.showPolicies(run, 'partition'),
  'partition contents': (run) => partition.contents(run),
  'partition clear': partition.clear,
  'partition clone': archive.clone,
  'partition smkclone': setup.cloneMaskingKey,
  'partition init': setup.init,
  'partition create': setup.create,
  'partition archive backup': archive.backup,
  'partition archive restore': archive.restore,
  'partition archive list': archive.list,
  'partition archive contents': archive.contents,
  'partition archive delete': archive.remove,
  'hagroup listgroups': (run) => listGroups(run),
};

/** Reported once for a session without slots; healthy sessions end with 0. */
const STATUS_NO_SLOTS = 12;

/** Runs the tool with its arguments, to its exit status. */
export async function emulate(folder: string, words: readonly string[], terminal: Terminal): Promise<number> {
  const run = new Run(folder, terminal);
  try {
    return await start(run, words);
  } finally {
    run.output.flush();
    run.logTexts();
  }
}

async function start(run: Run, words: readonly string[]): Promise<number> {
  const [option, ...rest] = words;
  if (option === undefined) return interact(run, () => run.terminal.readLine());
  if (option === '-f' && rest.length === 1) {
    const lines = readFileSync(rest[0]!, 'ascii').split('\n').values();
    return interact(run, async () => lines.next().value);
  }
  if ((option === '-q' || option === '-c') && rest.length > 0) {
    run.slot = run.devices.read().slots[0]?.slot;
    await perform(run, rest);
    return 0;
  }
  if (option === '-s' && /^\d+$/.test(rest[0] ?? '') && rest.length > 1) {
    run.slot = Number(rest[0]);
    await perform(run, rest.slice(1));
    return 0;
  }
  run.say('misuse');
  return 1;
}

async function interact(run: Run, next: () => Promise<string | undefined>): Promise<number> {
  run.beginCommand('start');
  await run.at(0);
  const { partitions } = run.devices.read();
  // One dead appliance delays every start.
  for (const { isReachable } of partitions) if (!isReachable) await run.terminal.sleep(run.settings.receiveMs);
  run.say('banner');
  run.output.line();
  slot.printSlots(run);
  const { prompt, echo } = run.dialect.settings;
  for (;;) {
    run.output.raw(prompt);
    const line = await next();
    if (line === undefined) {
      if (run.settings.atEnd === 'hang') await run.terminal.hang();
      break;
    }
    if (echo && !run.terminal.isTerminal) run.output.line(line);
    await repeat(run, prompt);
    const words = wordsOf(line);
    if (words.length === 0) continue;
    if (typedOf(words)?.command === 'exit') {
      run.beginCommand('exit');
      await run.at(0);
      break;
    }
    await perform(run, words);
  }
  return run.slot === undefined ? STATUS_NO_SLOTS : 0;
}

async function repeat(run: Run, prompt: string): Promise<void> {
  const { repeatMs } = run;
  if (repeatMs === undefined) return;
  run.repeatMs = undefined;
  run.output.line();
  run.say('ok');
  run.output.line();
  run.output.raw(prompt);
  run.output.flush();
  await run.terminal.sleep(repeatMs);
}

async function perform(run: Run, words: readonly string[]): Promise<void> {
  const typed = typedOf(words);
  run.log({ typed: maskedLine(words), command: typed?.command });
  if (typed === undefined) {
    run.say('unknownCommand');
    run.output.line();
    run.say('failure', { code: '1', symbol: 'Unknown command' });
    return;
  }
  await trailed(run, typed);
  run.output.line();
}

async function trailed(run: Run, { command, options }: Typed): Promise<void> {
  run.beginCommand(command);
  run.output.line();
  try {
    const early = await run.at(0);
    if (early instanceof Refused) throw early;
    await WORK[command]!(run, options);
    await run.at('end');
    run.output.line();
    run.say('ok');
  } catch (cause) {
    if (!(cause instanceof Refused)) throw cause;
    const symbol = run.symbolOf(cause);
    const { dialect, settings } = run;
    const trailer = dialect.text('failure', { code: codeOf(symbol), symbol });
    run.output.error([dialect.text('errorLine', { symbol }), '', trailer], settings.errorsTo);
  }
}

/** Some number for each symbol: the real ones are known for few. */
const codeOf = (symbol: string): string =>
  [...symbol].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 0xffffff, 7).toString(16);
