/** Counts every call of journal and provider in the standby process, before and after, and dies at the given step. */
import { readFileSync } from 'node:fs';
import type { HsmProvider } from '@antipode/hsm-core';
import { systemClock } from '@antipode/runtime';
import { type GenerationStore, Journal } from '@antipode/site-agent/testing';
import type { Kill, Victim } from './kill.ts';
import { isRunning } from './process-group.ts';

export class Steps {
  readonly names: string[] = [];
  /** The first call of each name. */
  readonly callMs: Record<string, number> = {};
  /** Whether the worker was killed, and this process was to survive it. */
  hasKilledWorker = false;
  readonly #kill: Kill;
  #hasKilled = false;

  constructor(kill: Kill) {
    this.#kill = kill;
  }

  at(name: string): void {
    const index = this.names.push(name) - 1;
    if (this.#kill.at === 'step' && this.#kill.step === index) this.#die(this.#kill.victim);
  }

  /** The call has been sent, and is being worked on. */
  during(name: string): void {
    if (this.#kill.at !== 'call' || this.#kill.call !== name || this.#hasKilled) return;
    // No timer is as precise, and nothing else is to happen in this process meanwhile.
    const untilMs = systemClock.monotonicMs() + this.#kill.afterMicros / 1_000;
    while (systemClock.monotonicMs() < untilMs);
    this.#die(this.#kill.victim);
  }

  #die(victim: Victim): void {
    this.#hasKilled = true;
    switch (victim) {
      case 'worker':
        this.hasKilledWorker = true;
        for (const pid of children()) process.kill(pid, 'SIGKILL');
        return;
      case 'worker-first':
        for (const pid of children()) process.kill(pid, 'SIGKILL');
        while (children().some(isRunning));
        process.kill(process.pid, 'SIGKILL');
        break;
      case 'agent':
        process.kill(process.pid, 'SIGKILL');
        break;
      case 'group':
        process.kill(-process.pid, 'SIGKILL');
    }
    // The signal is on its way: nothing more is to be done.
    for (;;);
  }
}

/** The journal of the agent, each call of it a step: of its parts, and of what hsm-core has in its hands. */
export function steppedJournal(folder: string, steps: Steps): Journal {
  const journal = Journal.open(folder);
  return new Proxy(journal, {
    get: (target, name) => {
      const member: unknown = Reflect.get(target, name, target);
      if (name === 'intents') return steppedIntents(target, steps);
      if (typeof member === 'object' && member !== null) return stepped(member, `journal.${String(name)}`, steps);
      if (typeof member !== 'function' || name === 'close') return member;
      return stepInto(member.bind(target), `journal.${String(name)}`, steps);
    },
  });
}

function steppedIntents({ intents }: Journal, steps: Steps): Journal['intents'] {
  const each = stepped(intents, 'journal.intents', steps);
  const ofApply = (seat: Parameters<Journal['intents']['ofApply']>[0]) =>
    stepped(intents.ofApply(seat), 'journal', steps);
  return new Proxy(each, { get: (target, name) => (name === 'ofApply' ? ofApply : Reflect.get(target, name)) });
}

/** Only what changes the store is a step. */
export function steppedStore(store: GenerationStore, steps: Steps): GenerationStore {
  return new Proxy(store, {
    get: (target, name) => {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function') return member;
      return name === 'put' || name === 'putBlobs'
        ? stepInto(member.bind(target), `store.${name}`, steps)
        : member.bind(target);
    },
  });
}

export function steppedProvider(provider: HsmProvider, steps: Steps): HsmProvider {
  return stepped(provider, 'provider', steps);
}

function stepped<T extends object>(target: T, kind: string, steps: Steps): T {
  return new Proxy(target, {
    get: (_target, name) => {
      const member: unknown = Reflect.get(target, name, target);
      return typeof member === 'function' ? stepInto(member.bind(target), `${kind}.${String(name)}`, steps) : member;
    },
  });
}

function stepInto(call: (...args: unknown[]) => unknown, name: string, steps: Steps) {
  return (...args: unknown[]): unknown => {
    steps.at(`before ${name}`);
    const startMs = systemClock.monotonicMs();
    const result = call(...args);
    if (!(result instanceof Promise)) {
      steps.at(`after ${name}`);
      return result;
    }
    const short = name.replace(/^.*\./, '');
    steps.during(short);
    return result.then((value: unknown) => {
      steps.callMs[short] ??= systemClock.monotonicMs() - startMs;
      steps.at(`after ${name}`);
      return value;
    });
  };
}

/** The HSM worker is the only child that a standby process has. */
function children(): number[] {
  const text = readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, 'utf8').trim();
  return text === '' ? [] : text.split(' ').map(Number);
}
