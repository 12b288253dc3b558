/**
 * A module and everything that can be asked of it: the chapters of the standard (calls/) over one loaded module. The
 * callers decide what an answer means for an object of theirs.
 */
import { digesting } from './calls/digesting.ts';
import { encryption } from './calls/encryption.ts';
import { general } from './calls/general.ts';
import { keys } from './calls/keys.ts';
import { objects } from './calls/objects.ts';
import { sessions } from './calls/sessions.ts';
import { signing } from './calls/signing.ts';
import { slots } from './calls/slots.ts';
import { Module } from './module.ts';
import { Operations } from './operations.ts';

export type Cryptoki = Module & ReturnType<typeof chaptersOf>;

/** Loads a module and initialises it for this process: see {@link general}. @throws MODULE_UNAVAILABLE */
export const loadCryptoki = (path: string, parameters?: string, prefix?: string): Cryptoki =>
  Module.load(
    path,
    (module) => {
      const chapters = chaptersOf(module);
      chapters.initialize(parameters);
      return Object.assign(module, chapters);
    },
    prefix,
  );

function chaptersOf(module: Module) {
  const operations = new Operations(module);
  return {
    ...general(module),
    ...slots(module),
    ...sessions(module),
    ...objects(module, operations),
    ...keys(module),
    ...signing(module, operations),
    ...encryption(operations),
    ...digesting(module, operations),
    /** Runs work whose key wants the PIN for each use. */
    loggingIn: <T>(login: (session: bigint) => void, work: () => T): T => operations.loggingIn(login, work),
  };
}
