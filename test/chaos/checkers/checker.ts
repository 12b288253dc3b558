/**
 * The interface of all checkers. A checker knows one invariant of docs/invariants.md. It judges facts, and not
 * a simulation: whoever has the facts of live processes can ask the same checkers.
 */

/** One member of the group as it is in its journal, whatever anybody reports of it. */
export interface MemberFacts {
  readonly site: string;
  readonly role: string;
  readonly epoch: bigint;
  readonly owner: string;
  /** Of its lease in that epoch, by its own clock; 0 where its process does not run. */
  readonly leaseMs: number;
}

/** A key of an application, from its making to its end. */
export interface KeyFacts {
  readonly label: string;
  /** Names the key itself: two keys of one label differ in it. */
  readonly value: string;
  readonly madeAtMs: number;
  /** When an application deleted or replaced it where it was served. */
  endedAtMs?: number;
  /** It was in a generation that a standby acknowledged, so nobody may lose it. */
  isPromised: boolean;
  /** It has ended, and a generation without it was acknowledged. */
  isEndPromised: boolean;
}

export interface Facts {
  readonly nowMs: number;
  readonly members: readonly MemberFacts[];
  /** The members, and the witnesses. */
  readonly voters: readonly MemberFacts[];
  readonly keys: readonly KeyFacts[];
  /** Values of the keys of applications that the token of a site holds, each as often as it holds it. */
  valuesAt(site: string): ReadonlyMap<string, number>;
  /** Values of the keys that made way for others of their names, and are sealed at a site for an operator. */
  asideAt(site: string): ReadonlySet<string>;
  /** Values of the keys that the token of a site is on record to have refused. They are shown, and tried again. */
  refusedAt(site: string): ReadonlySet<string>;
  /** How many objects of a token its site reports as nobody's: the status shows them, and nothing deletes them. */
  unexplainedAt(site: string): number;
  /** Values of keys, which only tokens may hold, and labels of keys, which stay with the agents. */
  readonly secrets: readonly { readonly name: string; readonly bytes: Uint8Array; readonly isLabel: boolean }[];
  /** Keys of another group, to whose members nothing was done, and the members that lack each. */
  readonly bystanders: readonly { readonly label: string; readonly madeAtMs: number; missingAt(): readonly string[] }[];
  /** The agents of the group act only with the approvals of operators. */
  readonly isGuarded: boolean;
  /** How many approvals the agent of a site has used. */
  approvalsUsedAt(site: string): number;
  /** A coordinator may have to go by its wall clock, and somebody may have set that. */
  readonly areWallClocksTrusted: boolean;
  /** An operator has accepted that generations are lost. */
  readonly isLossAccepted: boolean;
  /** The journal of a site was put back or lost: it has forgotten which objects are its own. */
  hasForgotten(site: string): boolean;
  /** Somebody has emptied the token of a site. Its agent finds out when it next reads all of it. */
  isEmptied(site: string): boolean;
  /** Whether the journal of a site says that the site is in quarantine. */
  isQuarantined(site: string): boolean;
}

/** A change of the world that a checker may look at. */
export type Change =
  | { readonly kind: 'step' }
  | { readonly kind: 'journal'; readonly site: string }
  | {
      readonly kind: 'token';
      readonly site: string;
      /** The epoch that the site had persisted when the call began that changed the token. */
      readonly epochAtCall: bigint;
      readonly running: readonly RunningOrder[];
    }
  /** The keys of applications in a scratch partition have changed. */
  | { readonly kind: 'scratch'; readonly site: string; readonly running: readonly RunningOrder[] }
  /** A site gets an order of an operation. */
  | {
      readonly kind: 'order';
      readonly site: string;
      readonly method: string;
      readonly operation: string;
      readonly isOnRecord: boolean;
    }
  /** Everything that a process has written down or sent. */
  | {
      readonly kind: 'written';
      readonly what: string;
      readonly place: 'agent' | 'coordinator' | 'log' | 'wire';
      readonly bytes: Uint8Array;
    }
  | { readonly kind: 'epoch'; readonly epoch: bigint; readonly owner: string }
  | {
      readonly kind: 'acknowledgement';
      readonly site: string;
      readonly epoch: bigint;
      readonly number: bigint;
      readonly values: readonly string[];
    }
  | { readonly kind: 'resolved'; readonly site: string; readonly epoch: bigint; readonly isLeader: boolean }
  | {
      readonly kind: 'reported';
      readonly protection: string;
      readonly recoveryPointAgeMs: number | undefined;
      readonly activeSite: string;
      readonly members: readonly { readonly site: string; readonly role: string }[];
    }
  /** A coordinator has changed tables. `leader` is the one that leads by the database at this moment. */
  | { readonly kind: 'write'; readonly coordinator: string; readonly leader: string }
  /** A leader has written down the time by which the coordinators count. */
  | { readonly kind: 'mark'; readonly markMs: number }
  /** By now somebody must serve: the story leaves enough of the system alone. */
  | { readonly kind: 'due' }
  /** `isLossless`: nothing in the story takes away the only copy of a key. */
  | {
      readonly kind: 'end';
      readonly isLossless: boolean;
      /** What happened, and is in no event of the database. */
      readonly unrecorded: readonly string[];
    };

export interface RunningOrder {
  readonly epoch: bigint;
  readonly method: string;
}

export interface Checker {
  /** As in docs/invariants.md. */
  readonly invariant: string;
  readonly name: string;
  /** @returns what is wrong; undefined for nothing */
  look(change: Change, facts: Facts): string | undefined;
}

/** Judges what is in the journals alone: whoever can read those of live agents asks it too. */
export interface JournalChecker extends Checker {
  look(change: Change, facts: Pick<Facts, 'members' | 'voters'>): string | undefined;
}
