/** A journal that tells of each of its writes, once it is durable. */
import type { Journal } from '../storage/journal/journal.ts';

interface Watch {
  /** Called before each use. */
  readonly enter: () => void;
  /** Gets the method that wrote, such as `tenure.setSeat`. */
  readonly wrote: (method: string) => void;
}

export function watchedJournal(journal: Journal, { enter, wrote }: Watch): Journal {
  const writes = (): bigint | undefined => journal.mark?.writes;
  const watched = <T extends object>(target: T, path: string): T =>
    new Proxy(target, {
      get: (_, name) => {
        const member: unknown = Reflect.get(target, name, target);
        if (typeof member === 'object' && member !== null && path === '') return watched(member, `${String(name)}.`);
        if (typeof member !== 'function' || name === 'close')
          return typeof member === 'function' ? member.bind(target) : member;
        return (...args: unknown[]) => {
          enter();
          const before = writes();
          const result: unknown = member.apply(target, args);
          if (writes() !== before) wrote(`${path}${String(name)}`);
          return result;
        };
      },
    });
  return watched(journal, '');
}
