/** The needs of every job of the driver, and the shape of a run: select, log in, act, leave. */
import { AntipodeError, type Clock } from '@antipode/runtime';
import type { PartitionAddress } from '../approvals.ts';
import { type Login, logIn } from '../login.ts';
import { LunacmSession } from '../lunacm-session.ts';
import type { Phrases } from '../phrases.ts';
import { type Selected, type Shown, select } from '../selection.ts';
import { Transcript, type TranscriptSink } from '../transcript.ts';
import type { ClientSettings } from '../transport/limits.ts';
import type { ToolLauncher } from '../transport/tool-process.ts';

/** How one client behaves, where nobody has confirmed it for all. */
export interface DriverProfile {
  /** `block`: the tool writes nothing until it ends, unless a terminal reads it. */
  readonly buffering: 'line' | 'block';
  /** `prompt`: passwords are typed into a terminal where the tool asks for them, and are on no command line. */
  readonly passwords: 'option' | 'prompt';
  /** With fewer attempts of a role left, none is made. */
  readonly attemptsFloor: number;
}

export const DEFAULT_PROFILE: DriverProfile = { buffering: 'line', passwords: 'option', attemptsFloor: 3 };

export interface JobPorts {
  readonly launcher: ToolLauncher;
  readonly clock: Clock;
  readonly phrases: Phrases;
  readonly settings: ClientSettings;
  readonly profile: DriverProfile;
  /**
   * Where the record of attempts is: the same folder as for logins through PKCS#11. Agents that reach one device share it,
   * since a device counts the attempts of all of them.
   */
  readonly stateFolder: string;
  /** Locks of devices and of records. Agents that share `stateFolder` share it too. */
  readonly lockFolder: string;
  readonly transcripts: TranscriptSink;
  /** Called at once when a device waits for people. */
  readonly onPed: (event: { job: string }) => void;
}

export interface Run {
  readonly session: LunacmSession;
  select(address: PartitionAddress, shown: Shown): Promise<Selected>;
  logIn(login: Login, address: PartitionAddress): Promise<void>;
}

/**
 * One run of the tool. `work` sends its commands. Whatever came of it, the run is left afterwards, and its transcript is
 * kept.
 * @throws LUNA_UNREACHED, LUNA_OUTPUT_UNCLEAR, and what `work` throws
 */
export async function inRun<T>(
  job: string,
  ports: JobPorts,
  work: (run: Run) => Promise<T>,
): Promise<{ result: T; isSound: boolean }> {
  const { launcher, clock, phrases, settings, profile, stateFolder, lockFolder, transcripts } = ports;
  const isTerminal = profile.buffering === 'block' || profile.passwords === 'prompt';
  const transcript = new Transcript();
  let session: LunacmSession | undefined;
  try {
    session = await LunacmSession.open({
      process: launcher.launch(isTerminal ? 'terminal' : 'pipe'),
      clock,
      phrases,
      transcript,
      limits: settings.limits,
      onPed: () => ports.onPed({ job }),
    });
    const opened = session;
    const result = await work({
      session: opened,
      select: (address, shown) => select(opened, address, { phrases, shown, isHaOnly: settings.isHaOnly }),
      logIn: (login, { serial }) =>
        logIn(opened, {
          ...{ login, serial, stateFolder, lockFolder, phrases },
          isPrompted: profile.passwords === 'prompt',
          attemptsFloor: profile.attemptsFloor,
        }),
    });
    const { isSound } = await session.close();
    return { result, isSound };
  } finally {
    session?.abandon();
    transcripts.keep(job, transcript.text());
  }
}

/** A run that only reads: nothing that it read holds if its answers and its commands do not agree in number. */
export async function inReadingRun<T>(job: string, ports: JobPorts, work: (run: Run) => Promise<T>): Promise<T> {
  const { result, isSound } = await inRun(job, ports, work);
  if (isSound) return result;
  throw new AntipodeError('LUNA_OUTPUT_UNCLEAR', 'lunacm answered more often than it was asked', {
    hint: 'A label with a line break in it can look like an answer. Rename such objects. Nothing was concluded.',
  });
}
