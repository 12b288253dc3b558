/**
 * All kinds of operations. A new kind is added here: its machine, its effects, the number of attempts, and the meaning of
 * each phase. docs/howto/operation.md shows the way.
 */
import { archive } from './archive/effects.ts';
import { type ArchiveEffect, type ArchiveEvent, type ArchiveState, decideArchive } from './archive/machine.ts';
import { archiveOutcome } from './archive/outcome.ts';
import { capture } from './capture/effects.ts';
import { type CaptureEffect, type CaptureEvent, type CaptureState, decideCapture } from './capture/machine.ts';
import { captureOutcome } from './capture/outcome.ts';
import { divergence } from './divergence/effects.ts';
import {
  type DivergenceEffect,
  type DivergenceEvent,
  type DivergenceState,
  decideDivergence,
} from './divergence/machine.ts';
import { divergenceOutcome } from './divergence/outcome.ts';
import { domainKey } from './domain-key/effects.ts';
import {
  type DomainKeyEffect,
  type DomainKeyEvent,
  type DomainKeyState,
  decideDomainKey,
} from './domain-key/machine.ts';
import { domainKeyOutcome } from './domain-key/outcome.ts';
import { drill } from './drill/effects.ts';
import { type DrillEffect, type DrillEvent, type DrillState, decideDrill } from './drill/machine.ts';
import { drillOutcome } from './drill/outcome.ts';
import { failover } from './failover/effects.ts';
import { decideFailover, type FailoverEffect, type FailoverEvent, type FailoverState } from './failover/machine.ts';
import { failoverOutcome } from './failover/outcome.ts';
import { keyRetirement } from './key-retirement/effects.ts';
import {
  decideKeyRetirement,
  type KeyRetirementEffect,
  type KeyRetirementEvent,
  type KeyRetirementState,
} from './key-retirement/machine.ts';
import { keyRetirementOutcome } from './key-retirement/outcome.ts';
import type { Kind } from './kind.ts';
import { memberJoin } from './member-join/effects.ts';
import {
  decideMemberJoin,
  type MemberJoinEffect,
  type MemberJoinEvent,
  type MemberJoinState,
} from './member-join/machine.ts';
import { rejoin } from './rejoin/effects.ts';
import { decideRejoin, type RejoinEffect, type RejoinEvent, type RejoinState } from './rejoin/machine.ts';
import { replication } from './replication/effects.ts';
import {
  decideReplication,
  type ReplicationEffect,
  type ReplicationEvent,
  type ReplicationState,
} from './replication/machine.ts';
import { replicationOutcome } from './replication/outcome.ts';
import { reseat } from './reseat/effects.ts';
import { decideReseat, type ReseatEffect, type ReseatEvent, type ReseatState } from './reseat/machine.ts';
import { reseatOutcome } from './reseat/outcome.ts';
import { scrub } from './scrub/effects.ts';
import { decideScrub, type ScrubEffect, type ScrubEvent, type ScrubState } from './scrub/machine.ts';
import { scrubOutcome } from './scrub/outcome.ts';

/** How long a site may take to restart before a drill or a scrub that did not run counts as failed. */
const RESTART_MS = 10 * 60_000;

export const KINDS = {
  'domain-key': {
    decide: decideDomainKey,
    perform: domainKey,
    outcome: domainKeyOutcome,
    phases: {
      due: 'open',
      seating: 'open',
      distributing: 'open',
      'taking-up': 'open',
      'awaiting-officers': 'parked',
      complete: 'done',
      incomplete: 'parked',
    },
    attemptsMax: 10,
  } satisfies Kind<DomainKeyState, DomainKeyEvent, DomainKeyEffect>,

  capture: {
    decide: decideCapture,
    perform: capture,
    outcome: captureOutcome,
    phases: { due: 'open', capturing: 'open', captured: 'done', abandoned: 'failed' },
    attemptsMax: 20,
    isRoutine: true,
  } satisfies Kind<CaptureState, CaptureEvent, CaptureEffect>,

  replication: {
    decide: decideReplication,
    perform: replication,
    outcome: replicationOutcome,
    phases: {
      due: 'open',
      applying: 'open',
      verifying: 'open',
      acknowledging: 'open',
      acknowledged: 'done',
      withdrawing: 'open',
      abandoned: 'failed',
    },
    attemptsMax: 20,
  } satisfies Kind<ReplicationState, ReplicationEvent, ReplicationEffect>,

  drill: {
    decide: decideDrill,
    perform: drill,
    outcome: drillOutcome,
    phases: { planned: 'open', restoring: 'open', recording: 'open', passed: 'done', failed: 'failed' },
    attemptsMax: 6,
    patienceMs: RESTART_MS,
  } satisfies Kind<DrillState, DrillEvent, DrillEffect>,

  archive: {
    decide: decideArchive,
    perform: archive,
    outcome: archiveOutcome,
    phases: { due: 'open', working: 'open', recording: 'open', finished: 'done', away: 'done', failed: 'failed' },
    attemptsMax: 6,
  } satisfies Kind<ArchiveState, ArchiveEvent, ArchiveEffect>,

  scrub: {
    decide: decideScrub,
    perform: scrub,
    outcome: scrubOutcome,
    phases: { due: 'open', scrubbing: 'open', recording: 'open', passed: 'done', failed: 'failed' },
    attemptsMax: 6,
    patienceMs: RESTART_MS,
  } satisfies Kind<ScrubState, ScrubEvent, ScrubEffect>,

  divergence: {
    decide: decideDivergence,
    perform: divergence,
    outcome: divergenceOutcome,
    phases: {
      due: 'open',
      offering: 'open',
      merging: 'open',
      capturing: 'open',
      recording: 'open',
      shown: 'done',
      settled: 'done',
      abandoned: 'failed',
    },
    attemptsMax: 6,
  } satisfies Kind<DivergenceState, DivergenceEvent, DivergenceEffect>,

  failover: {
    decide: decideFailover,
    perform: failover,
    outcome: failoverOutcome,
    phases: {
      requested: 'open',
      fetching: 'open',
      'catching-up': 'open',
      issuing: 'open',
      'handing-over': 'open',
      fencing: 'open',
      promoting: 'open',
      publishing: 'open',
      complete: 'done',
      aborted: 'failed',
    },
    attemptsMax: Number.POSITIVE_INFINITY,
  } satisfies Kind<FailoverState, FailoverEvent, FailoverEffect>,

  rejoin: {
    decide: decideRejoin,
    perform: rejoin,
    phases: { due: 'open', rejoining: 'open', rejoined: 'done', abandoned: 'failed' },
    attemptsMax: 20,
  } satisfies Kind<RejoinState, RejoinEvent, RejoinEffect>,

  'member-join': {
    decide: decideMemberJoin,
    perform: memberJoin,
    phases: { due: 'open', joining: 'open', joined: 'done', abandoned: 'failed' },
    attemptsMax: Number.POSITIVE_INFINITY,
  } satisfies Kind<MemberJoinState, MemberJoinEvent, MemberJoinEffect>,

  reseat: {
    decide: decideReseat,
    perform: reseat,
    outcome: reseatOutcome,
    phases: { due: 'open', reseating: 'open', reseated: 'done', abandoned: 'failed' },
    attemptsMax: 4,
  } satisfies Kind<ReseatState, ReseatEvent, ReseatEffect>,

  'key-retirement': {
    decide: decideKeyRetirement,
    perform: keyRetirement,
    outcome: keyRetirementOutcome,
    phases: { due: 'open', retiring: 'open', recording: 'open', retired: 'done', failed: 'failed' },
    attemptsMax: 6,
  } satisfies Kind<KeyRetirementState, KeyRetirementEvent, KeyRetirementEffect>,
} as const;

export type IntentKind = keyof typeof KINDS;

export const INTENT_KINDS = Object.keys(KINDS) as IntentKind[];

/** A table of kinds, for what treats all kinds alike. */
export type Kinds = Readonly<Record<string, Kind>>;
