/**
 * Performs what the machines ask for: orders to agents, writes to the database. Every effect may be repeated, since a
 * crash can fall between its end and the record of it (I9). Transient faults are thrown and retried by the runner; what
 * does not heal by itself becomes a `failed` event.
 */

import type { Group } from '../model.ts';
import type { Intent } from '../store/tables/intents.ts';
import { capture } from './capture/effects.ts';
import type { CaptureEvent } from './capture/machine.ts';
import { EffectContext, type EffectsPorts } from './context.ts';
import { drill } from './drill/effects.ts';
import type { DrillEffect, DrillEvent } from './drill/machine.ts';
import { enrolment } from './enrolment/effects.ts';
import type { EnrolmentEffect, EnrolmentEvent } from './enrolment/machine.ts';
import { failover, survey } from './failover/effects.ts';
import type { FailoverEffect, FailoverEvent } from './failover/machine.ts';
import type { Survey } from './failover/plan.ts';
import { keyRetirement } from './key-retirement/effects.ts';
import type { KeyRetirementEffect, KeyRetirementEvent } from './key-retirement/machine.ts';
import { rejoin } from './rejoin/effects.ts';
import type { RejoinEvent } from './rejoin/machine.ts';
import { replication } from './replication/effects.ts';
import type { ReplicationEffect, ReplicationEvent } from './replication/machine.ts';
import { type ReseatSurvey, reseat, surveyForReseat } from './reseat/effects.ts';
import type { ReseatEffect, ReseatEvent } from './reseat/machine.ts';
import { scrub } from './scrub/effects.ts';
import type { ScrubEffect, ScrubEvent } from './scrub/machine.ts';

export type { EffectsPorts };

/** One method for each kind of intent. */
export class Effects {
  readonly #context: EffectContext;

  constructor(ports: EffectsPorts) {
    this.#context = new EffectContext(ports);
  }

  enrolment(intent: Intent, effect: EnrolmentEffect): Promise<EnrolmentEvent> {
    return enrolment(this.#context, intent, effect);
  }

  capture(intent: Intent): Promise<CaptureEvent> {
    return capture(this.#context, intent);
  }

  replication(intent: Intent, effect: ReplicationEffect): Promise<ReplicationEvent> {
    return replication(this.#context, intent, effect);
  }

  drill(intent: Intent, effect: DrillEffect): Promise<DrillEvent> {
    return drill(this.#context, intent, effect);
  }

  scrub(intent: Intent, effect: ScrubEffect): Promise<ScrubEvent> {
    return scrub(this.#context, intent, effect);
  }

  rejoin(intent: Intent): Promise<RejoinEvent> {
    return rejoin(this.#context, intent);
  }

  failover(intent: Intent, effect: FailoverEffect): Promise<FailoverEvent> {
    return failover(this.#context, intent, effect);
  }

  reseat(intent: Intent, effect: ReseatEffect): Promise<ReseatEvent> {
    return reseat(this.#context, intent, effect);
  }

  keyRetirement(intent: Intent, effect: KeyRetirementEffect): Promise<KeyRetirementEvent> {
    return keyRetirement(this.#context, intent, effect);
  }

  /** For a plan that is only shown. */
  surveyForReseat(group: Group, wanted: string): Promise<ReseatSurvey> {
    return surveyForReseat(this.#context, group, wanted);
  }

  /** For a plan that is only shown. */
  survey(group: Group): Promise<Survey> {
    return survey(this.#context, group);
  }
}
