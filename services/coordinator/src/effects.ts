/**
 * Performs what the machines ask for: orders to agents, writes to the database. Every effect may be repeated, since a
 * crash can fall between its end and the record of it (I9). Transient faults are thrown and retried by the runner; what
 * does not heal by itself becomes a `failed` event.
 */
import { capture } from './effects/capture.ts';
import { EffectContext, type EffectsPorts } from './effects/context.ts';
import { drill } from './effects/drill.ts';
import { enrolment } from './effects/enrolment.ts';
import { failover, survey } from './effects/failover.ts';
import { keyRetirement } from './effects/key-retirement.ts';
import { rejoin } from './effects/rejoin.ts';
import { replication } from './effects/replication.ts';
import { type ReseatSurvey, reseat, surveyForReseat } from './effects/reseat.ts';
import { scrub } from './effects/scrub.ts';
import type { CaptureEvent } from './machines/capture.ts';
import type { DrillEffect, DrillEvent } from './machines/drill.ts';
import type { EnrolmentEffect, EnrolmentEvent } from './machines/enrolment.ts';
import type { FailoverEffect, FailoverEvent } from './machines/failover.ts';
import type { Survey } from './machines/failover-plan.ts';
import type { KeyRetirementEffect, KeyRetirementEvent } from './machines/key-retirement.ts';
import type { RejoinEvent } from './machines/rejoin.ts';
import type { ReplicationEffect, ReplicationEvent } from './machines/replication.ts';
import type { ReseatEffect, ReseatEvent } from './machines/reseat.ts';
import type { ScrubEffect, ScrubEvent } from './machines/scrub.ts';
import type { Group } from './model.ts';
import type { Intent } from './store/intents.ts';

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
