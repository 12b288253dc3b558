/**
 * The commands of a capture, for the first people with hardware. All of them only read, and none logs in. Each names the
 * recalled texts that its output would confirm or replace.
 */
import type { PhraseName } from '../phrases.ts';

export interface CaptureStep {
  readonly line: string;
  /** Recalled texts, by their names in `phrases.json`. */
  readonly confirms: readonly PhraseName[];
  /** Recalled commands, by their names in `forms.json`. */
  readonly forms: readonly string[];
}

const step = (line: string, confirms: readonly PhraseName[] = [], forms: readonly string[] = []): CaptureStep => ({
  line,
  confirms,
  forms,
});

/** Recalled texts and commands that no capture without a login or a change can show, and what would show them. */
export const NOT_CAPTURED: Readonly<Record<string, string>> = {
  objectCount: '`partition contents`, which needs a login',
  secretKeyType: '`partition contents` of a partition with a secret key, which needs a login',
  wrongPassword: 'a login with a wrong password',
  roleLocked: 'a login to a role that is locked',
  transportMode: 'a login to a device in transport mode',
  verificationString: '`stm recover` on a device that has just arrived',
  noSpace: 'a backup into a vault without space',
  duplicate: 'a restore onto objects that are there',
  notLoggedIn: '`partition contents` without a login, in a lab',
  partitionClear: '`partition clear -force` in a lab',
  archiveContents: '`partition archive contents` with the password of a backup',
  archiveDelete: '`partition archive delete` in a lab',
};

const ROLES = ['po', 'co', 'cu', 'so'] as const;

/** The commands at one slot. A command that does not fit the slot is refused, and its refusal is wanted too. */
export function stepsAt(slot: number): CaptureStep[] {
  return [
    step(`slot set -slot ${slot}`),
    step('partition showinfo', ['fipsOn', 'transportStatus', 'fmOn', 'fmOff']),
    step('hsm showinfo', ['fipsOn', 'transportStatus', 'fmOn', 'fmOff']),
    ...ROLES.map((role) => step(`role show -name ${role}`, ['activated'])),
    step('partition showpolicies'),
    step('partition showpolicies -verbose'),
    step('hsm showpolicies'),
    step(
      `partition archive list -slot ${slot}`,
      ['archiveName', 'archiveTotal', 'archiveUsed', 'archiveObjects', 'partitionCount', 'vaultFree'],
      ['archiveList'],
    ),
  ];
}

/** A question that nobody answers can end a session, so that the command that may ask comes last. */
export const LAST_STEPS: readonly CaptureStep[] = [
  step('slot set -slot 99999'),
  step('slot list -nosuchoption'),
  step('nosuchcommand'),
  step('hagroup listgroups', ['anyPrompt']),
];

export const FIRST_STEPS: readonly CaptureStep[] = [step('slot list')];
