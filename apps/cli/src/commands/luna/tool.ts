/** The vendor's tool of this machine, for commands that only read. Nothing is kept but what a command writes itself. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { JobPorts } from '@antipode/hsm-core/luna';
import { AntipodeError, systemClock, temporaryBase } from '@antipode/runtime';
import type { Command } from 'commander';
import { Option } from 'commander';

const PROGRAMS = ['/usr/safenet/lunaclient/bin/lunacm', '/opt/safenet/lunaclient/bin/lunacm'];

export interface ToolOptions {
  readonly lunacm?: string;
  readonly clientConfig?: string;
  /** Beside the environment of this process. */
  readonly environment?: Readonly<Record<string, string>>;
  readonly buffering: 'line' | 'block';
}

export function withToolOptions(made: Command): Command {
  return made
    .option('--lunacm <file>', `the vendor's program (default: ${PROGRAMS.join(' or ')})`)
    .option('--client-config <folder>', 'the folder of Chrystoki.conf (default: $ChrystokiConfigurationPath or /etc)')
    .addOption(
      new Option('--buffering <way>', 'block: the program prints nothing until it ends, unless a terminal reads it')
        .choices(['line', 'block'])
        .default('line'),
    );
}

/** @throws PROGRAM_MISSING, and what `work` throws */
export async function withTool<T>(options: ToolOptions, work: (ports: JobPorts) => Promise<T>): Promise<T> {
  const luna = await import('@antipode/hsm-core/luna');
  const program = options.lunacm ?? PROGRAMS.find(existsSync);
  if (program === undefined || !existsSync(program))
    throw new AntipodeError('PROGRAM_MISSING', `lunacm is not there: ${program ?? PROGRAMS.join(', ')}`, {
      details: { program: 'lunacm' },
      hint: 'Install the vendor client, or name its program with --lunacm.',
    });
  const configuration = options.clientConfig ?? process.env['ChrystokiConfigurationPath'] ?? '/etc';
  const folder = mkdtempSync(join(temporaryBase(), 'antipode-luna-'));
  try {
    return await work({
      launcher: new luna.Launcher({
        program,
        configuration,
        jobs: join(folder, 'jobs'),
        environment: { ...passedOn(), ...options.environment },
      }),
      clock: systemClock,
      phrases: luna.readPhrases(),
      settings: luna.readClientSettings(configuration),
      profile: { ...luna.DEFAULT_PROFILE, buffering: options.buffering },
      stateFolder: folder,
      lockFolder: folder,
      transcripts: { keep: () => {} },
      onPed: () => {},
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The environment, which the program may need. */
function passedOn(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}
