/**
 * The agent's side of heartbeats that tell only what has changed: it knows which of its heartbeats the coordinator
 * remembers, and what that one said. It builds on an answered heartbeat only. So a heartbeat or an answer that is lost
 * changes nothing.
 */
import { AntipodeError } from '@antipode/runtime';
import { create } from '@bufbuild/protobuf';
import {
  type HeartbeatRequest,
  HeartbeatRequestSchema,
  type HeartbeatResponse,
} from '../gen/antipode/v1/coordinator_pb.ts';
import { type Likeness, putTogether, type ToldList, toldSince } from './list-change.ts';
import { ACCOUNT_LISTS, ANSWER_LISTS, afterAnswer, type Encoded, encoded, type Lists, REQUEST_LISTS } from './lists.ts';

type Sent = ReadonlyMap<string, readonly Encoded[]>;

interface Answered {
  /** The name that the coordinator has given to its answer. */
  readonly name: string;
  readonly sent: Sent;
  readonly answer: Lists;
}

const LIKENESS: Likeness<Encoded> = {
  keyOf: ({ key }) => key,
  isSame: (one, other) => one.bytes === other.bytes,
};

export class SentHeartbeats {
  #sent: Sent | undefined;
  #basis: Answered | undefined;

  /** The request that is sent: the whole heartbeat, or its `changes`. */
  shortened(whole: HeartbeatRequest): HeartbeatRequest {
    const { state } = whole;
    if (state === undefined) return whole;
    const basis = this.#basis;
    const lists = new Map<string, readonly Encoded[]>();
    const changed: { list: string; parts: ToldList<Encoded>['parts'] }[] = [];
    const leftOver = (name: string, items: readonly Encoded[]): unknown[] => {
      lists.set(name, items);
      const earlier = basis?.sent.get(name) ?? [];
      const told = toldSince(items, earlier, LIKENESS);
      if (!told.parts.some(({ from }) => from !== undefined)) return items.map(({ item }) => item);
      changed.push({ list: name, parts: told.parts });
      return told.items.map(({ item }) => item);
    };
    const ofAccount = ACCOUNT_LISTS.map((list) => [
      list.name,
      leftOver(list.name, encoded(list, state[list.name] as never)),
    ]);
    const ofRequest = REQUEST_LISTS.map((list) => [
      list.name,
      leftOver(list.name, encoded(list, whole[list.name] as never)),
    ]);
    this.#sent = lists;
    if (basis === undefined) return whole;
    const { state: _state, $typeName: _type, ...rest } = whole;
    return create(HeartbeatRequestSchema, {
      ...rest,
      ...Object.fromEntries(ofRequest),
      changes: {
        since: basis.name,
        state: { ...state, ...Object.fromEntries(ofAccount) },
        lists: changed.map(({ list, parts }) => ({ list, parts: parts.map((part) => ({ ...part })) })),
      },
    });
  }

  /**
   * The whole answer to the heartbeat that was sent last.
   * @throws REQUEST_INVALID where the coordinator builds on what it has not said
   */
  completed(said: HeartbeatResponse): HeartbeatResponse {
    const [sent, basis] = [this.#sent, this.#basis];
    this.forget();
    const { changes, remembered, ...rest } = said;
    if (changes !== undefined && changes.since !== basis?.name)
      throw new AntipodeError(
        'REQUEST_INVALID',
        'the answer to a heartbeat builds on one that this site does not know',
        {
          details: { field: 'changes.since', since: changes.since, expected: basis?.name ?? '' },
        },
      );
    const parts = new Map(changes?.lists.map((one) => [one.list, one.parts]));
    const answer = new Map<string, readonly unknown[]>();
    const whole: Record<string, readonly unknown[]> = {};
    for (const list of ANSWER_LISTS) {
      const { name } = list;
      const items = said[name] as readonly unknown[];
      const earlier = changes === undefined ? [] : (basis?.answer.get(name) ?? []);
      const of = parts.get(name);
      whole[name] = of === undefined ? items : putTogether({ parts: of, items }, earlier, name);
      answer.set(name, afterAnswer(list, whole[name], earlier));
    }
    if (remembered !== '' && sent !== undefined) this.#basis = { name: remembered, sent, answer };
    return { ...rest, ...whole } as HeartbeatResponse;
  }

  /** The next heartbeat tells everything. */
  forget(): void {
    this.#sent = undefined;
    this.#basis = undefined;
  }
}
