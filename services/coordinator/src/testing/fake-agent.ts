/** The agent of a site as a test has it: every order is handed to one function, and answers are whole messages. */
import { SiteAgentService } from '@antipode/protocol';
import { AntipodeError, type ErrorCode } from '@antipode/runtime';
import { create } from '@bufbuild/protobuf';
import type { Agent } from '../sites/agents.ts';

/** A call as it was made: the request is what the caller gave, before anything was filled in. */
export interface Order {
  readonly method: string;
  readonly request: Record<string, unknown>;
  readonly options: { readonly timeoutMs?: number; readonly signal?: AbortSignal };
}

/** The fields of an answer that matter, or the code of what the call throws. */
export type Answer = Record<string, unknown> | ErrorCode;

export function fakeAgent(answer: (order: Order) => Answer | Promise<Answer>): Agent {
  const methods = SiteAgentService.methods.map((method) => [
    method.localName,
    async (request: Order['request'], options: Order['options'] = {}) => {
      const given = await answer({ method: method.localName, request, options });
      if (typeof given === 'string') throw new AntipodeError(given, `${method.localName} is answered with an error`);
      return create(method.output, given);
    },
  ]);
  return { ...Object.fromEntries(methods), close: () => {} } as Agent;
}
