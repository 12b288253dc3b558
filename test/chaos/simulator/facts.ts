/** The facts of a simulated world, for the checkers: read from disks, tokens and tables, never from what anybody reports. */
import { type Entry, openSigned } from '@antipode/hsm-core';
import type { StoredObject } from '@antipode/hsm-core/testing';
import { type MemberRole, roleName } from '@antipode/protocol';
import type { Change, Facts, KeyFacts, MemberFacts } from '../checkers/index.ts';
import { hexOf, isOfApplication, keyValueOf } from './key-values.ts';
import { Member } from './member-journal.ts';
import type { Arrival } from './network.ts';
import { type MadeKey, OtherGroup } from './other-group.ts';
import { Records } from './records.ts';
import type { SimulatedSite } from './site.ts';
import { GROUP, type World } from './world.ts';

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

/** An order that may still run at a site. */
interface RunningOrder {
  readonly epoch: bigint;
  readonly method: string;
  readonly requestId: string;
}

export class WorldFacts implements Facts {
  readonly keys: Mutable<KeyFacts>[] = [];
  isLossAccepted = false;
  isGuarded = false;
  areWallClocksTrusted = true;
  readonly #records: Records;
  readonly otherGroup: OtherGroup;
  readonly #scratch = new Map<string, string>();
  readonly #forgetful = new Set<string>();
  readonly #emptied = new Set<string>();
  readonly #world: World;
  readonly #members: readonly Member[];
  readonly #voters: readonly Member[];
  /** The epoch that a site had persisted when its last call to its member partition began. */
  readonly #epochAtCall = new Map<string, bigint>();
  readonly #tell: (change: Change) => void;
  readonly #values = new Map<string, Map<string, number>>();
  readonly #seen = new Map<string, readonly StoredObject[]>();
  /** The value of a private key, by its public half. */
  readonly #pairs = new Map<string, string>();
  /** The value of a key, by the identity that its object has in the manifests. */
  readonly #valueOfId = new Map<string, string>();
  readonly #orders = new Map<string, RunningOrder[]>();
  readonly #generations = new Map<string, readonly string[]>();
  /** The newest generation that has a key, by its value. */
  readonly #newest = new Map<string, { epoch: bigint; number: bigint }>();
  #acknowledged = 0n;
  #epochs = 0n;

  constructor(world: World, tell: (change: Change) => void) {
    this.#world = world;
    this.#tell = tell;
    this.otherGroup = new OtherGroup(world);
    this.#records = new Records(world.database, tell);
    this.#voters = [...world.sites.values()].map((site) => new Member(site));
    this.#members = this.#voters.filter(({ site }) => !world.site(site).isWitness);
    for (const member of this.#voters) {
      const site = world.site(member.site);
      member.read();
      site.disk.onCommit = (file) => {
        if (file !== 'journal') return;
        member.read();
        tell({ kind: 'journal', site: site.name });
      };
      site.onCallBegins = () => this.#epochAtCall.set(site.name, member.epoch);
      site.onToken = () => this.#lookAtToken(site);
      site.onScratch = () => this.#lookAtScratch(site);
    }
    world.database.onCommit = ({ machine, hasChanged }) => {
      if (!hasChanged) return;
      const [row] = world.database.rows<{ holder: string }>('SELECT holder FROM leader_lease');
      tell({ kind: 'write', coordinator: machine, leader: row?.holder ?? '' });
      this.#lookAtTables();
    };
    world.network.onArrival = (arrival) => this.#watch(arrival);
  }

  get nowMs(): number {
    return this.#world.clock.nowMs;
  }

  get members(): readonly MemberFacts[] {
    return this.#members;
  }

  get voters(): readonly MemberFacts[] {
    return this.#voters;
  }

  get secrets(): Facts['secrets'] {
    return this.keys.flatMap(({ label, value }) => [
      { name: label, bytes: Buffer.from(value, 'hex'), isLabel: false },
      { name: label, bytes: Buffer.from(label), isLabel: true },
    ]);
  }

  get bystanders(): Facts['bystanders'] {
    return this.otherGroup.keys;
  }

  approvalsUsedAt(site: string): number {
    return this.#world.site(site).disk.rows('journal', 'SELECT 1 AS used FROM approval_use').length;
  }

  /** What happened, and is in no event of the database. */
  unrecorded(): readonly string[] {
    return this.#records.missing();
  }

  hasForgotten(site: string): boolean {
    return this.#forgetful.has(site);
  }

  isEmptied(site: string): boolean {
    return this.#emptied.has(site);
  }

  /** Somebody takes the keys of the applications out of a token, behind the back of its agent. */
  empty(site: string): void {
    this.#emptied.add(site);
    const { hsm } = this.#world.site(site).member;
    for (const object of [...hsm.objects]) if (isOfApplication(object)) hsm.remove(object);
    this.tokenChanged(site);
  }

  /** Its agent has read all of it since. */
  looked(site: string): void {
    this.#emptied.delete(site);
  }

  isQuarantined(site: string): boolean {
    const { disk } = this.#world.site(site);
    return disk.rows('journal', `SELECT 1 AS found FROM quarantine WHERE grp = '${GROUP}'`).length > 0;
  }

  asideAt(site: string): ReadonlySet<string> {
    const rows = this.#world.site(site).disk.rows('journal', `SELECT digest FROM aside WHERE grp = '${GROUP}'`);
    return new Set(rows.flatMap(({ digest }) => this.#valuesIn(String(digest)) ?? []));
  }

  refusedAt(site: string): ReadonlySet<string> {
    const rows = this.#world.site(site).disk.rows('journal', `SELECT object_id FROM refused WHERE grp = '${GROUP}'`);
    return new Set(rows.flatMap((row) => this.#valueOfId.get(String(row['object_id'])) ?? []));
  }

  unexplainedAt(site: string): number {
    const [row] = this.#world
      .site(site)
      .disk.rows('journal', `SELECT divergent + unaccounted AS count FROM member WHERE grp = '${GROUP}'`);
    return Number(row?.['count'] ?? 0);
  }

  valuesAt(site: string): ReadonlyMap<string, number> {
    const known = this.#values.get(site);
    if (known !== undefined) return known;
    const values = new Map<string, number>();
    for (const object of this.#world.site(site).member.hsm.objects) {
      const value = keyValueOf(object);
      if (value !== undefined) values.set(value, (values.get(value) ?? 0) + 1);
    }
    this.#values.set(site, values);
    return values;
  }

  /** Takes over the keys of another world, from which tokens and tables of this one were copied. */
  begin({ keys, bystanders }: { keys: readonly KeyFacts[]; bystanders: readonly MadeKey[] }): void {
    this.otherGroup.begin(bystanders);
    this.keys.push(...keys.map((key) => ({ ...key })));
    for (const { name, member } of this.#world.members) {
      for (const object of member.hsm.objects) this.#know(object);
      this.tokenChanged(name);
      this.#tell({ kind: 'token', site: name, epochAtCall: 0n, running: [] });
    }
    this.#lookAtTables();
  }

  #know(object: StoredObject): string | undefined {
    const value = keyValueOf(object);
    if (value !== undefined && object.publicHalf !== undefined) this.#pairs.set(hexOf(object.publicHalf), value);
    return value;
  }

  /** An application has made a key. */
  made(object: StoredObject, key: { label: string; site: string }): void {
    const value = this.#know(object);
    if (value === undefined) throw new Error('a key that was just made has no value');
    const { label, site } = key;
    this.keys.push({ label, value, madeAtMs: this.nowMs, isPromised: false, isEndPromised: false });
    this.tokenChanged(site);
  }

  /** An application, or a fault, has changed the token of a site. */
  tokenChanged(site: string): void {
    this.#values.delete(site);
    this.#seen.set(site, [...this.#world.site(site).member.hsm.objects]);
  }

  /** The database, or the journal of a site, was put back: everything in it is looked at again. */
  putBack(site?: string): void {
    if (site !== undefined) this.#forgetful.add(site);
    else this.#records.stop();
    this.#acknowledged = 0n;
    this.#epochs = 0n;
    for (const member of this.#voters) member.read();
  }

  /** The process of a site has ended, and its orders with it. */
  restarted(site: string): void {
    this.#orders.delete(site);
  }

  #lookAtToken({ name, member }: SimulatedSite): void {
    const { objects } = member.hsm;
    const before = this.#seen.get(name);
    if (before?.length === objects.length && before.every((object, at) => object === objects[at])) return;
    this.tokenChanged(name);
    const epochAtCall = this.#epochAtCall.get(name) ?? 0n;
    this.#tell({ kind: 'token', site: name, epochAtCall, running: this.#orders.get(name) ?? [] });
  }

  #lookAtScratch({ name, scratch }: SimulatedSite): void {
    const held = scratch.hsm.objects.flatMap((object) => keyValueOf(object) ?? []).join();
    if (held === (this.#scratch.get(name) ?? '')) return;
    this.#scratch.set(name, held);
    this.#tell({ kind: 'scratch', site: name, running: this.#orders.get(name) ?? [] });
  }

  #lookAtTables(): void {
    const { database } = this.#world;
    this.#records.lookAtMark();
    const epochs = database.rows<{ rowid: bigint; epoch: bigint; owner: string }>(
      'SELECT rowid AS rowid, epoch, owner FROM epoch WHERE grp = $1 AND rowid > $2',
      [GROUP, this.#epochs],
    );
    for (const { rowid, epoch, owner } of epochs) {
      this.#epochs = BigInt(rowid);
      this.#tell({ kind: 'epoch', epoch, owner });
    }
    // Acknowledgements are deleted where a member lost its keys. SQLite gives the number of the last row again.
    const [{ last = 0n } = {}] = database.rows<{ last: bigint }>('SELECT max(rowid) AS last FROM acknowledgement', []);
    if (BigInt(last ?? 0) < this.#acknowledged) this.#acknowledged = BigInt(last ?? 0);
    const rows = database.rows<{ rowid: bigint; site: string; epoch: bigint; number: bigint; manifest_digest: string }>(
      `SELECT a.rowid AS rowid, a.site, a.epoch, a.number, g.manifest_digest FROM acknowledgement AS a
       JOIN generation AS g ON g.grp = a.grp AND g.epoch = a.epoch AND g.number = a.number WHERE a.grp = $1 AND a.rowid > $2 ORDER BY a.rowid`,
      [GROUP, this.#acknowledged],
    );
    for (const { rowid, site, epoch, number, manifest_digest: digest } of rows) {
      this.#acknowledged = BigInt(rowid);
      const values = this.#valuesIn(digest);
      if (values === undefined) continue;
      this.#promise({ epoch, number }, values);
      this.#tell({ kind: 'acknowledgement', site, epoch, number, values });
    }
  }

  #promise(generation: { epoch: bigint; number: bigint }, values: readonly string[]): void {
    const isNewer = (one: typeof generation, other: typeof generation): boolean =>
      one.epoch > other.epoch || (one.epoch === other.epoch && one.number > other.number);
    const held = new Set(values);
    for (const key of this.keys) {
      const newest = this.#newest.get(key.value);
      if (held.has(key.value)) {
        key.isPromised = true;
        if (newest === undefined || isNewer(generation, newest)) this.#newest.set(key.value, generation);
      } else if (newest !== undefined && key.endedAtMs !== undefined && isNewer(generation, newest))
        key.isEndPromised = true;
    }
  }

  /** The keys of applications in a generation, wherever its manifest is stored; undefined where nobody has it now. */
  #valuesIn(digest: string): readonly string[] | undefined {
    const known = this.#generations.get(digest);
    if (known !== undefined) return known;
    for (const { disk } of this.#world.sites.values()) {
      const row = disk.rows('store', 'SELECT signed FROM manifest WHERE digest = ?', [Buffer.from(digest, 'hex')])[0];
      if (row === undefined) continue;
      const { generation } = openSigned(row['signed'] as Uint8Array, { group: GROUP, isPinned: () => true });
      const values = generation.entries.flatMap((entry) => {
        const value = this.#valueOfEntry(entry);
        if (value === undefined) return [];
        this.#valueOfId.set(entry.objectId, value);
        return [value];
      });
      this.#generations.set(digest, values);
      return values;
    }
    return undefined;
  }

  #valueOfEntry({ objectClass, attributes, publicHalf }: Entry): string | undefined {
    if (objectClass === 'private-key') return publicHalf && this.#pairs.get(hexOf(publicHalf));
    if (objectClass !== 'secret-key') return undefined;
    const label = Buffer.from(attributes.label ?? []).toString();
    return this.keys.find((key) => key.label === label)?.value;
  }

  #watch(arrival: Arrival): void {
    const { machine, method, request } = arrival;
    const { fence } = request as { fence?: { group: string; epoch: bigint; requestId: string } };
    if (fence?.group === GROUP && this.#world.sites.has(machine)) {
      const orders = this.#orders.get(machine) ?? [];
      this.#orders.set(machine, orders);
      const { epoch, requestId } = fence;
      if (!orders.some((one) => one.requestId === requestId)) orders.push({ epoch, method, requestId });
      this.#records.order({ site: machine, method, requestId });
      arrival.onAnswer = (answer) => {
        if ((answer as { order?: { running: boolean } }).order?.running === true) return;
        this.#orders.set(
          machine,
          (this.#orders.get(machine) ?? []).filter((one) => one.requestId !== requestId),
        );
      };
    }
    if (method === 'resolve')
      arrival.onAnswer = (answer) => {
        const { site, epoch, isLeader } = answer as { site: string; epoch: bigint; isLeader: boolean };
        this.#tell({ kind: 'resolved', site, epoch: BigInt(epoch), isLeader });
      };
    if (method === 'getStatus')
      arrival.onAnswer = (answer) => {
        const { groups, isLeader } = answer as {
          isLeader: boolean;
          groups: readonly {
            spec: { name: string };
            protection: string;
            activeSite: string;
            recoveryPointAgeMs?: bigint;
            members: readonly { site: string; role: MemberRole }[];
          }[];
        };
        const group = groups.find(({ spec }) => spec.name === GROUP);
        if (group === undefined || !isLeader) return;
        this.#tell({
          kind: 'reported',
          protection: group.protection,
          recoveryPointAgeMs: group.recoveryPointAgeMs === undefined ? undefined : Number(group.recoveryPointAgeMs),
          activeSite: group.activeSite,
          members: group.members.map(({ site, role }) => ({ site, role: roleName(role) ?? '' })),
        });
      };
  }
}
