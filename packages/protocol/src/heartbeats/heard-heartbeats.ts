/**
 * The coordinator's side of heartbeats that tell only what has changed. It remembers the last heartbeat of each site, and
 * the one which that built on, under the term in which it answered them and for the process that sent them. A heartbeat
 * that builds on any other is refused, and the agent then tells everything.
 */
import { AntipodeError } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { HeartbeatRequest, HeartbeatResponseSchema } from '../gen/antipode/v1/coordinator_pb.ts';
import type { DescribeResponse } from '../gen/antipode/v1/site_agent_pb.ts';
import { LIST_MAX, putTogether, toldSince } from './list-change.ts';
import { ACCOUNT_LISTS, ANSWER_LISTS, afterAnswer, type Lists, REQUEST_LISTS } from './lists.ts';

type Answer = MessageInitShape<typeof HeartbeatResponseSchema>;

export type WholeHeartbeat = HeartbeatRequest & { readonly state: DescribeResponse };

interface Remembered {
  /** The name of its answer. */
  readonly name: string;
  readonly beat: bigint;
  readonly lists: Lists;
  readonly answer: Lists;
}

interface Session {
  readonly instance: string;
  /** The last heartbeat, and the one which it built on: the agent does not know yet whether the last one was answered. */
  readonly beats: readonly Remembered[];
}

export interface HeardHeartbeat {
  readonly whole: WholeHeartbeat;
  /** Remembers the heartbeat with its answer, and leaves out of the answer what the agent knows. */
  readonly answered: (answer: Answer) => Answer;
}

export class HeardHeartbeats {
  readonly #id: string;
  #term = 0n;
  #answers = 0;
  readonly #sessions = new Map<string, Session>();

  /** @param options.id of no other process, or answers of two processes could have one name */
  constructor({ id }: { id: string }) {
    this.#id = id;
  }

  /**
   * The whole of a heartbeat that is admitted: from the site's own process, and not late.
   * @param options.account what it says of its site, as in {@link accountOf}
   * @throws HEARTBEAT_PARTIAL, REQUEST_INVALID
   */
  read(said: HeartbeatRequest, { account, term }: { account: DescribeResponse; term: bigint }): HeardHeartbeat {
    // Another leader may have heard the sites meanwhile.
    if (term !== this.#term) this.#sessions.clear();
    this.#term = term;
    const { changes } = said;
    const basis = changes === undefined ? undefined : this.#basis(account, changes.since);
    const parts = new Map(changes?.lists.map((one) => [one.list, one.parts]));
    const lists = new Map<string, readonly unknown[]>();
    const whole = (name: string, items: readonly unknown[]): readonly unknown[] => {
      const fresh = changes === undefined ? items : items.map(detached);
      const of = parts.get(name);
      const all =
        of === undefined ? fresh : putTogether({ parts: of, items: fresh }, basis?.lists.get(name) ?? [], name);
      lists.set(name, all);
      return all;
    };
    const state = { ...account, ...wholeLists(ACCOUNT_LISTS, account, whole) };
    const { changes: _changes, ...rest } = said;
    return {
      whole: { ...rest, ...wholeLists(REQUEST_LISTS, said, whole), state } as WholeHeartbeat,
      answered: (answer) => this.#answered(answer, { account, beat: said.beat, term, basis, lists }),
    };
  }

  #basis({ site, instance }: DescribeResponse, since: string): Remembered {
    const session = this.#sessions.get(site);
    const basis = session?.instance === instance ? session.beats.find(({ name }) => name === since) : undefined;
    if (basis === undefined)
      throw new AntipodeError(
        'HEARTBEAT_PARTIAL',
        `a heartbeat of site ${site} builds on one that is not remembered here`,
        { details: { site, since } },
      );
    return basis;
  }

  #answered(
    answer: Answer,
    heard: {
      account: DescribeResponse;
      beat: bigint;
      term: bigint;
      basis: Remembered | undefined;
      lists: Lists;
    },
  ): Answer {
    const { account, beat, term, basis, lists } = heard;
    const changed: { list: string; parts: { from?: number; count: number }[] }[] = [];
    const kept = new Map<string, readonly unknown[]>();
    const shortened: Record<string, readonly unknown[]> = {};
    for (const list of ANSWER_LISTS) {
      const { name } = list;
      const now: readonly unknown[] = Reflect.get(answer, name) ?? [];
      const earlier = basis?.answer.get(name) ?? [];
      const told = toldSince<unknown>(now, earlier, { keyOf: list.keyOf as (item: unknown) => string, isSame });
      const isShorter = now.length <= LIST_MAX && told.parts.some(({ from }) => from !== undefined);
      if (isShorter)
        changed.push({
          list: name,
          parts: told.parts.map(({ from, count }) => (from === undefined ? { count } : { from, count })),
        });
      shortened[name] = isShorter ? told.items : now;
      // The earlier items, so that one copy of each is kept.
      kept.set(name, afterAnswer(list, isShorter ? putTogether(told, earlier, name) : now, earlier));
    }
    const all = [...lists.values(), ...kept.values()];
    this.#answers += 1;
    const name = `${this.#id} ${this.#answers}`;
    const isKept =
      all.every(({ length }) => length <= LIST_MAX) &&
      this.#keep(account, { last: { name, beat, lists, answer: kept }, basis, term });
    return {
      ...answer,
      ...shortened,
      remembered: isKept ? name : '',
      ...(basis === undefined ? {} : { changes: { since: basis.name, lists: changed } }),
    } as Answer;
  }

  /** Unless this leader has begun another term, or has answered a later heartbeat meanwhile. */
  #keep(
    { site, instance }: DescribeResponse,
    { last, basis, term }: { last: Remembered; basis: Remembered | undefined; term: bigint },
  ): boolean {
    if (term !== this.#term) return false;
    const session = this.#sessions.get(site);
    if (session?.instance === instance && session.beats.some(({ beat }) => beat > last.beat)) return false;
    this.#sessions.set(site, { instance, beats: basis === undefined ? [last] : [basis, last] });
    return true;
  }
}

/** The site's account in a heartbeat: the whole of it, or its changes. */
export const accountOf = ({
  state,
  changes,
}: Pick<HeartbeatRequest, 'state' | 'changes'>): DescribeResponse | undefined =>
  changes === undefined ? state : changes.state;

const wholeLists = <Holder>(
  lists: readonly { readonly name: keyof Holder & string }[],
  holder: Holder,
  whole: (name: string, items: readonly unknown[]) => readonly unknown[],
) => Object.fromEntries(lists.map(({ name }) => [name, whole(name, holder[name] as readonly unknown[])]));

/** Without views on the message that it came in: a seat that does not change would keep all of that in memory. */
function detached<T>(value: T): T {
  if (value instanceof Uint8Array) return new Uint8Array(value) as T;
  if (Array.isArray(value)) return value.map(detached) as T;
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, detached(one)])) as T;
}

/** Of values that nobody changes. */
function isSame(one: unknown, other: unknown): boolean {
  if (one === other) return true;
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null) return false;
  if (one instanceof Uint8Array)
    return other instanceof Uint8Array && one.length === other.length && one.every((byte, at) => byte === other[at]);
  if (Array.isArray(one))
    return Array.isArray(other) && one.length === other.length && one.every((item, at) => isSame(item, other[at]));
  const names = Object.keys(one);
  return (
    names.length === Object.keys(other).length &&
    names.every((name) => isSame(Reflect.get(one, name), Reflect.get(other, name)))
  );
}
