/**
 * The operators who may approve guarded actions at this site, by group. Only the site's own configuration names them. A
 * coordinator could otherwise name operators of its own.
 */
import { type ApprovalPolicy, isName, NAME_EXPECTED, operatorsSchema as operators } from '@antipode/protocol';
import { z } from 'zod';

type Operator = z.output<typeof operators>[number];

const required = z.number().int().min(1).max(32);
/** A rule about a list and a number together. It is checked where both are known. */
const TOO_FEW = 'expected at least one operator more than `required`, since the requester does not count';
const breakGlass = z.number().int().min(1).max(63);

const ofGroup = z.strictObject({
  required: required.optional(),
  breakGlass: breakGlass.optional(),
  operators: operators.optional(),
});

export const approvalsSchema = z
  .strictObject({
    /** Operators that must have signed, without the one who asks. */
    required,
    /** The same for a break glass; one more by default, where there are so many. */
    breakGlass: breakGlass.optional(),
    operators,
    /** The differences for a group. */
    groups: z.record(z.string().refine(isName, NAME_EXPECTED), ofGroup).default({}),
  })
  .superRefine((approvals, context) => {
    const complain = (path: string[], message: string): void => context.addIssue({ code: 'custom', path, message });
    const check = ({ required: wanted, breakGlass: glass, operators: list }: Settings, path: string[]): void => {
      if (list.length < wanted + 1) complain([...path, 'operators'], TOO_FEW);
      if (glass !== undefined && (glass < wanted || glass > list.length - 1))
        complain([...path, 'breakGlass'], 'expected a number from `required` to one less than there are operators');
    };
    check(approvals, []);
    for (const [group, own] of Object.entries(approvals.groups)) check(settingsOf(approvals, own), ['groups', group]);
  });

export type ApprovalSettings = z.output<typeof approvalsSchema>;
interface Settings {
  readonly required: number;
  readonly breakGlass?: number | undefined;
  readonly operators: readonly Operator[];
}

/** A group that sets `required` alone has the operators of the site, and no `breakGlass` that was meant for another number. */
function settingsOf(site: Settings, own: z.output<typeof ofGroup> | undefined): Settings {
  if (own === undefined) return site;
  const isOther = own.required !== undefined || own.operators !== undefined;
  return {
    required: own.required ?? site.required,
    breakGlass: own.breakGlass ?? (isOther ? undefined : site.breakGlass),
    operators: own.operators ?? site.operators,
  };
}

export class ApprovalRules {
  readonly #settings: ApprovalSettings | undefined;

  /** @param settings undefined if this site guards nothing */
  constructor(settings: ApprovalSettings | undefined) {
    this.#settings = settings;
  }

  /** Whether this site guards actions at all. */
  get isSet(): boolean {
    return this.#settings !== undefined;
  }

  /** Undefined if nothing is guarded. */
  of(group: string): ApprovalPolicy | undefined {
    const site = this.#settings;
    if (site === undefined) return undefined;
    const own = Object.hasOwn(site.groups, group) ? site.groups[group] : undefined;
    const { required: wanted, breakGlass: glass, operators: list } = settingsOf(site, own);
    return { required: wanted, breakGlass: glass ?? Math.min(wanted + 1, list.length - 1), operators: list };
  }

  /** For people: the rules of the site under an empty name, and those of groups that have their own. */
  get listed(): { group: string; policy: ApprovalPolicy }[] {
    if (this.#settings === undefined) return [];
    return ['', ...Object.keys(this.#settings.groups).sort()].map((group) => ({ group, policy: this.of(group)! }));
  }
}
