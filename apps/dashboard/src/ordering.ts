/**
 * Orders from the page. Each has two steps. The plan says what the order would do, and is kept here. The order names that
 * plan, so exactly what was shown is ordered, with the name typed where the command asks for it. This server refuses the
 * orders of a viewer, and the coordinator judges all of them again.
 */
import {
  confirmationQuestion,
  DRILL_MEANING,
  orderMove,
  PAUSE_MEANING,
  type PlannedMove,
  planMove,
  RESUME_MEANING,
  readApproval,
  requireAcceptance,
  requireTyped,
  spokenDigest,
} from '@antipode/operator';
import { approvalText, type Client, type OperatorService, signedBytesOf } from '@antipode/protocol';
import { AntipodeError, type Clock, type Prng, uuidFrom } from '@antipode/runtime';
import type { Plan, Viewer } from './model/entries.ts';
import { type Call, type Routes, textIn } from './server/server.ts';

/** Signs approvals for one operator. */
export interface Approver {
  readonly name: string;
  sign(bytes: Uint8Array): Promise<Uint8Array>;
}

export interface OrderPorts {
  readonly operator: Client<typeof OperatorService>;
  readonly clock: Clock;
  readonly prng: Prng;
  readonly viewer: Viewer;
  readonly approver: Approver | undefined;
}

/** After that, another plan could say something else. */
const PLAN_MS_MAX = 5 * 60_000;
const PLANS_MAX = 64;

interface Consent {
  readonly acceptLoss: boolean;
  /** For the next person who looks. */
  readonly reason: string;
}

interface Kept {
  readonly plan: Plan;
  readonly madeMs: number;
  /** @returns the operation to follow; empty where there is none */
  readonly carryOut: (consent: Consent) => Promise<string>;
}

type Draft = Omit<Plan, 'id' | 'mayOrder' | 'whyNot'>;

export class Orders {
  readonly #ports: OrderPorts;
  readonly #kept = new Map<string, Kept>();

  constructor(ports: OrderPorts) {
    this.#ports = ports;
  }

  get routes(): Routes {
    return {
      'POST /api/plan': (call) => this.#plan(call),
      'POST /api/order': (call) => this.#order(call),
    };
  }

  async #plan({ body }: Call): Promise<Plan> {
    const kind = textIn(body, 'kind');
    const make = Object.hasOwn(this.#kinds, kind) ? this.#kinds[kind] : undefined;
    if (make === undefined)
      throw new AntipodeError(
        'REQUEST_INVALID',
        `expected one of ${Object.keys(this.#kinds).join(', ')}, found another kind`,
        {
          details: { field: 'kind' },
        },
      );
    const { draft, carryOut } = await make(body);
    const { clock, prng, viewer } = this.#ports;
    const plan: Plan = { ...draft, id: uuidFrom(prng), mayOrder: viewer.mayOrder, whyNot: viewer.whyNot };
    this.#kept.set(plan.id, { plan, madeMs: clock.monotonicMs(), carryOut });
    // The oldest goes first: a map keeps its order.
    for (const id of this.#kept.keys()) if (this.#kept.size > PLANS_MAX) this.#kept.delete(id);
    return plan;
  }

  async #order({ body }: Call): Promise<{ operationId: string }> {
    const { viewer, clock } = this.#ports;
    if (!viewer.mayOrder) throw new AntipodeError('DASHBOARD_READ_ONLY', viewer.whyNot);
    const id = textIn(body, 'plan');
    const kept = this.#kept.get(id);
    if (kept === undefined || clock.monotonicMs() - kept.madeMs > PLAN_MS_MAX)
      throw new AntipodeError(
        'NOT_FOUND',
        'the plan is not known here, or older than five minutes; nothing was changed',
        {
          hint: 'Look at the plan again: it could say something else by now.',
        },
      );
    const { confirm } = kept.plan;
    if (confirm !== undefined) requireTyped(textIn(body, 'typed', ''), confirm);
    const acceptLoss = (body as { acceptLoss?: unknown }).acceptLoss === true;
    const reason = textIn(body, 'reason', '');
    // A second click does not repeat it, not even before the first one has its answer.
    this.#kept.delete(id);
    try {
      return { operationId: await kept.carryOut({ acceptLoss, reason }) };
    } catch (thrown) {
      // An order that failed may be given again.
      this.#kept.set(id, kept);
      throw thrown;
    }
  }

  readonly #kinds: Readonly<Record<string, (body: unknown) => Promise<{ draft: Draft; carryOut: Kept['carryOut'] }>>> =
    {
      switchover: (body) => this.#move(body, true),
      failover: (body) => this.#move(body, false),

      drill: async (body) => {
        const { operator } = this.#ports;
        const [group, site] = [textIn(body, 'group'), textIn(body, 'to', '')];
        return {
          draft: { kind: 'drill', group, title: `Drill of group ${group}`, lines: DRILL_MEANING },
          carryOut: async () => (await operator.runDrill({ group, site })).operationId,
        };
      },

      pause: async (body) => {
        const { operator } = this.#ports;
        const group = textIn(body, 'group');
        return {
          draft: { kind: 'pause', group, title: `Pause the automation of group ${group}`, lines: PAUSE_MEANING },
          carryOut: async ({ reason }) => {
            await operator.pauseAutomation({ group, reason });
            return '';
          },
        };
      },

      resume: async (body) => {
        const { operator } = this.#ports;
        const group = textIn(body, 'group');
        return {
          draft: { kind: 'resume', group, title: `Resume the automation of group ${group}`, lines: RESUME_MEANING },
          carryOut: async () => {
            await operator.resumeAutomation({ group });
            return '';
          },
        };
      },

      approve: async (body) => {
        const { operator, approver } = this.#ports;
        const digest = textIn(body, 'digest');
        const { approvals } = await operator.listApprovals({ group: '' });
        const found = approvals.find((one) => readApproval(one).digest === digest);
        if (found?.approval === undefined)
          throw new AntipodeError('NOT_FOUND', `no approval ${spokenDigest(digest)} is on record`, {
            details: { digest },
          });
        const { request, signatures } = found.approval;
        const { request: asked } = readApproval(found);
        return {
          draft: {
            kind: 'approve',
            group: asked.group,
            title: `Approval ${spokenDigest(digest)}`,
            lines: approvalText(asked),
            confirm: confirmOf(asked.group),
          },
          carryOut: async () => {
            if (approver === undefined)
              throw new AntipodeError(
                'DASHBOARD_READ_ONLY',
                'this dashboard was started without the key of an approver',
                {
                  hint: 'Start it with --approve-as NAME --approve-key KEY, or run `antipode approve sign`.',
                },
              );
            const signature = await approver.sign(signedBytesOf(new Uint8Array(request)));
            const others = signatures.filter(({ operator: name }) => name !== approver.name);
            await operator.submitApproval({
              approval: { request, signatures: [...others, { operator: approver.name, signature }] },
            });
            return '';
          },
        };
      },
    };

  async #move(body: unknown, planned: boolean): Promise<{ draft: Draft; carryOut: Kept['carryOut'] }> {
    const { operator } = this.#ports;
    const [group, to] = [textIn(body, 'group'), textIn(body, 'to', '')];
    const move = await planMove(operator, { group, to, planned });
    const { plan, lines, acceptance } = move;
    return {
      draft: {
        kind: planned ? 'switchover' : 'failover',
        group,
        title: `${planned ? 'Switchover' : 'Failover'} of group ${group} to ${plan.toSite}`,
        lines,
        ...(acceptance === undefined ? {} : { acceptance }),
        confirm: confirmOf(group),
      },
      carryOut: (consent) => this.#carryOutMove(move, consent),
    };
  }

  async #carryOutMove(move: PlannedMove, { acceptLoss }: Consent): Promise<string> {
    requireAcceptance(move, { acceptLoss });
    const consent = { acceptLoss: acceptLoss && move.acceptance !== undefined, ignoreVetoes: false, deadlineMs: 0 };
    return (await orderMove(this.#ports.operator, move, consent)).operationId;
  }
}

const confirmOf = (name: string): NonNullable<Plan['confirm']> => ({ name, question: confirmationQuestion() });
