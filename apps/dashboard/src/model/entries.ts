/**
 * The contents of the page, as they cross from the local server. Times are instants, in milliseconds of the Unix epoch
 * by the clock of the local server. An age would change all the time, and the page counts ages by itself. Only fields
 * that are named here cross. No field holds the label of a key. Rules of filters do not cross, since they can name labels.
 */

/** One entry of the model. Entries are sent again only when they change. */
export type Entry = Head | Site | Group | Operation;

/** Entries by key: `head`, `site/<name>`, `group/<name>`, `operation/<id>`. */
export type Entries = Readonly<Record<string, Entry>>;

/** The coordinator, and who looks. */
export interface Head {
  readonly kind: 'head';
  readonly coordinator: string;
  readonly version: string;
  readonly isLeader: boolean;
  readonly isQueueUp: boolean;
  readonly coordinators: readonly {
    readonly name: string;
    readonly state: string;
    readonly since: number;
    readonly missedBy: readonly string[];
  }[];
  /** Faults that concern all groups. */
  readonly troubles: readonly string[];
}

export interface Site {
  readonly kind: 'site';
  readonly name: string;
  /** `up`, `suspect`, `down` or `unknown`. */
  readonly state: string;
  readonly reason: string;
  readonly since: number;
  /** The last heartbeat; undefined if there was none. */
  readonly heardAt?: number;
  readonly version: string;
  readonly partitions: readonly { readonly name: string; readonly serial: string; readonly error: string }[];
  readonly lost: readonly { readonly serial: string; readonly since: number }[];
  readonly observations: readonly Observation[];
  readonly certificateEnds?: number;
  /** A second agent under its name. */
  readonly isClaimedTwice: boolean;
}

/** One site's view of another. */
export interface Observation {
  readonly observer: string;
  readonly reached: boolean;
  readonly since: number;
}

export interface Group {
  readonly kind: 'group';
  readonly name: string;
  readonly protection: string;
  /** 0 for `protected`; the higher, the worse. */
  readonly rank: number;
  readonly activeSite: string;
  readonly epoch: number;
  readonly generation?: number;
  readonly objects?: number;
  readonly uncaptured: number;
  readonly keys?: { readonly protected: number; readonly not: number };
  readonly recoveryPointAt?: number;
  readonly rpoMs: number;
  readonly lastProven?: number;
  readonly policy: 'automatic' | 'manual';
  readonly seats: readonly Seat[];
  readonly pause?: { readonly since: number; readonly operator: string; readonly reason: string };
  /** Doubts about its protection, by code. */
  readonly concerns: readonly { readonly kind: string; readonly site: string; readonly code: string }[];
}

/** The place of a group at a site. */
export interface Seat {
  readonly site: string;
  readonly role: 'active' | 'standby' | 'fenced' | 'witness' | 'joining' | 'unknown';
  readonly siteState: string;
  /** The newest generation acknowledged here; undefined where none is. */
  readonly acknowledged?: number;
  /** How many generations it is behind the newest. */
  readonly behind?: number;
  /** A code, or why it is in quarantine. */
  readonly error: string;
}

export interface Operation {
  readonly kind: 'operation';
  readonly id: string;
  readonly what: string;
  readonly group: string;
  readonly site: string;
  readonly phase: string;
  readonly status: string;
  readonly error: string;
  readonly message: string;
  readonly hint: string;
  readonly attempts: number;
  readonly created: number;
  readonly updated: number;
}

/** The way to the coordinator. Whatever the page shows is of `heardAt`. */
export interface Link {
  readonly state: 'connecting' | 'live' | 'lost';
  /** The last answer; undefined before the first. */
  readonly heardAt?: number;
  /** Since when it has been in this state. */
  readonly since: number;
  readonly error?: Told;
}

/** An error, as people see it. */
export interface Told {
  readonly code: string;
  readonly message: string;
  readonly hint: string;
}

/** Who looks, and what he may do here. */
export interface Viewer {
  readonly name: string;
  readonly role: string;
  readonly mayOrder: boolean;
  /** Why not; empty where he may. */
  readonly whyNot: string;
  /** The name under which approvals are signed; empty where none are. */
  readonly approver: string;
}

/** One event of the stream. The first one of a connection is `whole`. */
export interface Update {
  readonly now: number;
  readonly link: Link;
  readonly viewer?: Viewer;
  readonly isWhole: boolean;
  readonly put: Entries;
  readonly drop: readonly string[];
}

/** One generation on the line of a group. */
export interface LineGeneration {
  readonly epoch: number;
  readonly number: number;
  /** Where it was captured. */
  readonly site: string;
  readonly capturedAt: number;
  /** Objects that were sealed for it. */
  readonly sealed: number;
  readonly acknowledged: readonly { readonly site: string; readonly at: number }[];
}

/** A rehearsed restore, and the key that has signed its evidence. */
export interface Drill {
  readonly id: string;
  readonly group: string;
  readonly site: string;
  readonly vault: string;
  readonly generation: number;
  readonly passed: boolean;
  readonly error: string;
  readonly proved: number;
  readonly failed: number;
  /** Flags of keys that no mechanism of the token could exercise. */
  readonly notExercised: number;
  readonly started: number;
  readonly recoveryMs: number;
  /** SHA-256 of the signer's public key; empty where nothing is signed. */
  readonly signer: string;
}

/** A group, looked at closely. */
export interface GroupDetail {
  readonly troubles: readonly string[];
  /** Sentences: who is active, and why. */
  readonly why: readonly string[];
  readonly leaseEndsAt: number;
  /** The oldest first. */
  readonly line: readonly LineGeneration[];
  readonly drills: readonly Drill[];
  readonly operations: readonly Operation[];
  readonly scratchSites: readonly string[];
}

export interface ApprovalEntry {
  readonly digest: string;
  readonly spoken: string;
  readonly action: string;
  readonly group: string;
  readonly requestedBy: string;
  readonly required: number;
  /** Everything that is signed, in sentences. */
  readonly lines: readonly string[];
  readonly signers: readonly string[];
  readonly expires: number;
  readonly usedAt: readonly string[];
}

/** The consequences of an order. Nothing is changed yet. */
export interface Plan {
  readonly id: string;
  readonly kind: string;
  readonly group: string;
  readonly title: string;
  /** The consequences, as the command prints them. */
  readonly lines: readonly string[];
  /** The meaning of an acceptance; absent where none is needed. */
  readonly acceptance?: string;
  /** The name to type, and the question; absent where the command does not ask either. */
  readonly confirm?: { readonly name: string; readonly question: string };
  readonly mayOrder: boolean;
  readonly whyNot: string;
}
