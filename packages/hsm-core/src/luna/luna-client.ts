/** One Luna client as a site has it: its tool, its folders, and how the tool behaves. Everything local to the site. */
import { join } from 'node:path';
import { AntipodeError, type Clock } from '@antipode/runtime';
import type { DriverProfile, JobPorts } from './jobs/job-ports.ts';
import { readPhrases } from './phrases.ts';
import { TranscriptFolder } from './transcript.ts';
import { Launcher } from './transport/launcher.ts';
import { readClientSettings } from './transport/limits.ts';
import type { ToolLauncher, ToolProcess } from './transport/tool-process.ts';

export interface LunaClient extends DriverProfile {
  /** Path of `lunacm`. */
  readonly lunacm: string;
  /** The folder of `Chrystoki.conf`. */
  readonly configuration: string;
  /** Records of logins that failed. Agents that reach one device share the folder, since a device counts for all. */
  readonly records: string;
  /** Locks of devices and of records, shared like `records`. */
  readonly locks: string;
  /** Files of this agent alone: transcripts, and what a job needs while it runs. */
  readonly folder: string;
  /** For the tool only. Never a password. */
  readonly environment: Readonly<Record<string, string>>;
}

/** A key that its device never copies is asked for again and again, and each time leaves some transcripts. */
const TRANSCRIPTS_MAX = 1_000;

export interface ClientOptions {
  readonly clock: Clock;
  /** Names what works with this client at the same time as others: each has job files of its own. */
  readonly worker: string;
  readonly onPed?: (event: { job: string }) => void;
  /** Called at each output of the tool: it is alive. */
  readonly onOutput?: () => void;
  /** Ends the tool wherever it is, and starts none any more. */
  readonly signal?: AbortSignal | undefined;
}

/** The ports of a driver of this client. @throws FILE_UNWRITABLE, CONFIG_INVALID */
export function jobPortsOf(client: LunaClient, options: ClientOptions): JobPorts {
  const { lunacm, configuration, records, locks, folder, environment } = client;
  const { clock, worker, onPed = () => {}, onOutput = () => {}, signal } = options;
  const { buffering, passwords, attemptsFloor } = client;
  const launcher = new Launcher({
    ...{ program: lunacm, configuration, environment },
    jobs: join(folder, 'jobs', worker),
  });
  return {
    launcher: ending(heard(launcher, onOutput), signal),
    clock,
    phrases: readPhrases(),
    settings: readClientSettings(configuration),
    profile: { buffering, passwords, attemptsFloor },
    stateFolder: records,
    lockFolder: locks,
    transcripts: new TranscriptFolder({ folder: join(folder, 'transcripts'), clock, filesMax: TRANSCRIPTS_MAX }),
    onPed,
  };
}

function ending(launcher: ToolLauncher, signal: AbortSignal | undefined): ToolLauncher {
  if (signal === undefined) return launcher;
  const until = (launch: () => ToolProcess): ToolProcess => {
    if (signal.aborted) throw new AntipodeError('LUNA_UNREACHED', 'the job was ended, so lunacm is not started');
    const process = launch();
    const kill = (): void => process.kill();
    signal.addEventListener('abort', kill, { once: true });
    void process.ended.then(() => signal.removeEventListener('abort', kill));
    return process;
  };
  return {
    launch: (way) => until(() => launcher.launch(way)),
    launchFile: (commands) => until(() => launcher.launchFile(commands)),
  };
}

function heard(launcher: ToolLauncher, onOutput: () => void): ToolLauncher {
  const listened = (process: ReturnType<ToolLauncher['launch']>): typeof process => ({
    ended: process.ended,
    read: (onBytes) =>
      process.read((bytes) => {
        onOutput();
        onBytes(bytes);
      }),
    write: (bytes) => process.write(bytes),
    endInput: () => process.endInput(),
    kill: () => process.kill(),
    dispose: () => process.dispose(),
  });
  return {
    launch: (way) => listened(launcher.launch(way)),
    launchFile: (commands) => listened(launcher.launchFile(commands)),
  };
}
