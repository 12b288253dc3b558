import type { Demonstration, Outcome, Story } from '@antipode/demo';
import { AntipodeError, silentLog, systemClock } from '@antipode/runtime';
import type { Command } from 'commander';
import { EXIT, exitCodeOf } from '../exit-codes.ts';
import { follow, withOperator } from '../operator-connection.ts';
import { command } from '../options/options.ts';
import { duration, isUnread, printError } from '../output.ts';
import { replicateOnce } from './operator/replicate.ts';

/** Long enough for a signal that has been sent to be seen by us. */
const SIGNAL_MS = 50;

export function demoCommand(): Command {
  return command('demo', 'run three sites on this machine: replicate, prove, lose a site, carry on', [
    'demo',
    'demo --json',
    'demo --keep',
    'demo --luna',
  ])
    .option(
      '--luna',
      'tell the story of keys that no token wraps: emulated Thales Luna HSMs copy them, and a vault keeps backups',
    )
    .option('--json', 'print one JSON object with the measurements as the last line; the story goes to standard error')
    .option('--keep', 'keep the folder with configuration, logs and tokens')
    .addHelpText(
      'after',
      `\nExits with ${EXIT.ok} only if everything held. Otherwise it names the step that failed.
With --luna the HSMs are emulated, and nothing is tried on hardware. It needs the sources of Antipode, which have the
emulator, and keytool of Java.`,
    )
    .action(async ({ json = false, keep = false, luna = false }) => {
      // The demonstration is made of everything; no other command should load it.
      const [{ Demo, LunaDemo, Story }, coordinator] = await Promise.all([
        import('@antipode/demo'),
        import('@antipode/coordinator'),
      ]);
      const serveDatabase = (dataFolder: string) => coordinator.serveDatabase({ dataFolder, log: silentLog });
      const story = new Story({ write: (text) => (json ? process.stderr : process.stdout).write(`${text}\n`) });
      const commands = { withOperator, follow, replicateOnce, serveDatabase, duration };
      const demo = luna ? new LunaDemo({ story, commands }) : new Demo({ story, commands });
      const interruption = closeWhenInterrupted(demo, { story, keep });
      try {
        const result = await demo.run();
        report(result, { demo, story, json });
      } catch (thrown) {
        // Ctrl-C also reaches the programs we wait for: their failure is seen before our own signal.
        await systemClock.sleep(SIGNAL_MS);
        if (interruption.isUnderWay()) return await interruption.end;
        const error = AntipodeError.from(thrown);
        story.say(`\nFailed at: ${story.step || 'the start'}`);
        printError(error, { json });
        if (json) printFailure({ step: story.step, code: error.code, message: error.message });
        process.exitCode = exitCodeOf(error);
      } finally {
        // It ends the process itself, once everything is closed.
        if (interruption.isUnderWay()) await interruption.end;
        await demo.close({ keep });
        if (keep) story.say(`Everything is kept in ${demo.folder}`);
      }
    });
}

/** Says how it ended, and sets the exit code. */
function report(result: Outcome, { demo, story, json }: { demo: Demonstration; story: Story; json: boolean }): void {
  const { ok, acknowledged, lost } = result;
  const took = `in ${(story.elapsedMs / 1_000).toFixed(1)} s`;
  if (ok) {
    story.say(`\nDone ${took}. Nothing that was acknowledged is lost: ${lost} of ${acknowledged}.`);
  } else {
    for (const { step, what } of demo.unmet) story.say(`\nFailed at: ${step}\n      ${what}`);
    story.say(`\nEnded ${took}, and not as it should. Lost: ${lost} of ${acknowledged}.`);
    process.exitCode = EXIT.verificationFailed;
  }
  if (json) process.stdout.write(`${JSON.stringify(result)}\n`);
}

/** The last line for programs where there is no result. */
function printFailure(failure: { step: string; code: string; message: string }): void {
  process.stdout.write(`${JSON.stringify({ ok: false, ...failure })}\n`);
}

/**
 * Ctrl-C, however often, SIGTERM, a closed terminal and a closed pipe end the demonstration, and end it cleanly: every
 * process first, then the folder.
 */
function closeWhenInterrupted(
  demo: Demonstration,
  { story, keep }: { story: Story; keep: boolean },
): { isUnderWay: () => boolean; end: Promise<never> } {
  let isUnderWay = false;
  const stop = (): void => {
    if (isUnderWay) return;
    isUnderWay = true;
    story.say('\nInterrupted: ending every process, then removing what was made ...');
    void demo.close({ keep }).finally(() => process.exit(EXIT.interrupted));
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error) => {
      if (isUnread(error)) stop();
    });
  return { isUnderWay: () => isUnderWay, end: new Promise(() => {}) };
}
