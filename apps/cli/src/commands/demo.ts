import { AntipodeError } from '@antipode/runtime';
import type { Command } from 'commander';
import { Demo } from '../demo/demo.ts';
import { Story } from '../demo/story.ts';
import { EXIT, exitCodeOf } from '../exit-codes.ts';
import { printError } from '../output.ts';
import { command } from './common.ts';

export function demoCommand(): Command {
  return command('demo', 'three sites on this machine: replicate, prove, lose a site, carry on', [
    'demo',
    'demo --json',
    'demo --keep',
  ])
    .option('--json', 'as its last line, one JSON object with what was measured; the story goes to standard error')
    .option('--keep', 'leave the folder with configuration, logs and tokens')
    .action(async ({ json, keep }) => {
      const story = new Story({ write: (text) => (json ? process.stderr : process.stdout).write(`${text}\n`) });
      const demo = new Demo({ story });
      let interrupted = false;
      const stop = (): void => {
        interrupted = true;
        void demo.close({ keep: keep === true }).finally(() => process.exit(EXIT.interrupted));
      };
      process.once('SIGINT', stop);
      process.once('SIGTERM', stop);
      try {
        const result = await demo.run();
        story.say(
          `\nDone in ${(story.elapsedMs / 1_000).toFixed(1)} s. Nothing that was acknowledged is lost: ${result.lost} of ${result.keys.captured + result.replication.secondRoundObjects}.`,
        );
        if (json) process.stdout.write(`${JSON.stringify(result)}\n`);
        const holds = result.lost === 0 && result.drill.failed === 0 && result.verifiedByOpenssl && result.rejoined;
        if (!holds) process.exitCode = EXIT.verificationFailed;
      } catch (thrown) {
        if (interrupted) return;
        const error = AntipodeError.from(thrown);
        story.say(`\nFailed at: ${story.step}`);
        printError(error, { json: json === true });
        process.exitCode = exitCodeOf(error);
      } finally {
        if (!interrupted) {
          await demo.close({ keep: keep === true });
          if (keep) story.say(`Everything is kept in ${demo.folder}`);
        }
      }
    });
}
